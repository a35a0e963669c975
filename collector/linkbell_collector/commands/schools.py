"""``schools``: list, add, change, show; remove those of a simulation."""

import argparse
import difflib
import zoneinfo
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from linkbell_collector import values
from linkbell_collector.clock import SystemClock
from linkbell_collector.commands import common
from linkbell_collector.domain import Agent, Directory, School
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.simulate import removal
from linkbell_collector.store.interface import Store
from linkbell_wire.fields import Name, Text

_EPILOG = """\
Examples:
  linkbell-collector schools add s-100 --name "School 100" --region Almaty --download-floor 20M
  linkbell-collector schools add s-100 --update --provider Kazakhtelecom
  linkbell-collector schools list
  linkbell-collector schools show s-100 --json
  linkbell-collector schools remove --simulated       all of a simulation, with their records
"""
_TEXTS = ("name", "region", "district", "provider", "technology", "timezone")
_FLOORS = {"download_floor": "download_floor_bps", "upload_floor": "upload_floor_bps"}
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the commands."""
    parser = common.add_command(
        subparsers, "schools", "list, add, change or show schools, remove simulated ones", _EPILOG
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = common.add_command(actions, "list", "list all schools", _EPILOG, [parent])
    common.add_json(listing)
    listing.set_defaults(run=run_list)
    show = common.add_command(actions, "show", "show one school and its agents", _EPILOG, [parent])
    show.add_argument("id", metavar="ID")
    common.add_json(show)
    show.set_defaults(run=run_show)
    _add_add(actions, parent)
    remove = common.add_command(actions, "remove", "remove simulated schools with their records", _EPILOG, [parent])
    remove.add_argument("--simulated", action="store_true", required=True, help="all of them; real schools stay")
    common.add_json(remove)
    remove.set_defaults(run=run_remove)


def _add_add(actions: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    add = common.add_command(actions, "add", "add a school, or change one with --update", _EPILOG, [parent])
    add.add_argument("id", metavar="ID", help="letters, digits and _ . : - ; the government's or Giga's id")
    add.add_argument("--update", action="store_true", help="change a school that is known; what is not given stays")
    for name in _TEXTS:
        add.add_argument(f"--{name}", metavar="TEXT")
    add.add_argument("--latitude", type=float, metavar="DEGREES")
    add.add_argument("--longitude", type=float, metavar="DEGREES")
    for name in _FLOORS:
        add.add_argument(f"--{name.replace('_', '-')}", metavar="RATE", help="bits per second, such as 20M")
    common.add_json(add)
    add.set_defaults(run=run_add)


def run_list(parsed: argparse.Namespace) -> int:
    """Print all schools."""
    directory = common.with_store(common.effective(parsed).settings, _directory)
    rows = [_row(school, directory) for school in sorted(directory.schools.values(), key=lambda school: school.id)]
    if parsed.json:
        common.print_json(rows)
    else:
        common.print_table(
            ("id", "name", "region", "approved", "simulated", "agents"),
            rows,
            "no schools yet; make a token: tokens create --school ID",
        )
    return 0


def run_show(parsed: argparse.Namespace) -> int:
    """Print one school and its agents."""
    directory = common.with_store(common.effective(parsed).settings, _directory)
    school = directory.schools.get(parsed.id)
    if school is None:
        raise RefusedError(f"school {parsed.id} is not known", "list the schools with: schools list")
    agents = [_agent_row(agent) for agent in _agents_of(school, directory)]
    row = {**_row(school, directory), "agents": agents}
    if parsed.json:
        common.print_json(row)
    else:
        for name, value in row.items():
            if name != "agents":
                print(f"{name:20} {'-' if value is None else value}")
        common.print_table(("id", "state", "version", "last_report"), agents, "no agents yet")
    return 0


def run_add(parsed: argparse.Namespace) -> int:
    """Add or change a school."""
    changes = _changes(parsed)
    clock = SystemClock()

    async def work(store: Store) -> School:
        known = (await store.directory()).schools.get(parsed.id)
        if parsed.update and known is not None:
            school = replace(known, **changes)
            await store.update_school(school)
        else:
            school = School(parsed.id, **changes)
            await (store.update_school(school) if parsed.update else store.add_school(school, clock.now_us()))
        return school

    school = common.with_store(common.effective(parsed).settings, work, make=True)
    if parsed.json:
        common.print_json(asdict(school))
    else:
        print(f"school {school.id} is {'changed' if parsed.update else 'added'}")
    return 0


def run_remove(parsed: argparse.Namespace) -> int:
    """Remove all simulated schools."""
    settings = common.effective(parsed).settings
    removed = common.with_store(settings, lambda store: removal.remove(store, settings.data))
    if parsed.json:
        common.print_json(asdict(removed))
    else:
        print(f"removed {removed.schools} simulated schools, {removed.agents} agents and {removed.records} records")
    return 0


def _changes(parsed: argparse.Namespace) -> dict[str, Any]:
    common.checked("ID", _NAME, parsed.id, common.A_NAME)
    changes: dict[str, Any] = {}
    for name in _TEXTS:
        if getattr(parsed, name) is not None:
            changes[name] = common.checked(f"--{name}", _TEXT, getattr(parsed, name), common.A_TEXT)
    _require_timezone(parsed.timezone)
    for name, limit in (("latitude", 90), ("longitude", 180)):
        value = getattr(parsed, name)
        if value is not None:
            if not -limit <= value <= limit:
                raise UsageError(f"--{name}: {value} is not between -{limit} and {limit} degrees")
            changes[name] = value
    for flag, column in _FLOORS.items():
        text = getattr(parsed, flag)
        if text is not None:
            changes[column] = _rate(f"--{flag.replace('_', '-')}", text)
    return changes


def _require_timezone(name: str | None) -> None:
    known = zoneinfo.available_timezones()  # empty on a system without the time zone database: then nothing is known
    if name is not None and known and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ", such as Asia/Almaty"
        raise UsageError(f"--timezone: {name!r} is not a time zone{hint}")


def _rate(where: str, text: str) -> float:
    try:
        return values.scaled(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


async def _directory(store: Store) -> Directory:
    return await store.directory()


def _agents_of(school: School, directory: Directory) -> list[Agent]:
    return [agent for agent in directory.agents.values() if agent.school == school.id]


def _row(school: School, directory: Directory) -> dict[str, object]:
    return {**asdict(school), "agents": len(_agents_of(school, directory))}


def _agent_row(agent: Agent) -> dict[str, object]:
    report = agent.report
    return {
        "id": agent.id,
        "state": agent.state.value,
        "version": report.version if report else None,
        "last_report": common.iso(report.received_us) if report else None,
    }
