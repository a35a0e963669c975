"""Sums per hour and school day: equal to what a recomputation from the records gives, in whatever order they came."""

import asyncio
import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkbell_collector.domain import Agent, DatedRecord, School, TimeQuality
from linkbell_collector.store import rollups
from linkbell_collector.store.interface import Store
from linkbell_collector.store.rollups import HistoryWanted, Sums
from tests.collector.stores import Place, dated, delivery, new_agent, record
from tests.collector.support import (
    DAY_US,
    NOON_US,
    FakeClock,
    check,
    dns,
    event,
    http,
    lost_ping,
    ping,
    running,
    speed,
)

HOUR_US = 3_600_000_000
ZONES = ("UTC", "Asia/Almaty", "Asia/Kathmandu", "America/St_Johns")
KINDS: list[Any] = [
    ping,
    lambda seq: ping(seq, target="other", rtt_mean_s=0.03),
    lost_ping,
    dns,
    lambda seq: dns(seq, duration_s=None, failure={"operation": "receive", "code": "timeout"}),
    http,
    speed,
    lambda seq: speed(seq, 12e6, None),
    lambda seq: speed(seq, download=None, upload=None, failure={"operation": "connect", "code": "timeout"}),
    check,
    lambda seq: check(seq, passed=False),
    lambda seq: check(seq, passed=None),
    event,
]


def one(values: dict[str, Any]) -> Sums:
    """Return the sums of one record."""
    sums = Sums()
    rollups.add_record(sums, record(values))
    return sums


SINGLE = {
    "a ping": (ping(0), Sums(1, 0, 10, 9, 9, 9 * 24_000, 21_000, 40_000)),
    "a ping without a reply": (lost_ping(0), Sums(1, 1, 10, 0)),
    "a look-up": (dns(0), Sums(1, 0, 0, 0, 1, 18_000, 18_000, 18_000)),
    "a failed look-up": (dns(0, duration_s=None, failure={"operation": "receive", "code": "timeout"}), Sums(1, 1)),
    "a fetch": (http(0), Sums(1, 0, 0, 0, 1, 200_000, 200_000, 200_000)),
    "a passed check": (check(0), Sums(1, 0, 0, 0, 1, 9_000_000, 9_000_000, 9_000_000, 1, 5_000_000)),
    "a failed check": (check(0, passed=False), Sums(1, 0, 0, 0, 1, 9_000_000, 9_000_000, 9_000_000, 0, 5_000_000)),
    "a check that did not find out": (check(0, passed=None), Sums(1, 1, bytes=5_000_000)),
    "an event": (event(0), Sums(1)),
}


@pytest.mark.parametrize(("values", "sums"), SINGLE.values(), ids=SINGLE.keys())
def test_what_one_record_adds(values: dict[str, Any], sums: Sums) -> None:
    assert one(values) == sums


def test_a_speed_test_adds_to_a_series_for_each_direction() -> None:
    found: dict[str, Sums] = {}
    for direction, result in rollups.directions(record(speed(0, 40e6, None))):  # type: ignore[arg-type]
        rollups.add_direction(found.setdefault(direction, Sums()), result)
    assert found == {
        "download": Sums(1, 0, 0, 0, 1, 40_000_000, 40_000_000, 40_000_000, 0, 10_000_000),
        "upload": Sums(1, 1),
    }


def test_no_box_can_make_a_sum_overflow() -> None:
    liar = check(0, bps=1e13, bytes=2**53 - 1)
    assert one(liar).total == one(liar).bytes == rollups.CAP
    slow = ping(0, sent=100_000, received=100_000, failures={}, rtt_mean_s=60.0, rtt_max_s=60.0, rtt_p95_s=60.0)
    assert one(slow).total == rollups.CAP


@given(zone=st.sampled_from(ZONES), minute=st.integers(0, 40_000_000))
def test_the_day_is_the_schools_own(zone: str, minute: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    expected = (moment.astimezone(ZoneInfo(zone)).date() - date(1970, 1, 1)).days
    assert rollups.local_day(zone, minute // 15) == expected


def test_a_zone_nobody_knows_has_the_days_of_utc() -> None:
    assert rollups.local_day("Mars/Olympus", 96 * 5) == 5


# --- with a store

Plan = list[tuple[int, int, bool]]
"""Kind, minutes before noon, and whether its time is known."""

RECORDS = st.lists(st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 4000), st.booleans()), max_size=60)


def _delivered(plan: Plan) -> list[DatedRecord]:
    found = []
    for seq, (kind, minutes, unsynced) in enumerate(plan):
        quality = TimeQuality.UNSYNCED if unsynced and not minutes % 5 else TimeQuality.REDATED
        found.append(dated(KINDS[kind](seq), NOON_US - minutes * 60_000_000, quality))
    return found


async def _play(
    store: Store, agent: Agent, zone: str, stream: UUID, records: list[DatedRecord], data: st.DataObject
) -> None:
    """Deliver ``records`` in any order, in batches of any size, some again, some at once, some of them refused."""
    order = data.draw(st.permutations(records))
    repeated = order + data.draw(st.lists(st.sampled_from(records), max_size=20)) if records else []
    size = data.draw(st.integers(1, 20))
    batches = [repeated[start : start + size] for start in range(0, len(repeated), size)]
    distinct = [list({dated.record.seq: dated for dated in batch}.values()) for batch in batches]
    at_once = data.draw(st.integers(1, 4))
    for start in range(0, len(distinct), at_once):
        deliveries = [delivery(agent, batch, stream, zone=zone) for batch in distinct[start : start + at_once]]
        nobody = type(deliveries[0])(10**6, uuid4(), deliveries[0].records, [], deliveries[0].report)
        # A delivery that cannot be kept rolls its whole group back, after which each is done alone.
        spoiled = [nobody] if data.draw(st.booleans()) else []
        results = await asyncio.gather(*map(store.settle, [*spoiled, *deliveries]), return_exceptions=True)
        assert not any(isinstance(result, BaseException) for result in results[len(spoiled) :])


def _recomputed(place: Place, zone: str, agent: int) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Return the sums per hour and day, made of what is in ``records`` the slow and plain way."""
    hours: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    days: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    query = (
        "SELECT kind, uplink, target, at_us, body FROM records JOIN series ON series.id = records.series "
        f"WHERE agent = {agent} AND clock <> 2"
    )
    for kind, uplink, target, at_us, body in place.fetch(query):
        read = json.loads(body)
        parts = {way: read[way] for way in ("download", "upload") if kind == "speed" and way in read}
        for name, part in (parts or {target: read}).items():
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
            day = (moment.astimezone(ZoneInfo(zone)).date() - date(1970, 1, 1)).days
            hours[kind, uplink, name, at_us // HOUR_US * HOUR_US].append(part)
            days[kind, uplink, name, day].append(part)
    return ({key: _sum(key[0], found) for key, found in times.items()} for times in (hours, days))  # type: ignore[return-value]


def _sum(kind: str, found: list[dict[str, Any]]) -> tuple[Any, ...]:
    lows, highs, total, measured = [], [], 0, 0
    for each in found:
        if kind == "ping" and each["received"]:
            lows.append(int(each["rtt_min_s"] * 1e6 + 0.5))
            highs.append(int(each["rtt_max_s"] * 1e6 + 0.5))
            total += int(each["rtt_mean_s"] * 1e6 + 0.5) * each["received"]
            measured += each["received"]
        elif kind in ("dns", "http", "check", "speed") and not each.get("failure"):
            value = int(each["bps"] + 0.5) if kind in ("check", "speed") else int(each["duration_s"] * 1e6 + 0.5)
            lows.append(value)
            highs.append(value)
            total += value
            measured += 1
    return (
        len(found),
        sum(bool(each.get("failure")) or (kind == "ping" and not each["received"]) for each in found),
        sum(each.get("sent", 0) for each in found),
        sum(each.get("received", 0) for each in found),
        measured,
        total,
        min(lows, default=None),
        max(highs, default=None),
        sum(bool(each.get("passed")) for each in found),
        sum(each.get("bytes", 0) for each in found if kind in ("check", "speed")),
    )


def _stored(place: Place, table: str, time: str, agent: int) -> dict[Any, Any]:
    names = ", ".join(f"{table}.{name}" for name in rollups.COLUMNS)
    query = (
        f"SELECT kind, uplink, target, {time}, {names} FROM {table} JOIN series ON series.id = {table}.series "
        f"WHERE agent = {agent}"
    )
    return {row[:4]: row[4:] for row in place.fetch(query)}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(plan=RECORDS, zone=st.sampled_from(ZONES), data=st.data())
def test_sums_equal_a_recomputation_from_the_records_whatever_order_and_however_often_they_came(
    place: Place, plan: Plan, zone: str, data: st.DataObject
) -> None:
    async def session() -> int:
        clock = FakeClock()
        school, stream, records = f"s-{uuid4().hex[:8]}", uuid4(), _delivered(plan)
        cut = data.draw(st.integers(0, len(records)))
        async with place.opened(clock) as store:
            agent = await new_agent(store, school)
            await _play(store, agent, zone, stream, records[:cut], data)
        async with place.opened(clock) as store:
            await _play(store, agent, zone, stream, records, data)
        return agent.key

    agent = asyncio.run(session())
    hours, days = _recomputed(place, zone, agent)
    assert sum(row[0] for key, row in days.items() if key[0] != "speed") <= len(plan)
    assert _stored(place, "hourly", "start_us", agent) == hours
    assert _stored(place, "daily", "day", agent) == days


async def test_what_is_too_late_for_hours_still_counts_for_its_day(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock, hourly_days="100") as store:
        agent = await new_agent(store)
        records = [dated(ping(0), NOON_US - 101 * DAY_US), dated(ping(1), NOON_US - 99 * DAY_US)]
        await store.settle(delivery(agent, records))
    assert place.fetch("SELECT count(*) FROM hourly") == [(1,)]
    assert place.fetch("SELECT count(*) FROM daily") == [(2,)]


async def test_the_sums_of_a_school_are_found_by_series_and_time(place: Place, clock: FakeClock) -> None:
    today = NOON_US // DAY_US
    async with place.opened(clock) as store:
        agent, other = await new_agent(store), await new_agent(store, "s-2")
        pings = [dated(ping(day), NOON_US - day * DAY_US) for day in range(5)]
        await store.settle(delivery(agent, [*pings, dated(speed(9)), dated(dns(10))]))
        await store.settle(delivery(other, [dated(ping(0))]))
        days = await store.days(HistoryWanted("s-1", ("ping", "speed"), today - 2, today + 1))
        hours = await store.hours(HistoryWanted("s-1", ("ping",), NOON_US - DAY_US - HOUR_US, NOON_US))
    assert [(found.agent, found.kind, found.target, found.at) for found in days] == [
        (agent.id, "ping", "isp-dns", today - 2),
        (agent.id, "ping", "isp-dns", today - 1),
        (agent.id, "ping", "isp-dns", today),
        (agent.id, "speed", "download", today),
        (agent.id, "speed", "upload", today),
    ]
    assert days[0].sums == one(ping(0))
    starts = [NOON_US // HOUR_US * HOUR_US - DAY_US, NOON_US // HOUR_US * HOUR_US]
    assert [(found.uplink, found.at, found.sums.received) for found in hours] == [("main", at, 9) for at in starts]


async def test_a_changed_time_zone_holds_for_what_comes_after(place: Place, clock: FakeClock) -> None:
    late_us = NOON_US // DAY_US * DAY_US + 20 * HOUR_US
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        await store.settle(delivery(agent, [dated(ping(0), late_us)]))
        await store.settle(delivery(agent, [dated(ping(1), late_us)], zone="Asia/Almaty"))
    today = NOON_US // DAY_US
    assert place.fetch("SELECT day, count FROM daily ORDER BY day") == [(today, 1), (today + 1, 1)]


async def test_the_days_are_those_of_the_zone_set_for_the_school_or_for_its_country(
    tmp_path: Path, clock: FakeClock
) -> None:
    country: dict[str, Any] = {"country": "KZ", "countries": {"KZ": {"timezone": "Pacific/Auckland"}}}
    place = Place(tmp_path / "data", None)
    clock.wall_us = NOON_US + 12 * HOUR_US
    async with running(place.folder, clock, **country) as site:
        await site.store.add_school(School("s-1", timezone="America/Lima"), NOON_US)
        for school in ("s-1", "s-2"):
            assert (await (await site.agent(school)).send([ping(0)])).status == 200
    today = NOON_US // DAY_US
    assert place.fetch("SELECT day FROM daily ORDER BY day") == [(today,), (today + 1,)]
