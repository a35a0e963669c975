"""The spool: nothing is forgotten before it is settled, nothing is numbered twice, losses are counted."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from linkbell_agent import spool as spool_module
from linkbell_agent.spool import Spool, worth
from linkbell_agent.spool_file import SpoolFile, SpoolFileError, StoredRecord
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


def make_spool(folder: Path, clock: ToldClock | None = None, stream: UUID = STREAM, max_records: int = 1000) -> Spool:
    return Spool(
        open_file(folder / "spool.db"), stream, clock or ToldClock(), max_records=max_records, flush_after_s=600
    )


async def test_records_are_numbered_from_zero_and_come_out_in_order(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    assert [spool.append(ping_record()).seq for _ in range(5)] == [0, 1, 2, 3, 4]
    batch = await spool.next_batch(3)
    assert batch is not None
    assert batch.stream == str(STREAM)
    assert batch.seqs == (0, 1, 2)
    assert [RECORD_ADAPTER.validate_json(body).seq for body in batch.bodies] == [0, 1, 2]


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
    for _ in range(100):
        spool.append(ping_record())
        clock.advance(60)
        await spool.flush_if_old()
        batch = await spool.next_batch(60)
        assert batch is not None
        await spool.settle(batch, rejected=0)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        assert database.execute("SELECT count(*), (SELECT count(*) FROM counters) FROM records").fetchone() == (0, 0)


async def test_what_waits_ten_minutes_goes_to_disk_and_keeps_its_number(tmp_path: Path) -> None:
    clock = ToldClock()
    spool = make_spool(tmp_path, clock)
    spool.append(ping_record())
    clock.advance(599)
    await spool.flush_if_old()
    assert len(open_file(tmp_path / "spool.db")) == 0
    clock.advance(1)
    await spool.flush_if_old()
    assert len(open_file(tmp_path / "spool.db")) == 1
    spool.append(event_record())
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
    after.append(event_record())
    assert after.waiting == 4
    old = await after.next_batch(10)
    assert old is not None
    assert (old.stream, old.seqs) == (str(STREAM), (0, 1, 2))
    await after.settle(old, rejected=0)
    new = await after.next_batch(10)
    assert new is not None
    assert (new.stream, new.seqs) == (str(other), (0,))


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
    disk.insert([StoredRecord("s", seq, worth(kind), "{}") for seq, kind in enumerate(kinds)])
    assert disk.drop_least(1) == 1
    assert [record.seq for record in disk.oldest(9)] == [0, 1, 3]
    disk.drop_least(2)
    assert [record.seq for record in disk.oldest(9)] == [0]
    assert disk.counter("dropped") == 3


async def test_the_bound_of_the_spool_holds_through_a_long_outage(tmp_path: Path) -> None:
    spool = make_spool(tmp_path, max_records=100)
    for _ in range(10):
        for _ in range(50):
            spool.append(ping_record())
        await spool.flush()
    assert spool.waiting <= 100
    assert spool.waiting + spool.counter("dropped") == 500
    await spool.close()
    assert make_spool(tmp_path).counter("dropped") == 500 - 100


async def test_rejected_records_are_counted_across_restarts(tmp_path: Path) -> None:
    spool = make_spool(tmp_path)
    spool.append(ping_record())
    batch = await spool.next_batch(1)
    assert batch is not None
    await spool.settle(batch, rejected=1)
    await spool.close()
    assert make_spool(tmp_path).counter("rejected") == 1


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
    assert reopened.set_aside == tmp_path / "spool.db.damaged-1"
    assert reopened.set_aside.read_bytes()[:4096] == content[:4096]
    assert len(reopened) == 0
    reopened.insert([StoredRecord("s", 0, 0, "{}")])
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
    disk = open_file(tmp_path / "spool.db")
    # SQLite's own limit gives the very error of a full disk (SQLITE_FULL), on any file system.
    pages = disk._database.execute("PRAGMA page_count").fetchone()[0]
    disk._database.execute(f"PRAGMA max_page_count = {pages + 1}")
    spool = Spool(disk, STREAM, ToldClock(), max_records=1000, flush_after_s=600)
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


async def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MAX_IN_RAM", 10)
    spool = make_spool(tmp_path)
    event = spool.append(event_record(EventName.STOP))
    for _ in range(20):
        spool.append(ping_record())
    assert spool.waiting == 10
    assert spool.counter("dropped") == 11
    batch = await spool.next_batch(100)
    assert batch is not None
    assert batch.seqs[0] == event.seq, "the event is worth more than any ping"


def test_a_folder_that_cannot_be_written_is_an_error_of_space_not_damage(tmp_path: Path) -> None:
    with pytest.raises(SpoolFileError):
        open_file(tmp_path / "no such folder" / "spool.db")
