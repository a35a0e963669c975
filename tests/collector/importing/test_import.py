"""Importing: what would change, doing it, doing it again, and what goes wrong meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from linkbell_collector import zones
from linkbell_collector.domain import Directory, School, SchoolEdits
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.importing import service
from linkbell_collector.importing.service import Options, Preview, prepare, take_over
from linkbell_collector.profile import read_profile
from linkbell_collector.resolution import with_profile
from linkbell_collector.store.groups import WriterLimits
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.sqlite import SqliteStore
from linkbell_collector.store.sqlite_connection import DATABASE_NAME, Database
from linkbell_collector.store.sqlite_connection import prepare as prepare_database
from tests.collector.process import run_command, run_json
from tests.collector.support import NOON_US, FakeClock, Site

FILE = """id;name;region;lat;lon;download floor;hours
s-1;Школа №1;Алматы;43,24;76,89;20M;08:00-14:00
s-2;Школа №2;Ақтөбе;50,28;57,17;;
s-3;Школа №3;;;;;
"""


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(Database(tmp_path / DATABASE_NAME), WriterLimits(1000, 1000), clock)
    yield opened
    await opened.close()


def nobody(what: str, done: int, total: int) -> None:
    """Look at no progress."""


async def previewed(store: SqliteStore, text: str, **options: Any) -> Preview:
    return await prepare(await store.directory(), text.encode(), Options(**options), nobody)


async def imported(store: SqliteStore, text: str, **options: Any) -> Preview:
    preview = await previewed(store, text, **options)
    await take_over(store, preview, NOON_US, nobody)
    return preview


def counts(preview: Preview) -> tuple[int, int, int, int]:
    found = preview.comparison
    return len(found.new), len(found.changed), found.unchanged, len(found.errors)


async def test_a_file_is_shown_then_taken_over_and_the_second_time_changes_nothing(store: SqliteStore) -> None:
    assert counts(await previewed(store, FILE)) == (3, 0, 0, 0)
    assert (await store.directory()).schools == {}
    await imported(store, FILE)
    schools = (await store.directory()).schools
    first = School("s-1", "Школа №1", "Алматы", latitude=43.24, longitude=76.89, timezone="Asia/Almaty")
    hours = read_profile({"calendar": {"hours": "08:00-14:00"}})
    assert schools["s-1"] == with_profile(
        first, hours.model_copy(update={"timezone": "Asia/Almaty", "download_floor_bps": 20e6})
    )
    assert schools["s-2"].timezone == "Asia/Aqtobe"
    assert schools["s-3"] == School("s-3", "Школа №3")
    assert counts(await imported(store, FILE)) == (0, 0, 3, 0)
    assert (await store.directory()).schools == schools


async def test_a_changed_school_says_its_fields_and_empty_cells_take_nothing_away(store: SqliteStore) -> None:
    await imported(store, FILE)
    preview = await imported(store, "id;name;region;hours;holidays\ns-1;;Алматы;08:00-15:00;2026-03-22\ns-9;Новая;;;\n")
    (change,) = preview.comparison.changed
    assert [(field.name, field.before, field.after) for field in change.fields] == [
        ("calendar.hours", "08:00-14:00", "08:00-15:00"),
        ("calendar.holidays", None, ["2026-03-22"]),
    ]
    assert counts(preview) == (1, 1, 0, 0)
    assert preview.comparison.elsewhere == 2
    school = (await store.directory()).schools["s-1"]
    assert (school.name, school.download_floor_bps, school.latitude) == ("Школа №1", 20e6, 43.24)


async def test_what_others_change_meanwhile_in_other_fields_stays(store: SqliteStore) -> None:
    await imported(store, FILE)
    preview = await previewed(store, "id;name\ns-1;Гимназия №1\n")
    school = (await store.directory()).schools["s-1"]
    await store.update_school(replace(school, provider="KT", approved=False))
    await take_over(store, preview, NOON_US, nobody)
    after = (await store.directory()).schools["s-1"]
    assert after == replace(school, provider="KT", approved=False, name="Гимназия №1")


async def test_a_school_that_was_added_meanwhile_stops_all_of_it(store: SqliteStore) -> None:
    preview = await previewed(store, FILE)
    await store.add_school(School("s-3"), NOON_US)
    with pytest.raises(RefusedError, match="school s-3 was added meanwhile; nothing was changed"):
        await take_over(store, preview, NOON_US, nobody)
    assert list((await store.directory()).schools) == ["s-3"]
    with pytest.raises(RefusedError, match="school s-4 has gone meanwhile"):
        await store.edit_schools(
            SchoolEdits(changed=[(School("s-4"), frozenset({"name"}))]), NOON_US, lambda done: None
        )


async def test_a_disk_that_fills_up_leaves_nothing_of_an_import(tmp_path: Path, clock: FakeClock) -> None:
    small = Database(tmp_path / DATABASE_NAME, max_bytes=400_000)
    prepare_database(small, migrate)
    store = await SqliteStore.open(small, WriterLimits(1000, 1000), clock)
    rows = "".join(f"s-{number},{'n' * 200}\n" for number in range(3000))
    steps: list[int] = []
    preview = await previewed(store, f"id,name\n{rows}")
    with pytest.raises(Exception, match="disk is full"):
        await take_over(store, preview, NOON_US, lambda what, done, total: steps.append(done))
    assert (await store.directory()).schools == {}
    assert steps[:1] == [1000]
    await store.close()


async def test_progress_is_told_step_by_step(store: SqliteStore) -> None:
    told: list[tuple[str, int, int]] = []
    rows = "".join(f"s-{number}\n" for number in range(2500))

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    preview = await prepare(Directory(), f"id\n{rows}".encode(), Options(), tell)
    await take_over(store, preview, NOON_US, tell)
    assert [done for what, done, _ in told if what == "writing"] == [1000, 2000, 2500]
    assert {what for what, _, _ in told} == {"reading", "comparing", "writing"}
    assert {total for _, _, total in told} <= {0, 2500}


async def test_a_running_collector_takes_notice_and_tells_the_agent(site: Site) -> None:
    agent = await site.agent("s-1")
    before = (await agent.send([])).json["config_etag"]
    text = FILE.encode("windows-1251", "replace")
    async with site.changed():
        preview = await prepare(await site.store.directory(), text, Options(), nobody)
        await take_over(site.store, preview, NOON_US, nobody)
    assert preview.encoding == "windows-1251"
    assert (await agent.send([])).json["config_etag"] != before
    assert 'name="Школа №1",region="Алматы"' in await site.metrics()


async def test_zones_come_from_coordinates_only_where_there_is_none_and_not_from_the_sea(store: SqliteStore) -> None:
    await store.add_school(School("s-1", timezone="Asia/Oral"), NOON_US)
    text = "id,lat,lon,tz\ns-1,43.24,76.89,\ns-2,43.24,76.89,Asia/Aqtau\ns-3,42,51,\ns-4,42.87,74.6,\n"
    preview = await previewed(store, text)
    found = {
        change.school.id: change.school.timezone for change in [*preview.comparison.new, *preview.comparison.changed]
    }
    assert found == {"s-1": "Asia/Oral", "s-2": "Asia/Aqtau", "s-3": None, "s-4": "Asia/Bishkek"}
    assert [remark.line for remark in preview.comparison.notes] == [4]
    assert "lies in the sea" in preview.comparison.notes[0].text
    without = await previewed(store, text, look_up_zones=False)
    assert without.comparison.zones == 0


KAZAKHSTAN = {
    "Алматы": ((43.24, 76.89), "Asia/Almaty"),
    "Астана": ((51.13, 71.43), "Asia/Almaty"),
    "Өскемен": ((49.95, 82.61), "Asia/Almaty"),
    "Қостанай": ((53.21, 63.62), "Asia/Qostanay"),
    "Қызылорда": ((44.85, 65.50), "Asia/Qyzylorda"),
    "Ақтөбе": ((50.28, 57.17), "Asia/Aqtobe"),
    "Атырау": ((47.10, 51.88), "Asia/Atyrau"),
    "Ақтау": ((43.65, 51.17), "Asia/Aqtau"),
    "Орал": ((51.23, 51.37), "Asia/Oral"),
}


@pytest.mark.parametrize(("place", "zone"), KAZAKHSTAN.values(), ids=KAZAKHSTAN.keys())
def test_all_of_kazakhstan_has_one_time_by_the_borders_and_the_rules_of_this_system(
    place: tuple[float, float], zone: str
) -> None:
    assert zones.zone_at(place) == zone
    for month in (1, 7):
        offset = ZoneInfo(zone).utcoffset(datetime(2026, month, 1, tzinfo=UTC).replace(tzinfo=None))
        assert offset is not None
        assert offset.total_seconds() == 5 * 3600


async def test_a_file_larger_than_any_list_of_schools_is_refused() -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return service.MOST_BYTES + 1

    with pytest.raises(UsageError, match="larger than 256 MB"):
        await prepare(Directory(), Large(b"id\n"), Options(), nobody)


def test_the_command_shows_then_does_and_says_what_it_left_alone(tmp_path: Path) -> None:
    file, data = tmp_path / "schools.csv", tmp_path / "data"
    file.write_text(FILE + "s-1;другая;;;;;\n;;;;;;x\ns 5;;;;;;\n")
    shown = run_command("schools", "import", file, "--data", data)
    assert shown.returncode == 1
    assert not data.exists(), "looking makes nothing"
    assert "3  new" in shown.stdout
    assert "line 2: s-1: name Школа №1; region Алматы" in shown.stdout
    assert "line 5: school s-1 is on line 2 already" in shown.stdout
    assert "line 7: id: 's 5' cannot be an id" in shown.stdout
    assert "this is a preview, nothing was changed; --apply changes it" in shown.stdout
    refused = run_command("schools", "import", file, "--apply", "--data", data)
    assert refused.returncode == 1
    assert "leave them out with --skip-errors" in refused.stdout
    assert run_json("schools", "list", "--data", data) == []
    done = run_command("schools", "import", file, "--apply", "--skip-errors", "--data", data)
    assert done.returncode == 0
    assert "done: 3 schools added, 0 changed" in done.stdout
    assert len(run_json("schools", "list", "--data", data)) == 3
    file.write_text("id;name\ns-1;Гимназия\n")
    again = run_json("schools", "import", file, "--data", data)
    assert again["changed"] == [
        {"line": 2, "id": "s-1", "fields": {"name": {"before": "Школа №1", "after": "Гимназия"}}}
    ]
    assert (again["applied"], again["errors"], again["elsewhere"]) == (False, [], 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], "nowhere.csv cannot be read"),
        (["FILE", "--id", "number"], "no column holds the id of the school (number); there are: id, name"),
        (["FILE", "--encoding", "martian"], "is no encoding"),
        (["FILE", "--delimiter", "dot"], "invalid choice"),
    ],
)
def test_wrong_use_of_the_command_is_said_in_words(tmp_path: Path, arguments: list[str], words: str) -> None:
    file = tmp_path / "schools.csv"
    file.write_text(FILE)
    done = run_command(
        "schools", "import", *(str(file) if one == "FILE" else one for one in arguments), "--data", tmp_path / "data"
    )
    assert done.returncode == 2
    assert words in done.stderr


async def test_an_import_of_geojson_is_one_of_csv(store: SqliteStore) -> None:
    await imported(store, "id,name,lat,lon\ns-1,Школа №1,43.24,76.89\n")
    point = {"type": "Point", "coordinates": [76.89, 43.24]}
    features = [{"type": "Feature", "geometry": point, "properties": {"id": "s-1", "school_name": "Школа №1"}}]
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    assert counts(await asyncio.wait_for(previewed(store, text), 20)) == (0, 0, 1, 0)
