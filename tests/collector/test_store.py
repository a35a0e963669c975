"""The SQLite store: pragmas, migrations, groups, and what it says when the disk or the file fails."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from linkbell_collector.domain import School
from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_collector.loss import Account
from linkbell_collector.profile import NO_WISHES, read_profile
from linkbell_collector.resolution import with_profile
from linkbell_collector.store import rows, schema, sqlite_connection
from linkbell_collector.store.groups import Group, WriterLimits
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.sqlite import SqliteStore
from linkbell_collector.store.sqlite_connection import Database
from linkbell_collector.store.sqlite_ingest import SqliteIngest
from linkbell_collector.store.sqlite_writer import SqliteWriter
from linkbell_wire import ErrorCode
from tests.collector.stores import dated, delivery, record
from tests.collector.support import NOON_US, FakeClock, ping, running, speed

MIGRATIONS = Path(sqlite_connection.__file__).parent / "migrations"


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """Return a migrated, empty database."""
    made = Database(tmp_path / "data" / "collector.sqlite3")
    sqlite_connection.prepare(made, migrate)
    return made


@pytest.mark.parametrize("read_only", [False, True])
def test_every_connection_has_every_pragma(database: Database, *, read_only: bool) -> None:
    expected = {
        "auto_vacuum": 2,
        "busy_timeout": 5000,
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "temp_store": 2,
        "cache_size": -65_536,
        "wal_autocheckpoint": 16_000,
        "journal_size_limit": 128 << 20,
        "query_only": int(read_only),
    }
    connection = sqlite_connection.open_connection(database, read_only=read_only)
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
    connection.close()
    assert found == expected


def test_the_engines_connect_through_that_one_function(database: Database) -> None:
    for readers in (None, 2):
        engine = sqlite_connection.make_engine(database, readers=readers)
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        engine.dispose()


def test_the_migrations_make_exactly_the_tables_that_the_code_knows(database: Database) -> None:
    engine = sqlite_connection.make_engine(database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    engine.dispose()


def old_database(path: Path) -> None:
    """Make a database of the first schema, with an agent and its records."""
    sqlite_connection.prepare(Database(path), lambda connection: _upgrade(connection, "0001"))
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("INSERT INTO schools (id, timezone, approved, created_us) VALUES ('s-1', 'Asia/Almaty', 1, 0)")
        old.execute(
            "INSERT INTO tokens (id, hash, school, uses, used, expires_us, created_us) "
            "VALUES ('t', x'01', 's-1', 1, 1, 9, 0)"
        )
        old.execute(
            "INSERT INTO agents (key, id, school, state, credential_hash, token, enrolled_us, missing, refused, "
            "version, spooled, dropped, rejected, clock_offset_s, report_us) "
            "VALUES (1, 'a', 's-1', 'active', x'02', 't', 0, 9, 2, '1', 0, 5, 4, 0.0, 1)"
        )
        old.execute(f"INSERT INTO streams (id, agent, stream, max_seq, settled) VALUES (1, 1, '{OLD_STREAM}', 1500, 3)")
        old.execute("INSERT INTO series (id, agent, kind, uplink, target) VALUES (1, 1, 'ping', 'main', 'isp-dns')")
        old.execute("INSERT INTO series (id, agent, kind, uplink, target) VALUES (2, 1, 'speed', 'main', '')")
        old.execute("INSERT INTO refusals (stream, seq, received_us, code, detail) VALUES (1, 7, 0, 'invalid', '')")
        for seq, series, clock, values in ((0, 1, 0, ping(0)), (1500, 2, 0, speed(1500)), (9, 1, 2, ping(9))):
            old.execute(
                "INSERT INTO records (stream, seq, series, at_us, received_us, clock, body) "
                "VALUES (1, ?, ?, ?, ?, ?, ?)",
                (seq, series, NOON_US, NOON_US, clock, rows.body_of(record(values))),
            )
        old.execute("PRAGMA journal_mode = DELETE").fetchone()


OLD_STREAM = UUID("00000000-0000-4000-8000-000000000001")


async def test_a_database_of_the_first_schema_is_brought_up_to_date_and_keeps_its_agents_and_records(
    tmp_path: Path, clock: FakeClock
) -> None:
    made = Database(tmp_path / "collector.sqlite3")
    old_database(made.path)
    store = await SqliteStore.open(made, WriterLimits(1000, 1000), clock)
    (agent,) = (await store.directory()).agents.values()
    assert agent.account == Account(missing=9, refused=2, dropped=5, rejected=4)
    again = [dated(values) for values in (ping(0), ping(1), ping(9), speed(1500))]
    done = await store.settle(delivery(agent, again, OLD_STREAM))
    assert [found.record.seq for found in done.new] == [1]
    await store.close()
    engine = sqlite_connection.make_engine(made)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()
    with closing(sqlite3.connect(made.path)) as connection:
        query = "SELECT kind, target, count, received, total FROM daily JOIN series ON series.id = series ORDER BY 1, 2"
        assert connection.execute(query).fetchall() == [
            ("ping", "isp-dns", 2, 18, 18 * 24_000),
            ("speed", "download", 1, 0, 40_000_000),
            ("speed", "upload", 1, 0, 8_000_000),
        ]


def test_a_school_of_which_nobody_had_said_the_time_zone_has_none_after_the_update(tmp_path: Path) -> None:
    made = Database(tmp_path / "collector.sqlite3")
    sqlite_connection.prepare(made, lambda connection: _upgrade(connection, "0002"))
    with closing(sqlite3.connect(made.path, isolation_level=None)) as old:
        old.execute(
            "INSERT INTO schools (id, name, timezone, download_floor_bps, approved, created_us) "
            "VALUES ('s-1', 'Школа', 'UTC', 8e6, 1, 5), ('s-2', NULL, 'Asia/Almaty', NULL, 0, 6)"
        )
        old.execute(
            "INSERT INTO tokens (id, hash, school, uses, used, expires_us, created_us) "
            "VALUES ('t', x'01', 's-1', 1, 0, 9, 0)"
        )
    sqlite_connection.prepare(made, migrate)
    engine = sqlite_connection.make_engine(made)
    with engine.connect() as connection:
        directory = rows.read_directory(connection)
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    engine.dispose()
    assert directory.schools == {
        "s-1": School("s-1", "Школа", download_floor_bps=8e6),
        "s-2": School("s-2", timezone="Asia/Almaty", approved=False),
    }


async def test_what_is_set_for_schools_and_regions_comes_back_and_what_cannot_be_read_does_not_hold(
    database: Database, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = await SqliteStore.open(database, WriterLimits(1000, 1000), clock)
    profile = read_profile({"timezone": "Asia/Almaty", "calendar": {"hours": "8:00-14:00"}})
    school = with_profile(School("s-1", country="KZ", giga_id="g", contract_upload_bps=5e6), profile)
    await store.add_school(school, 0)
    await store.set_region("Алматы", profile)
    directory = await store.directory()
    assert directory.schools == {"s-1": school}
    assert directory.regions == {"Алматы": profile}
    with closing(sqlite3.connect(database.path, isolation_level=None)) as beside:
        beside.execute("UPDATE schools SET wishes = '{'")
        beside.execute("""UPDATE regions SET profile = '{"later": 1, "timezone": "Mars/Base", "check": {"more": 2}}'""")
    directory = await store.directory()
    assert directory.schools["s-1"].wishes == NO_WISHES
    assert directory.regions["Алматы"].timezone == "Mars/Base"
    assert "cannot be read and does not hold" in caplog.text
    await store.set_region("Алматы", None)
    assert (await store.directory()).regions == {}
    with pytest.raises(RefusedError, match="nothing is set"):
        await store.set_region("Алматы", None)
    await store.close()


def _upgrade(connection: sa.Connection, revision: str) -> None:
    configuration = Config(attributes={"connection": connection})
    configuration.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(configuration, revision)


def test_the_newest_migration_is_the_one_the_code_expects() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(configuration).get_current_head() == schema.HEAD


def test_the_database_is_readable_by_its_owner_only(database: Database) -> None:
    assert database.path.stat().st_mode & 0o777 == 0o600
    assert database.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_database_of_a_newer_version_is_refused_unchanged(database: Database) -> None:
    with sqlite3.connect(database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(RefusedError, match="newer version") as refused:
        sqlite_connection.prepare(database, migrate)
    assert "update linkbell-collector" in str(refused.value.action)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    made = Database(tmp_path / "collector.sqlite3")

    def fail_at_the_end(connection: sa.Connection) -> None:
        migrate(connection)
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(RefusedError):
        sqlite_connection.prepare(made, fail_at_the_end)
    connection = sqlite3.connect(made.path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 2048)


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 100)


def _replace(path: Path) -> None:
    path.write_bytes(b"<html>a captive portal was here</html>" * 500)


DAMAGES = {"overwritten": _overwrite, "cut short": _truncate, "not a database": _replace}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_database_is_refused_with_what_to_do_and_not_touched(
    tmp_path: Path, clock: FakeClock, damage: Any
) -> None:
    async with running(tmp_path, clock) as site:
        agent = await site.agent()
        for number in range(20):
            await agent.send([ping(number * 50 + index) for index in range(50)])
    path = tmp_path / sqlite_connection.DATABASE_NAME
    damage(path)
    before = path.read_bytes()
    with pytest.raises(RefusedError, match="is damaged") as refused:
        async with running(tmp_path, clock):
            pass
    assert str(path) in refused.value.message
    assert "Restore the last backup" in str(refused.value.action)
    assert path.read_bytes() == before


async def test_a_full_disk_is_said_so_nothing_acknowledged_is_lost_and_all_goes_on_once_there_is_room(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    acknowledged = 0
    async with running(tmp_path, clock, database_max_bytes="400000") as site:
        agent = await site.agent()
        for number in range(100):
            reply = await agent.send([ping(number * 50 + index) for index in range(50)])
            if reply.status != 200:
                break
            acknowledged += reply.json["stored"]
        assert (reply.status, reply.json["code"]) == (503, "storage_full")
        assert "disk is full" in reply.json["message"]
        assert "free space" in reply.json["action"]
        assert str(tmp_path) not in reply.text
        await agent.send([ping(99_000 + index) for index in range(50)])
        assert [record.message[:26] for record in caplog.records] == ["records cannot be written:"]
        assert int(reply.headers["Retry-After"]) > 0
        ready = await site.get("/readyz")
        assert ready.status == 503
        assert "full" in ready.json["reason"]
        assert (await site.get("/healthz")).status == 200
    assert acknowledged > 0
    assert _count(tmp_path) == acknowledged
    async with running(tmp_path, clock) as with_room:
        agent.site = with_room
        refused_before = [ping(acknowledged + index) for index in range(50)]
        assert (await agent.send(refused_before)).json["stored"] == 50
        assert (await with_room.get("/readyz")).status == 200


def _count(folder: Path) -> int:
    connection = sqlite3.connect(folder / sqlite_connection.DATABASE_NAME)
    (count,) = connection.execute("SELECT count(*) FROM records").fetchone()
    connection.close()
    return int(count)


class Bench:
    """A writer on a real database, and a table of its own."""

    def __init__(self, database: Database, clock: FakeClock, limits: WriterLimits) -> None:
        self.engine = sqlite_connection.make_engine(database)
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE things (id INTEGER PRIMARY KEY)")
        self.writer = SqliteWriter(self.engine, limits, SqliteIngest(), clock)
        self.groups: list[Group] = []
        self.writer.observe(self.groups.append)

    async def nothing(self, *, own: bool = False) -> None:
        await self.writer.run(lambda connection: None, own=own)

    async def insert(self, number: int) -> int:
        def work(connection: sa.Connection) -> int:
            connection.exec_driver_sql("INSERT INTO things VALUES (?)", (number,))
            return number

        return await self.writer.run(work, weight=1)

    def things(self) -> list[int]:
        with self.engine.begin() as connection:
            return list(connection.exec_driver_sql("SELECT id FROM things ORDER BY id").scalars())

    async def close(self) -> None:
        await self.writer.close()
        self.engine.dispose()


async def test_work_that_fails_does_not_take_its_group_down(database: Database, clock: FakeClock) -> None:
    bench = Bench(database, clock, WriterLimits(1000, 1000))
    results = await asyncio.gather(*(bench.insert(number % 30) for number in range(60)), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    assert len(failed) == 30
    assert all(isinstance(error, CollectorError) for error in failed)
    assert bench.things() == list(range(30))
    await bench.close()


async def test_what_waits_is_committed_together(database: Database, clock: FakeClock) -> None:
    bench = Bench(database, clock, WriterLimits(1000, 1000))
    await asyncio.gather(*(bench.insert(number) for number in range(200)))
    assert sum(group.records for group in bench.groups) == 200
    assert len(bench.groups) < 20
    assert all(group.error is None for group in bench.groups)
    await bench.close()


async def test_more_than_the_queue_holds_is_refused_and_asked_to_come_back(
    database: Database, clock: FakeClock
) -> None:
    bench = Bench(database, clock, WriterLimits(10, 10))
    results = await asyncio.gather(*(bench.insert(number) for number in range(30)), return_exceptions=True)
    refused = [error for error in results if isinstance(error, CollectorError)]
    assert len(refused) == 20
    assert {error.code for error in refused} == {ErrorCode.OVERLOADED}
    assert all(error.retry_after_s for error in refused)
    assert len(bench.things()) == 10
    assert bench.writer.waiting == 0
    await bench.close()


async def test_work_without_records_is_bounded_too_but_neither_records_nor_the_collectors_own_suffer(
    database: Database, clock: FakeClock
) -> None:
    bench = Bench(database, clock, WriterLimits(1000, 1000, max_jobs=10))
    flood = [asyncio.create_task(bench.nothing()) for _ in range(30)]
    await asyncio.sleep(0)
    await bench.nothing(own=True)
    assert await bench.insert(1) == 1
    results = await asyncio.gather(*flood, return_exceptions=True)
    refused = [error for error in results if isinstance(error, CollectorError)]
    assert len(refused) == 20
    assert {error.code for error in refused} == {ErrorCode.OVERLOADED}
    await bench.nothing()
    await bench.close()


async def test_closing_commits_what_is_queued_and_then_takes_no_more(database: Database, clock: FakeClock) -> None:
    bench = Bench(database, clock, WriterLimits(1000, 10))
    tasks = [asyncio.create_task(bench.insert(number)) for number in range(100)]
    await asyncio.sleep(0)
    await bench.writer.close()
    assert sorted(await asyncio.gather(*tasks)) == list(range(100))
    with pytest.raises(CollectorError, match="stopping"):
        await bench.insert(1000)
    await bench.close()


async def test_a_refusal_inside_a_transaction_hurts_nobody_else(database: Database, clock: FakeClock) -> None:
    bench = Bench(database, clock, WriterLimits(1000, 1000))

    def refuse(connection: sa.Connection) -> int:
        raise RefusedError("no")

    results = await asyncio.gather(bench.insert(1), bench.writer.run(refuse), bench.insert(2), return_exceptions=True)
    assert results[0] == 1
    assert isinstance(results[1], RefusedError)
    assert bench.things() == [1, 2]
    await bench.close()


async def test_a_lock_held_by_another_program_is_named_and_nothing_is_acknowledged(
    database: Database, clock: FakeClock
) -> None:
    impatient = replace(database, busy_timeout_ms=50)
    store = await SqliteStore.open(impatient, WriterLimits(1000, 1000), clock)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CollectorError, match="held the database") as refused:
        await store.add_school(School("s-1"), clock.now_us())
    assert refused.value.code is ErrorCode.STORAGE_FAILED
    assert refused.value.retry_after_s
    other.execute("ROLLBACK")
    other.close()
    await store.add_school(School("s-1"), clock.now_us())
    assert list((await store.directory()).schools) == ["s-1"]
    await store.close()
