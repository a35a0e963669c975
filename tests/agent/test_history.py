"""After an outage: the newest first, then what matters, then every ping; the line is left to the school meanwhile."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from linkbell_agent.retry import Backoff
from linkbell_agent.sender import Sender
from linkbell_agent.spool import FORGET_AT, Limits, Spool, WaitingBatch
from linkbell_agent.spool_file import SpoolFile
from linkbell_agent.turns import Lane
from linkbell_wire.words import EventName
from tests.agent.fakes import ToldClock, ToldCollector, event_record, ping_record, settle_all

STREAM = UUID("00000000-0000-4000-8000-000000000001")


class Outage:
    """A spool on real disk, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "spool.db"
        self.clock = ToldClock()
        self.files: list[SpoolFile] = []
        self.spool = self.start(STREAM)

    def start(self, stream: UUID) -> Spool:
        self.spool = Spool(self.open_disk, stream, self.clock, Limits())
        return self.spool

    def open_disk(self) -> SpoolFile:
        self.files.append(SpoolFile(self.path))
        return self.files[-1]

    async def drain(self, limit: int = 60) -> list[WaitingBatch]:
        batches = []
        while (batch := await self.spool.next_batch(limit)) is not None:
            batches.append(batch)
            await self.spool.settle(batch, rejected=0)
        return batches


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    outage = Outage(tmp_path)
    yield outage
    await outage.spool.close()


async def test_the_newest_goes_first_then_what_matters_then_the_rest_in_order(outage: Outage) -> None:
    for _ in range(300):
        outage.spool.append(ping_record())
    speech = [outage.spool.append(event_record()).seq, outage.spool.append(event_record()).seq]
    await outage.spool.flush()
    newest = [outage.spool.append(ping_record()).seq for _ in range(4)]
    batches = await outage.drain()
    assert [batch.lane for batch in batches[:4]] == [Lane.LIVE, Lane.VALUED, Lane.HISTORY, Lane.HISTORY]
    assert list(batches[0].seqs) == newest
    assert list(batches[1].seqs) == speech
    history = [seq for batch in batches[2:] if batch.lane is Lane.HISTORY for seq in batch.seqs]
    assert history == sorted(history)
    assert sorted(seq for batch in batches[2:] for seq in batch.seqs) == list(range(300))
    assert outage.spool.waiting == 0


async def test_where_everything_is_on_disk_the_newest_of_it_goes_first(outage: Outage) -> None:
    for _ in range(300):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    batches = await outage.drain()
    assert [batch.lane for batch in batches[:2]] == [Lane.NEWEST, Lane.HISTORY]
    assert list(batches[0].seqs) == list(range(240, 300))
    assert [seq for batch in batches[1:] for seq in batch.seqs] == list(range(240))


async def test_after_an_outage_in_the_middle_of_a_run_the_newest_goes_first_as_well(outage: Outage) -> None:
    outage.spool.append(ping_record())
    await outage.drain()
    for _ in range(300):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    new = outage.spool.append(ping_record())
    batch = await outage.spool.next_batch(60)
    assert batch is not None
    assert batch.seqs == (new.seq,)


async def test_what_is_new_during_a_long_drain_waits_for_three_batches_at_most(outage: Outage) -> None:
    for _ in range(900):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    lanes: list[Lane] = []
    while (batch := await outage.spool.next_batch(30)) is not None and len(lanes) < 24:
        lanes.append(batch.lane)
        await outage.spool.settle(batch, rejected=0)
        outage.spool.append(ping_record())
    assert lanes.count(Lane.LIVE) == 6
    assert lanes.count(Lane.HISTORY) == 17
    assert lanes[0] is Lane.NEWEST


async def test_something_urgent_goes_next_whosever_turn_it_is(outage: Outage) -> None:
    for _ in range(200):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    for _ in range(2):
        batch = await outage.spool.next_batch(10)
        assert batch is not None
        assert batch.lane in (Lane.NEWEST, Lane.HISTORY)
        await outage.spool.settle(batch, rejected=0)
    urgent = outage.spool.append(event_record(EventName.FAILOVER))
    batch = await outage.spool.next_batch(10)
    assert batch is not None
    assert (batch.lane, batch.seqs) == (Lane.LIVE, (urgent.seq,))


async def test_a_batch_never_mixes_streams_and_many_restarts_lose_nothing(outage: Outage) -> None:
    sent: set[tuple[str, int]] = set()
    kept: set[tuple[str, int]] = set()
    for _ in range(7):
        stream = uuid4()
        outage.start(stream)
        for _ in range(23):
            kept.add((str(stream), outage.spool.append(ping_record()).seq))
        kept.add((str(stream), outage.spool.append(event_record()).seq))
        await outage.spool.close()
    outage.start(uuid4())
    await outage.spool.open()
    for batch in await outage.drain(limit=10):
        assert sent.isdisjoint({(batch.stream, seq) for seq in batch.seqs})
        sent |= {(batch.stream, seq) for seq in batch.seqs}
    assert sent == kept


async def test_settled_history_is_deleted_by_the_thousand_and_at_the_end(outage: Outage) -> None:
    for _ in range(FORGET_AT + 90):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    file = outage.files[-1]
    most = 0
    while (batch := await outage.spool.next_batch(60)) is not None:
        await outage.spool.settle(batch, rejected=0)
        most = max(most, file.passed)
        left = file._database.execute("SELECT count(*) FROM records").fetchone()[0]
        assert left - file.passed == outage.spool.waiting
    assert 0 < most <= FORGET_AT
    assert file._database.execute("SELECT count(*) FROM records").fetchone()[0] == 0


async def test_what_is_settled_is_never_counted_as_dropped(tmp_path: Path) -> None:
    spool = Spool(lambda: SpoolFile(tmp_path / "spool.db"), STREAM, ToldClock(), Limits(records=100))
    for _ in range(100):
        spool.append(ping_record())
    await spool.flush()
    batch = await spool.next_batch(60)
    assert batch is not None
    await spool.settle(batch, rejected=0)
    for _ in range(50):
        spool.append(ping_record())
    await spool.flush()
    assert (spool.counter("dropped"), spool.waiting) == (0, 90)
    await spool.close()


async def test_history_waits_while_a_speed_test_has_the_line_and_what_is_new_does_not(outage: Outage) -> None:
    for _ in range(100):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    with outage.spool.history_held():
        assert await outage.spool.next_batch(60) is None
        outage.spool.append(ping_record())
        batch = await outage.spool.next_batch(60)
        assert batch is not None
        assert batch.seqs == (100,)
        await outage.spool.settle(batch, rejected=0)
    assert len(await outage.drain()) == 2


class Slow(ToldCollector):
    """Takes a while for each batch."""

    def __init__(self, clock: ToldClock, takes_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._takes_s = takes_s

    async def ready(self) -> None:
        pass

    async def request(self, method, path, headers, body=None):  # type: ignore[no-untyped-def]
        self._clock.advance(self._takes_s)
        self.answers.append(settle_all)
        return await super().request(method, path, headers, body)


async def test_history_has_its_share_of_the_time_and_what_is_new_does_not_wait_for_it(outage: Outage) -> None:
    for _ in range(200):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    collector = Slow(outage.clock, 0.5)
    sender = Sender(
        outage.spool, collector, "lbc_x", outage.clock, Backoff(random.Random(1)), batch_records=50, max_share=0.25
    )
    assert await sender.send_waiting() == pytest.approx(1.5)
    assert len(collector.requests) == 1
    new = outage.spool.append(event_record())
    outage.clock.advance(0.1)
    assert await sender.send_waiting() == pytest.approx(0.9)
    assert [record["seq"] for record in collector.requests[-1][3]["records"]] == [new.seq]
    began_s = outage.clock.monotonic()
    while (wait_s := await sender.send_waiting()) is not None:
        outage.clock.advance(wait_s)
    assert outage.spool.waiting == 0
    assert outage.clock.monotonic() - began_s == pytest.approx(0.9 + 3 * 0.5 + 2 * 1.5)


async def test_a_file_damaged_while_in_use_is_set_aside_and_the_run_goes_on(outage: Outage) -> None:
    for _ in range(400):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    file = outage.files[-1]
    file._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = outage.path.stat().st_size
    with outage.path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(random.Random(1).randbytes(size - 4096))
    file._database.execute("PRAGMA cache_size = 0")  # a small box's cache would not hold it either
    for _ in range(5):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    await outage.spool.flush_if_due()
    await outage.spool.flush()
    assert outage.files[-1].set_aside == outage.path.with_name("spool.db.damaged-1")
    assert outage.spool.waiting == 5
    assert [seq for batch in await outage.drain() for seq in batch.seqs] == list(range(400, 405))


async def test_a_late_settlement_means_nothing_to_the_file_that_replaced_a_damaged_one(outage: Outage) -> None:
    for _ in range(100):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    under_way = await outage.spool.next_batch(60)
    assert under_way is not None
    old = outage.files[-1]
    outage.spool._disk = None
    old.close()
    outage.path.unlink()
    for _ in range(10):
        outage.spool.append(ping_record())
    await outage.spool.flush()
    await outage.spool.settle(under_way, rejected=0)
    assert [seq for batch in await outage.drain() for seq in batch.seqs] == list(range(100, 110))
