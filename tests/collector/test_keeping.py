"""Retention: what is kept no longer goes, in small steps; what was settled stays settled."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from linkbell_collector.errors import CollectorError
from linkbell_collector.keeping import Keeper
from linkbell_collector.store.interface import Store
from linkbell_collector.store.retention import Pruned
from linkbell_wire import ErrorCode
from tests.collector.stores import Place, dated, delivery, new_agent
from tests.collector.support import DAY_US, NOON_US, FakeClock, ping

HOUR_US = 3_600_000_000


async def _fill(store: Store, days: int, each: int = 60) -> Any:
    """Deliver ``each`` pings on each of the last ``days`` days, and return how to deliver them again."""
    agent, stream = await new_agent(store), uuid4()

    async def send() -> list[int]:
        new = []
        for day in range(days):
            received_us = NOON_US - (days - 1 - day) * DAY_US
            records = [dated(ping(day * each + index), received_us - 1) for index in range(each)]
            new.append(len((await store.settle(delivery(agent, records, stream, received_us=received_us))).new))
        return new

    assert await send() == [each] * days
    return send


async def test_records_and_hours_that_are_too_old_go_and_days_stay(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock, raw_days="10", hourly_days="60") as store:
        await _fill(store, 100)
        await Keeper(store, clock).tidy()
        # PostgreSQL removes whole days, and whole four weeks of hours.
        ((records, oldest_us),) = place.fetch("SELECT count(*), min(received_us) FROM records")
        assert 10 * 60 <= records <= 12 * 60
        assert oldest_us > NOON_US - 12 * DAY_US
        ((hours, oldest_us),) = place.fetch("SELECT sum(count), min(start_us) FROM hourly")
        assert 60 * 60 <= hours <= 89 * 60
        assert oldest_us > NOON_US - 89 * DAY_US
        assert place.fetch("SELECT sum(count), count(*) FROM daily") == [(100 * 60, 100)]
        assert await store.prune(clock.now_us()) == Pruned()


async def test_what_was_removed_is_still_a_duplicate(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock, raw_days="10") as store:
        send = await _fill(store, 30)
        await Keeper(store, clock).tidy()
        before = place.fetch("SELECT count(*) FROM records")
        assert await send() == [0] * 30
        assert place.fetch("SELECT count(*) FROM records") == before
        assert place.fetch("SELECT sum(count) FROM daily") == [(30 * 60,)]


async def test_sums_are_right_when_data_comes_after_its_neighbours_were_removed(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock, raw_days="10") as store:
        agent = await new_agent(store)
        long_ago_us = NOON_US - 30 * DAY_US
        await store.settle(delivery(agent, [dated(ping(0), long_ago_us)], received_us=long_ago_us))
        await Keeper(store, clock).tidy()
        assert place.fetch("SELECT count(*) FROM records") == [(0,)]
        await store.settle(delivery(agent, [dated(ping(0), long_ago_us)]))
        for table in ("hourly", "daily"):
            assert place.fetch(f"SELECT sum(count), sum(received) FROM {table}") == [(2, 18)]


async def test_no_step_takes_more_than_a_few_hundred_records_and_ingest_goes_on_between(
    tmp_path: Path, clock: FakeClock
) -> None:
    place = Place(tmp_path, None)
    async with place.opened(clock, raw_days="10") as store:
        await _fill(store, 50, each=100)
        agent, steps = await new_agent(store), []
        for seq in range(200):
            pruned, settled = await asyncio.gather(
                store.prune(clock.now_us()), store.settle(delivery(agent, [dated(ping(seq))]))
            )
            steps.append(pruned)
            assert len(settled.new) == 1
        assert max(step.records for step in steps) <= 500
        assert sum(step.records for step in steps) == 39 * 100
        assert not steps[-1].more


async def test_records_of_a_clock_that_was_ahead_do_not_keep_the_others_from_going(
    tmp_path: Path, clock: FakeClock
) -> None:
    place = Place(tmp_path, None)
    async with place.opened(clock, raw_days="10") as store:
        agent = await new_agent(store)
        ahead = [dated(ping(seq), NOON_US) for seq in range(900)]
        await store.settle(delivery(agent, ahead, received_us=NOON_US + 4000 * DAY_US))
        await _fill(store, 30)
        await Keeper(store, clock).tidy()
        assert place.fetch("SELECT count(*) FROM records") == [(900 + 11 * 60,)]


async def test_a_file_that_is_mostly_free_shrinks(tmp_path: Path, clock: FakeClock) -> None:
    place = Place(tmp_path, None)
    async with place.opened(clock, raw_days="3650") as store:
        await _fill(store, 120, each=250)
    ((before,),) = place.fetch("PRAGMA page_count")
    async with place.opened(clock, raw_days="1") as store:
        await Keeper(store, clock).tidy()
    ((after,),) = place.fetch("PRAGMA page_count")
    ((free,),) = place.fetch("PRAGMA freelist_count")
    assert after < before / 2
    assert free <= after / 4 + 500


class Broken:
    """A store whose pruning fails a few times."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.steps = 0

    async def prune(self, now_us: int) -> Pruned:
        """Fail, or do nothing."""
        self.steps += 1
        if self.failures:
            raise self.failures.pop()
        return Pruned(more=self.steps < 9)


FAILURES = {
    "the database": [CollectorError(ErrorCode.STORAGE_FAILED, "no")] * 2,
    "a defect": [ZeroDivisionError()] * 2,
}


@pytest.mark.parametrize("failures", FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_is_said_once_and_tried_again(
    failures: list[Exception], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    store: Any = Broken(list(failures))
    keeper = Keeper(store, clock)
    for _ in range(3):
        await keeper.tidy()
    assert store.steps == 9
    assert len(caplog.records) == 1
