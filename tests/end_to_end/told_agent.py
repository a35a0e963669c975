"""The agent by its own ``build()`` and ``run()``, with clocks that are told: ``python -m tests.end_to_end.told_agent``.

``--clock FILE`` holds JSON: ``offset_s``, by which the box's wall clock is wrong; ``boot``, the name of the present
boot; ``booted_s``, when that began on the real boot-time clock; ``synced``, what the kernel says. It may change at any
moment. ``--in-ram`` bounds what is kept in memory: two thousand records take half an hour to come together.
"""

import argparse
import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from linkbell_agent import app
from linkbell_agent.clock import Moment, SystemClock
from linkbell_agent.settings import load
from linkbell_agent.spool import IN_RAM
from linkbell_wire.records import Record


@dataclass(frozen=True)
class Told:
    """What a file says of a box's clocks."""

    offset_s: float = 0.0
    boot: str = "boot-1"
    booted_s: float = 0.0
    synced: bool | None = True

    def write(self, path: Path) -> None:
        """Put it in place, whole."""
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(vars(self)), encoding="utf-8")
        fresh.rename(path)


class FileClock:
    """The machine's clocks, as wrong as a file says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = SystemClock()
        self._boot = self._told().boot

    def _told(self) -> Told:
        read: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return Told(**read)

    @property
    def boot_id(self) -> str:
        return self._boot

    def now(self) -> Moment:
        told, real = self._told(), self._real.now()
        return Moment(real.wall + timedelta(seconds=told.offset_s), real.boottime_s - told.booted_s)

    def monotonic(self) -> float:
        return self._real.monotonic()

    def synced(self) -> bool | None:
        return self._told().synced


def show(record: Record) -> None:
    print(record.model_dump_json(), flush=True)


async def run(arguments: argparse.Namespace) -> None:
    overrides = [*arguments.set, f"state={arguments.state}"]
    settings = load(arguments.config, environment={}, overrides=overrides).settings
    clock = FileClock(arguments.clock) if arguments.clock else None
    await app.run(app.build(settings, on_record=show, clock=clock, in_ram=arguments.in_ram))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock", type=Path)
    parser.add_argument("--in-ram", type=int, default=IN_RAM)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
