"""``schools``: list, add, change, show; remove those of a simulation."""

import argparse
from collections import Counter
from dataclasses import asdict, fields, replace
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from linkbell_collector import values
from linkbell_collector.clock import SystemClock
from linkbell_collector.commands import common, profile_flags, schools_import
from linkbell_collector.domain import Agent, Directory, School
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.profile import DESCRIBING, as_json
from linkbell_collector.resolution import Resolver, own_profile, with_profile
from linkbell_collector.simulate import removal
from linkbell_collector.store.interface import Store
from linkbell_wire.fields import Name, Text

_EPILOG = """\
Examples:
  linkbell-collector schools add s-100 --name "School 100" --region Almaty --download-floor 20M
  linkbell-collector schools set s-100 --provider Kazakhtelecom --hours "08:00-13:00, 14:00-19:00"
  linkbell-collector schools set s-100 --settings s-100.toml --clear calendar.holidays
  linkbell-collector schools import schools.csv
  linkbell-collector schools list
  linkbell-collector schools show s-100 --json
  linkbell-collector schools remove --simulated       all of a simulation, with their records
"""
_TEXTS = ("name", "region", "district", "technology", "giga_id")
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
    schools_import.add_to(actions, parent)
    remove = common.add_command(actions, "remove", "remove simulated schools with their records", _EPILOG, [parent])
    remove.add_argument("--simulated", action="store_true", required=True, help="all of them; real schools stay")
    common.add_json(remove)
    remove.set_defaults(run=run_remove)


def _add_add(actions: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    add = common.add_command(actions, "add", "add a school, or change one with --update", _EPILOG, [parent])
    add.add_argument("--update", action="store_true", help="change a school that is known; what is not given stays")
    change = common.add_command(actions, "set", "change a school; what is not given stays", _EPILOG, [parent])
    change.set_defaults(update=True)
    for parser in (add, change):
        parser.add_argument("id", metavar="ID", help="letters, digits and _ . : - ; the government's or Giga's id")
        for name in _TEXTS:
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT")
        parser.add_argument("--country", metavar="XX", help="two letters, such as KZ")
        parser.add_argument("--latitude", type=float, metavar="DEGREES")
        parser.add_argument("--longitude", type=float, metavar="DEGREES")
        profile_flags.add_to(parser)
        common.add_json(parser)
        parser.set_defaults(run=run_add)


def run_list(parsed: argparse.Namespace) -> int:
    """Print all schools."""
    directory = common.with_store(common.effective(parsed).settings, _directory)
    agents = Counter(agent.school for agent in directory.agents.values())
    rows = [_row(school, agents[school.id]) for school in sorted(directory.schools.values(), key=attrgetter("id"))]
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
    """Print one school, what holds for it and who set that, and its agents."""
    settings = common.effective(parsed).settings
    directory = common.with_store(settings, _directory)
    school = directory.schools.get(parsed.id)
    if school is None:
        raise RefusedError(f"school {parsed.id} is not known", "list the schools with: schools list")
    agents = [_agent_row(agent) for agent in _agents_of(school, directory)]
    row = {**_row(school, len(agents)), "agents": agents}
    holds: list[dict[str, object]] = [
        {"setting": path, "value": value, "set by": origin}
        for path, value, origin in Resolver(settings.defaults, directory.regions).origins(school)
    ]
    if parsed.json:
        common.print_json({**row, "effective": {item["setting"]: item for item in holds}})
    else:
        for name, value in row.items():
            if name not in ("agents", "wishes", *DESCRIBING):
                print(f"{name:20} {'-' if value is None else value}")
        common.print_table(("setting", "value", "set by"), holds, "nothing is set for it")
        common.print_table(("id", "state", "version", "last_report"), agents, "no agents yet")
    return 0


def run_add(parsed: argparse.Namespace) -> int:
    """Add or change a school."""
    changes = _changes(parsed)
    profile_flags.changed(parsed)  # what cannot be used is refused before a database is made
    clock = SystemClock()

    async def work(store: Store) -> School:
        known = (await store.directory()).schools.get(parsed.id)
        if parsed.update and known is not None:
            school = _with_flags(replace(known, **changes), parsed)
            await store.update_school(school)
        else:
            school = _with_flags(School(parsed.id, **changes), parsed)
            await (store.update_school(school) if parsed.update else store.add_school(school, clock.now_us()))
        return school

    school = common.with_store(common.effective(parsed).settings, work, make=True)
    if parsed.json:
        common.print_json(_plain(school))
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
            changes[name] = common.checked(f"--{name.replace('_', '-')}", _TEXT, getattr(parsed, name), common.A_TEXT)
    for name, limit in (("latitude", 90), ("longitude", 180)):
        value = getattr(parsed, name)
        if value is not None:
            if not -limit <= value <= limit:
                raise UsageError(f"--{name}: {value} is not between -{limit} and {limit} degrees")
            changes[name] = value
    if parsed.country is not None:
        try:
            changes["country"] = values.country_code(parsed.country)
        except ValueError as error:
            raise UsageError(f"--country: {error}") from error
    return changes


def _with_flags(school: School, parsed: argparse.Namespace) -> School:
    return with_profile(school, profile_flags.changed(parsed, own_profile(school)))


async def _directory(store: Store) -> Directory:
    return await store.directory()


def _agents_of(school: School, directory: Directory) -> list[Agent]:
    return [agent for agent in directory.agents.values() if agent.school == school.id]


def _row(school: School, agents: int) -> dict[str, object]:
    return {**_plain(school), "agents": agents}


def _plain(school: School) -> dict[str, object]:
    values = {item.name: getattr(school, item.name) for item in fields(School)}
    return {**values, "wishes": as_json(school.wishes)}


def _agent_row(agent: Agent) -> dict[str, object]:
    report = agent.report
    return {
        "id": agent.id,
        "state": agent.state.value,
        "version": report.version if report else None,
        "last_report": common.iso(report.received_us) if report else None,
    }
