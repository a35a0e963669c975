"""Backup, restore and move: whole or not at all, while the collector runs, from each kind of database to each."""

import asyncio
import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from linkbell_collector import app
from linkbell_collector.commands.progress import Progress, bar
from linkbell_collector.domain import Agent, School
from linkbell_collector.errors import RefusedError
from linkbell_collector.folder_lock import FolderLock
from linkbell_collector.store import copies, schema
from linkbell_collector.store.interface import Store
from tests.collector.postgres import PASSWORD, PostgresServer
from tests.collector.process import ServeProcess, run_command, run_json
from tests.collector.stores import Place, dated, delivery, new_agent
from tests.collector.support import DAY_US, NOON_US, FakeClock, check, ping, running, speed

STREAM = UUID("00000000-0000-4000-8000-000000000001")
TABLES = [table.name for table in copies.tables()]


async def fill(store: Store, count: int = 3000) -> Agent:
    """Deliver pings with a gap, a refusal, a speed and a check, over some days."""
    await store.add_school(School("s-0", "Zero", latitude=43.238949, timezone="Asia/Almaty"), NOON_US)
    agent = await new_agent(store)
    for start in range(0, count, 500):
        received_us = NOON_US + start * DAY_US // 500
        records = [dated(ping(seq), received_us - seq) for seq in range(start, start + 500) if seq != 777]
        await store.settle(delivery(agent, records, STREAM, received_us=received_us))
    others = [dated(speed(count)), dated(check(count + 1))]
    await store.settle(delivery(agent, others, STREAM, refused=[count + 2], rejected=1))
    return agent


def contents(place: Place) -> dict[str, Any]:
    """Return every row of every table, in the same order whatever the database."""
    found = {}
    for table in copies.tables():
        names = ", ".join(copies.columns_of(table))
        rows = place.fetch(f"SELECT {names} FROM {table.name}")
        found[table.name] = sorted(rows, key=repr)
    return found


def names(folder: Path, start: str = "") -> list[str]:
    """Return what a folder holds, as far as it begins with ``start``."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(start))


def nothing(done: int, total: int) -> None:
    """Show no progress."""


async def test_what_is_backed_up_comes_back_the_same(
    place: Place, clock: FakeClock, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    file = tmp_path / "backup"
    async with place.opened(clock) as store:
        agent = await fill(store)
        copied = await app.backup(place.settings(), file, nothing, replace=False)
    before = contents(place)
    assert copied.rows == {name: len(rows) for name, rows in before.items()}
    assert file.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path, "backup") == ["backup"]
    targets = [Place(tmp_path / "other", None), Place(tmp_path / "another", postgres_server.new_database())]
    for target in targets:
        assert (await app.restore(target.settings(), file, nothing, replace=False)).rows == copied.rows
        assert contents(target) == before
        # It goes on where the other one was: what it has is a duplicate, and new rows get new numbers.
        async with target.opened(clock) as store:
            done = await store.settle(delivery(agent, [dated(ping(seq)) for seq in (0, 777, 2999, 5000)], STREAM))
            assert [found.record.seq for found in done.new] == [777, 5000]
            again = await new_agent(store, "s-9")
            assert len((await store.settle(delivery(again, [dated(ping(0))]))).new) == 1


async def test_a_backup_is_of_one_moment_while_records_come_in(place: Place, clock: FakeClock, tmp_path: Path) -> None:
    async with place.opened(clock) as store:
        agent = await fill(store)
        told: list[tuple[int, int]] = []
        backup = asyncio.create_task(
            app.backup(place.settings(), tmp_path / "backup", lambda *done: told.append(done), replace=False)
        )
        seq = 10_000
        while not backup.done():
            seq += 1
            await store.settle(delivery(agent, [dated(ping(seq))], STREAM))
        copied = await backup
    assert told[-1][0] == told[-1][1]
    with closing(sqlite3.connect(tmp_path / "backup")) as connection:
        query = "SELECT count(*), max(seq) FROM records JOIN streams ON streams.id = records.stream"
        records, newest = connection.execute(query).fetchone()
        assert copied.records == records
        assert connection.execute("SELECT max(max_seq) FROM streams").fetchone()[0] == max(newest, 3002)
        assert connection.execute("SELECT sum(count) FROM daily").fetchone()[0] == records + 1  # a speed has two ways
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_backup_restored_under_a_running_collector_is_taken_notice_of(
    place: Place, clock: FakeClock, tmp_path: Path
) -> None:
    changes = {} if place.url is None else {"database": place.url.secret}
    async with running(place.folder, clock, **changes) as site:
        agent = await site.agent()
        assert (await agent.send([ping(seq) for seq in range(5)])).status == 200
        await app.backup(place.settings(), tmp_path / "backup", nothing, replace=False)
        assert (await agent.send([ping(seq) for seq in range(5, 9)])).json["stored"] == 4
        other = await site.agent("s-2")
        async with site.changed():
            await app.restore(place.settings(), tmp_path / "backup", nothing, replace=True)
        reply = await agent.send([ping(seq) for seq in range(9)])
        assert (reply.status, reply.json["stored"], reply.json["duplicate"]) == (200, 4, 5)
        assert (await other.send([ping(0)])).status == 401
    assert place.fetch("SELECT count(*) FROM records") == [(9,)]
    assert place.fetch("SELECT sum(count) FROM hourly") == [(9,)]


async def test_a_database_with_data_is_not_written_over_unless_asked(
    place: Place, clock: FakeClock, tmp_path: Path
) -> None:
    file = tmp_path / "backup"
    async with place.opened(clock) as store:
        await fill(store, 500)
        await app.backup(place.settings(), file, nothing, replace=False)
        with pytest.raises(RefusedError, match="exists already"):
            await app.backup(place.settings(), file, nothing, replace=False)
        await app.backup(place.settings(), file, nothing, replace=True)
    before = contents(place)
    with pytest.raises(RefusedError, match="holds data already") as refused:
        await app.restore(place.settings(), file, nothing, replace=False)
    assert "--replace" in str(refused.value.action)
    assert contents(place) == before
    await app.restore(place.settings(), file, nothing, replace=True)
    assert contents(place) == before


def _no_database(file: Path) -> None:
    file.write_bytes(b"<html>" * 5000)


def _of_something_else(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE contacts (name)")


def _cut_short(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def _gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("spoil", [_no_database, _of_something_else, _cut_short, _gone])
async def test_what_is_no_backup_is_refused_and_nothing_changes(
    place: Place, clock: FakeClock, tmp_path: Path, spoil: Any
) -> None:
    file = tmp_path / "backup"
    async with place.opened(clock) as store:
        await fill(store, 1000)
        await app.backup(place.settings(), file, nothing, replace=False)
    if spoil is _of_something_else:
        file.unlink()
    spoil(file)
    before = contents(place)
    with pytest.raises(RefusedError):
        await app.restore(place.settings(), file, nothing, replace=True)
    assert contents(place) == before


def test_a_command_that_cannot_write_its_file_says_so(tmp_path: Path) -> None:
    run_json("tokens", "create", "--school", "s-1", "--data", tmp_path)
    done = run_command("backup", tmp_path / "nowhere" / "file", "--data", tmp_path)
    assert done.returncode == 1
    assert "cannot be written: No such file" in done.stderr


def test_moving_takes_everything_along_and_the_collector_goes_on_there(
    tmp_path: Path, clock: FakeClock, postgres_server: PostgresServer
) -> None:
    old, new = Place(tmp_path, None), Place(tmp_path, postgres_server.new_database())
    assert new.url is not None

    async def session() -> None:
        async with old.opened(clock) as store:
            await fill(store, 12_000)

    asyncio.run(session())
    before = contents(old)
    done = run_command("move", *old.flags, "--to", new.url.secret)
    assert done.returncode == 0, done.stderr
    assert "moved 12,001 records and 1 agents" in done.stdout
    assert "all counts agree" in done.stdout
    assert "[##############################] 100%" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert contents(new) == before == contents(old)
    again = run_command("move", *old.flags, "--to", new.url.secret)
    assert again.returncode == 1
    assert "holds data already" in again.stderr
    assert run_json("move", *old.flags, "--to", new.url.secret, "--replace")["rows"]["records"] == 12_001
    assert contents(new) == before
    process = ServeProcess(tmp_path, flags=new.flags[2:])
    assert process.stop()[0] == 0


async def test_a_move_that_fails_leaves_nothing_behind_and_may_be_tried_again(
    tmp_path: Path, clock: FakeClock, postgres_server: PostgresServer
) -> None:
    old, new = Place(tmp_path, None), Place(tmp_path / "new", postgres_server.new_database())
    async with old.opened(clock) as store:
        await fill(store, 8000)
    assert new.url is not None

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await app.move(old.settings(), new.url, stop, replace=False)
    assert {name: len(rows) for name, rows in contents(new).items()} == dict.fromkeys(TABLES, 0)
    await app.move(old.settings(), new.url, nothing, replace=False)
    assert contents(new) == contents(old)


async def test_nothing_is_moved_from_under_a_running_collector(
    tmp_path: Path, clock: FakeClock, postgres_server: PostgresServer
) -> None:
    old = Place(tmp_path, None)
    async with old.opened(clock):
        pass
    with FolderLock(tmp_path), pytest.raises(RefusedError, match="already serves"):
        await app.move(old.settings(), postgres_server.new_database(), nothing, replace=False)


@pytest.mark.parametrize("command", ["backup", "move"])
def test_a_mistyped_folder_is_no_empty_collector(tmp_path: Path, command: str) -> None:
    rest = ["--to", "postgresql://h/d"] if command == "move" else [str(tmp_path / "file")]
    done = run_command(command, *rest, "--data", tmp_path / "nowhere")
    assert (done.returncode, "there is no collector's database" in done.stderr) == (1, True)


def test_moving_to_what_is_no_postgresql_is_wrong_use(tmp_path: Path) -> None:
    done = run_command("move", "--data", tmp_path, "--to", "sqlite:///x")
    assert (done.returncode, "--to: is not an address" in done.stderr) == (2, True)


async def test_a_backup_of_an_older_version_is_brought_up_to_date_and_itself_left_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    from tests.collector.test_store import old_database

    file = tmp_path / "old"
    old_database(file)
    before = file.read_bytes()
    place = Place(tmp_path / "data", None)
    await app.restore(place.settings(), file, nothing, replace=False)
    assert place.fetch("SELECT version_num FROM alembic_version") == [(schema.HEAD,)]
    assert place.fetch("SELECT count(*) FROM agents") == [(1,)]
    assert file.read_bytes() == before
    assert names(tmp_path) == ["data", "old"]


def test_the_bar_shows_share_amounts_rate_and_time_left() -> None:
    assert bar(0.5, 1000, 2000, 10.0, "rows") == f"[{'#' * 15}{'.' * 15}]  50%  1,000 of 2,000 rows, 100/s, 0:10 left"
    assert bar(1.0, 2000, 2000, 10.0, "rows") == f"[{'#' * 30}] 100%  2,000 of 2,000 rows, 200/s"
    assert bar(0.0, 0, 2000, 0.0, "rows") == f"[{'.' * 30}]   0%  0 of 2,000 rows"


def test_where_there_is_no_terminal_a_line_comes_for_each_tenth() -> None:
    stream = io.StringIO()
    progress = Progress("rows", stream)
    for done in range(1001):
        progress.tell(done, 1000)
    progress.tell(1000, 1000)
    assert len(stream.getvalue().splitlines()) == 11
    assert "\r" not in stream.getvalue()
