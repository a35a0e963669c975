"""``linkbell-agent run``, apart from the other commands: what a running agent loads it keeps."""

import argparse
import asyncio
import sys
from collections.abc import Callable

from linkbell_agent import app
from linkbell_agent.cli import EXIT_RESULT, load_settings
from linkbell_agent.describe import describe
from linkbell_agent.sections import Settings
from linkbell_wire.records import Record


def run(arguments: argparse.Namespace) -> int:
    """``linkbell-agent run``."""
    settings = load_settings(arguments).settings
    asyncio.run(_run(settings, arguments))
    return EXIT_RESULT


async def _run(settings: Settings, arguments: argparse.Namespace) -> None:
    agent = app.build(settings, speed_now=arguments.speed_now, on_record=_printer(arguments, settings))
    if agent.link.present is None:
        say("this box has not enrolled: results are kept here until it has. See linkbell-agent enrol --help", 0)
    await app.run(agent)


def _printer(arguments: argparse.Namespace, settings: Settings) -> Callable[[Record], None] | None:
    if not (arguments.show or arguments.json):
        return None
    if arguments.json or not settings.has_several:
        return lambda record: show(record, as_json=arguments.json)
    width = max(len(way.name) for way in settings.ways)
    return lambda record: print(f"{record.uplink:<{width}}  {describe(record)}", flush=True)


def show(record: Record, *, as_json: bool) -> None:
    """Print a record, for people or as it would be sent."""
    print(record.model_dump_json() if as_json else describe(record), flush=True)


def say(message: str, status: int) -> int:
    """Tell the person at the terminal something that is not a result. Returns ``status``."""
    print(f"linkbell-agent: {message}", file=sys.stderr)
    return status
