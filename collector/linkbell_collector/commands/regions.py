"""``regions``: what holds for the schools of a region."""

import argparse

from pydantic import TypeAdapter

from linkbell_collector.commands import common, profile_flags
from linkbell_collector.domain import Directory
from linkbell_collector.profile import NOTHING, Profile, as_json, flat
from linkbell_collector.store.interface import Store
from linkbell_wire.fields import Text

_EPILOG = """\
Examples:
  linkbell-collector regions set Almaty --timezone Asia/Almaty --download-floor 20M
  linkbell-collector regions set Almaty --holidays 2026-03-21/2026-03-29,2026-05-01
  linkbell-collector regions set Abai --settings abai.toml
  linkbell-collector regions list
  linkbell-collector regions remove Abai
"""
_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def add_to(subparsers: common.Subparsers, parent: argparse.ArgumentParser) -> None:
    """Add the commands."""
    parser = common.add_command(subparsers, "regions", "set what holds for the schools of a region", _EPILOG)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = common.add_command(actions, "list", "list what is set for regions", _EPILOG, [parent])
    common.add_json(listing)
    listing.set_defaults(run=run_list)
    change = common.add_command(
        actions, "set", "set something for all schools of a region that have no setting of their own", _EPILOG, [parent]
    )
    change.add_argument("name", metavar="NAME", help="as it is written with the schools")
    profile_flags.add_to(change)
    common.add_json(change)
    change.set_defaults(run=run_set)
    remove = common.add_command(actions, "remove", "set nothing for a region any more", _EPILOG, [parent])
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(run=run_remove)


def run_list(parsed: argparse.Namespace) -> int:
    """Print what is set, one line for each setting."""
    directory = common.with_store(common.effective(parsed).settings, _directory)
    if parsed.json:
        common.print_json({name: as_json(profile) for name, profile in sorted(directory.regions.items())})
        return 0
    rows: list[dict[str, object]] = [
        {"region": name, "schools": _schools_of(name, directory), "setting": path, "value": value}
        for name, profile in sorted(directory.regions.items())
        for path, value in flat(profile)
    ]
    common.print_table(
        ("region", "schools", "setting", "value"), rows, "nothing is set for any region; set something: regions set"
    )
    return 0


def run_set(parsed: argparse.Namespace) -> int:
    """Set something for a region."""
    name = common.checked("NAME", _TEXT, parsed.name, common.A_TEXT)
    profile_flags.changed(parsed)  # what cannot be used is refused before a database is made

    async def work(store: Store) -> tuple[Profile, Directory]:
        directory = await store.directory()
        profile = profile_flags.changed(parsed, directory.regions.get(name, NOTHING))
        await store.set_region(name, profile)
        return profile, directory

    profile, directory = common.with_store(common.effective(parsed).settings, work, make=True)
    if parsed.json:
        common.print_json(as_json(profile))
        return 0
    count = _schools_of(name, directory)
    print(f"region {name} is set; schools of it: {count}")
    if not count:
        known = sorted({school.region for school in directory.schools.values() if school.region})
        print(f"no school is of this region yet; schools are of: {', '.join(known) or 'none'}")
    return 0


def run_remove(parsed: argparse.Namespace) -> int:
    """Set nothing for a region any more."""

    async def work(store: Store) -> None:
        await store.set_region(parsed.name, None)

    common.with_store(common.effective(parsed).settings, work)
    print(f"nothing is set for region {parsed.name} any more")
    return 0


async def _directory(store: Store) -> Directory:
    return await store.directory()


def _schools_of(name: str, directory: Directory) -> int:
    return sum(school.region == name for school in directory.schools.values())
