"""The spool: nothing is forgotten before it is settled, nothing is numbered twice, losses are counted."""

import asyncio
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from linkbell_agent.spool import Limits, Spool, worth
from linkbell_agent.spool_file import SpoolFile, SpoolFileError, StoredRecord, _Transaction
from linkbell_wire.records import RECORD_ADAPTER
from linkbell_wire.words import EventName, RecordKind
from tests.agent.fakes import ToldClock, event_record, ping_record

STREAM = UUID("00000000-0000-4000-8000-000000000001")


_opened: list[SpoolFile] = []


@pytest.fixture(autouse=True)
def _close_files() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def open_file(path: Path) -> SpoolFile:
    file = SpoolFile(path)
    _opened.append(file)
    return file


def make_spool(
    folder: Path, clock: ToldClock | None = None, stream: UUID = STREAM, max_records: int = 1000, in_ram: int = 2000
) -> Spool:
    limits = Limits(records=max_records, flush_after_s=600, in_ram=in_ram)
    return Spool(lambda: open_file(folder / "spool.db"), stream, clock or ToldClock(), limits)


def on_disk(folder: Path) -> list[StoredRecord]:
    file = SpoolFile(folder / "spool.db")
    try:
        return file.oldest(10_000)
    finally:
        file.close()


def sizes_and_times(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


async def test_records_are_numbered_from_zero_and_the_newest_come_out_first_in_order(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    assert [spool.append(ping_record()).seq for _ in range(5)] == [0, 1, 2, 3, 4]
    batch = await spool.next_batch(3)
    assert batch is not None
    assert batch.stream == str(STREAM)
    assert batch.seqs == (2, 3, 4)
    assert [RECORD_ADAPTER.validate_json(body).seq for body in batch.bodies] == [2, 3, 4]


async def test_a_batch_stays_until_it_is_settled(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.append(ping_record())
    first = await spool.next_batch(10)
    again = await spool.next_batch(10)
    assert first == again
    assert first is not None
    await spool.settle(first, rejected=0)
    assert await spool.next_batch(10) is None
    assert spool.waiting == 0


async def test_normal_running_never_writes_the_disk(tmp_path: Path) -> None:
    clock = ToldClock()
    spool = make_spool(tmp_path, clock)
    assert await spool.open()
    before = sizes_and_times(tmp_path)
    for _ in range(100):
        spool.append(ping_record())
        clock.advance(60)
        await spool.flush_if_due()
        batch = await spool.next_batch(60)
        assert batch is not None
        await spool.settle(batch, rejected=0)
    assert sizes_and_times(tmp_path) == before


async def test_what_waits_ten_minutes_goes_to_disk_and_keeps_its_number(tmp_path: Path) -> None:
    clock = ToldClock()
    spool = make_spool(tmp_path, clock)
    spool.append(ping_record())
    clock.advance(599)
    await spool.flush_if_due()
    assert on_disk(tmp_path) == []
    clock.advance(1)
    await spool.flush_if_due()
    assert len(on_disk(tmp_path)) == 1
    batch = await spool.next_batch(10)
    assert batch is not None
    assert (batch.stream, batch.seqs) == (str(STREAM), (0,))


async def test_a_batch_that_goes_to_disk_while_it_is_sent_is_forgotten_there_too(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.append(ping_record())
    batch = await spool.next_batch(10)
    assert batch is not None
    assert await spool.flush()
    await spool.settle(batch, rejected=0)
    assert spool.waiting == 0
    assert await spool.next_batch(10) is None


async def test_a_restart_keeps_stream_and_number_of_what_waited_and_begins_a_new_stream(tmp_path: Path) -> None:
    before = make_spool(tmp_path)
    for _ in range(3):
        before.append(ping_record())
    await before.close()
    other = uuid4()
    after = make_spool(tmp_path, stream=other)
    assert await after.open()
    after.append(event_record())
    assert after.waiting == 4
    new = await after.next_batch(10)
    assert new is not None
    assert (new.stream, new.seqs) == (str(other), (0,))
    await after.settle(new, rejected=0)
    old = await after.next_batch(10)
    assert old is not None
    assert (old.stream, old.seqs) == (str(STREAM), (0, 1, 2))


def test_kill_after_a_flush_loses_nothing(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, sys; from pathlib import Path\n"
        "from tests.agent.test_spool import make_spool; from tests.agent.fakes import ping_record\n"
        "async def main():\n"
        "    spool = make_spool(Path(sys.argv[1]))\n"
        "    for _ in range(50): spool.append(ping_record())\n"
        "    assert await spool.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    survived = open_file(tmp_path / "spool.db")
    assert [record.seq for record in survived.oldest(100)] == list(range(50))


async def test_a_full_spool_gives_up_pings_before_speeds_before_events_and_counts(tmp_path: Path) -> None:
    disk = open_file(tmp_path / "spool.db")
    kinds = [RecordKind.EVENT, RecordKind.SPEED, RecordKind.PING, RecordKind.PING]
    records = [StoredRecord("s", seq, worth(kind), "{}") for seq, kind in enumerate(kinds)]
    assert disk.insert(records, keep_at_most=3) == 1
    assert [record.seq for record in disk.oldest(9)] == [0, 1, 3]
    assert disk.insert([], keep_at_most=1) == 2
    assert [record.seq for record in disk.oldest(9)] == [0]
    assert disk.counters["dropped"] == 3
    assert len(disk) == 1


async def test_the_bound_of_the_spool_holds_through_a_long_outage(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, max_records=100)
    for _ in range(10):
        for _ in range(50):
            spool.append(ping_record())
        await spool.flush()
    assert spool.waiting <= 100
    assert spool.waiting + spool.counter("dropped") == 500
    await spool.close()
    again = make_spool(tmp_path)
    await again.open()
    assert again.counter("dropped") == 500 - 100
    assert len(on_disk(tmp_path)) == 100


async def test_events_outlive_the_pings_of_a_flush_that_overflows(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, max_records=100)
    for _ in range(90):
        spool.append(event_record())
    await spool.flush()
    for _ in range(150):
        spool.append(ping_record())
    await spool.flush()
    kept = on_disk(tmp_path)
    assert (len(kept), sum(record.worth == 2 for record in kept)) == (100, 90)


async def test_rejected_records_are_counted_across_restarts(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.append(ping_record())
    batch = await spool.next_batch(1)
    assert batch is not None
    await spool.settle(batch, rejected=1)
    await spool.close()
    again = make_spool(tmp_path)
    await again.open()
    assert again.counter("rejected") == 1


@pytest.mark.parametrize("damage", ["overwritten", "not a database", "truncated", "another format"])
async def test_a_damaged_file_is_set_aside_and_the_spool_starts_empty(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "spool.db"
    spool = make_spool(tmp_path)
    for _ in range(500):
        spool.append(ping_record())
    await spool.close()
    content = bytearray(path.read_bytes())
    if damage == "overwritten":
        content[4096 * 3 : 4096 * 6] = b"\xff" * 4096 * 3
    elif damage == "not a database":
        content[:100] = b"this is not a database".ljust(100)
    elif damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[60:64] = (77).to_bytes(4, "big")
    path.write_bytes(content)
    reopened = open_file(path)
    name = "format-77" if damage == "another format" else "damaged"
    assert reopened.set_aside == tmp_path / f"spool.db.{name}-1"
    assert reopened.set_aside.read_bytes()[:4096] == content[:4096]
    assert reopened.set_aside_records == (500 if damage == "another format" else None)
    assert len(reopened) == 0
    reopened.insert([StoredRecord("s", 0, 0, "{}")], keep_at_most=10)
    assert len(reopened) == 1


async def test_a_second_damaged_file_does_not_overwrite_the_first(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
        file = open_file(tmp_path / "spool.db")
        assert file.set_aside == tmp_path / f"spool.db.damaged-{number}"
        file.close()


async def test_a_disk_that_is_full_keeps_results_in_memory_and_loses_none_once_there_is_space(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = make_spool(tmp_path)
    await spool.open()
    disk = _opened[-1]
    # SQLite's own limit gives the very error of a full disk (SQLITE_FULL), on any file system.
    pages = disk._database.execute("PRAGMA page_count").fetchone()[0]
    disk._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    for _ in range(200):
        spool.append(ping_record())
    assert not await spool.flush()
    assert not await spool.flush()
    assert spool.waiting == 200
    assert len([message for message in caplog.messages if "cannot use the spool" in message]) == 1
    disk._database.execute("PRAGMA max_page_count = 100000")
    assert await spool.flush()
    batch = await spool.next_batch(1000)
    assert batch is not None
    assert batch.seqs == tuple(range(200))


async def test_memory_is_bounded_while_the_disk_cannot_be_used(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "no such folder", in_ram=10)
    event = spool.append(event_record(EventName.STOP))
    for _ in range(20):
        spool.append(ping_record())
        await spool.flush_if_due()
    assert spool.waiting == 10
    assert spool.counter("dropped") == 11
    batch = await spool.next_batch(100)
    assert batch is not None
    assert batch.seqs[0] == event.seq, "the event is worth more than any ping"


async def test_a_disk_that_works_is_written_before_memory_is_full(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, in_ram=10)
    for _ in range(50):
        spool.append(ping_record())
        await spool.flush_if_due()
    assert spool.counter("dropped") == 0
    assert len(on_disk(tmp_path)) == 50


async def test_a_disk_that_comes_back_is_used_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    spool = make_spool(folder)
    spool.append(ping_record())
    assert not await spool.flush()
    folder.mkdir()
    assert await spool.flush()
    assert len(on_disk(folder)) == 1


def test_a_folder_that_cannot_be_used_is_trouble_and_not_damage(tmp_path: Path) -> None:
    with pytest.raises(SpoolFileError):
        open_file(tmp_path / "no such folder" / "spool.db")


def test_what_is_written_is_on_the_card_when_the_call_returns(tmp_path: Path) -> None:
    database = open_file(tmp_path / "spool.db")._database
    found = {name: database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert found == {"journal_mode": "wal", "synchronous": 2}


def test_nobody_else_may_read_the_file_or_its_companions(tmp_path: Path) -> None:
    file = open_file(tmp_path / "spool.db")
    file.insert([StoredRecord("s", 0, 0, "{}")], keep_at_most=10)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"spool.db": 0o600, "spool.db-wal": 0o600, "spool.db-shm": 0o600}


class ReadOnlyFile(SpoolFile):
    """A file on a disk that was remounted read-only: reading works, nothing can be changed."""

    read_only = False

    def _transaction(self) -> _Transaction:
        if self.read_only:
            raise SpoolFileError("attempt to write a readonly database")
        return super()._transaction()


async def test_a_disk_that_turned_read_only_lets_each_record_out_once(tmp_path: Path) -> None:
    file = ReadOnlyFile(tmp_path / "spool.db")
    _opened.append(file)
    spool = Spool(lambda: file, STREAM, ToldClock(), Limits())
    for _ in range(5):
        spool.append(ping_record())
    await spool.flush()
    file.read_only = True
    spool.append(ping_record())
    sent: list[int] = []
    while (batch := await spool.next_batch(2)) is not None:
        sent += batch.seqs
        await spool.settle(batch, rejected=0)
    assert sent == [5, 0, 1, 2, 3, 4]
    assert spool.waiting == 0
    file.read_only = False
    await spool.flush_if_due()
    assert on_disk(tmp_path) == []


class SlowFile(SpoolFile):
    """A file on a slow card: every change takes a while."""

    def insert(self, records: Sequence[StoredRecord], *, keep_at_most: int) -> int:
        time.sleep(0.3)
        return super().insert(records, keep_at_most=keep_at_most)

    def delete(self, stream: str, seqs: Sequence[int]) -> None:
        time.sleep(0.3)
        super().delete(stream, seqs)


def slow_spool(folder: Path) -> Spool:
    file = SlowFile(folder / "spool.db")
    _opened.append(file)
    return Spool(lambda: file, STREAM, ToldClock(), Limits())


async def test_a_stop_in_the_middle_of_a_write_loses_nothing(tmp_path: Path) -> None:
    spool = slow_spool(tmp_path)
    for _ in range(50):
        spool.append(ping_record())
    flushing = asyncio.create_task(spool.flush())
    await asyncio.sleep(0.1)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    spool.append(event_record())
    await spool.close()
    assert [record.seq for record in on_disk(tmp_path)] == list(range(51))


async def test_a_stop_in_the_middle_of_forgetting_keeps_the_rest(tmp_path: Path) -> None:
    spool = slow_spool(tmp_path)
    for _ in range(10):
        spool.append(ping_record())
    await spool.flush()
    batch = await spool.next_batch(4)
    assert batch is not None
    settling = asyncio.create_task(spool.settle(batch, rejected=0))
    await asyncio.sleep(0.1)
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    spool.append(event_record())
    await spool.close()
    assert [record.seq for record in on_disk(tmp_path)] == [*range(6), 10]


async def test_what_is_settled_while_it_is_being_written_does_not_stay_on_disk(tmp_path: Path) -> None:
    spool = slow_spool(tmp_path)
    for _ in range(3):
        spool.append(ping_record())
    batch = await spool.next_batch(10)
    assert batch is not None
    flushing = asyncio.create_task(spool.flush())
    await asyncio.sleep(0.1)
    await spool.settle(batch, rejected=0)
    await flushing
    assert spool.waiting == 0
    assert on_disk(tmp_path) == []
