"""What every store does, whatever database is behind it: run on SQLite and on a real PostgreSQL server."""

import asyncio
from uuid import uuid4

import pytest

from linkbell_collector.domain import AgentState, School, TimeQuality, Token, Wanted
from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_collector.live import settles
from linkbell_collector.loss import Account
from linkbell_collector.secret import digest, new_token
from linkbell_collector.store.interface import Store
from linkbell_wire import ErrorCode
from linkbell_wire.enrolment import EnrolRequest
from tests.collector.stores import Place, dated, delivery, new_agent
from tests.collector.support import DAY_US, NOON_US, FakeClock, check, dns, event, ping, speed

MINUTE_US = 60_000_000
WANTED = Wanted(kinds=("ping", "dns", "speed", "check"), settles=settles, at_most=500)


async def test_what_is_settled_is_there_once_however_often_it_is_sent(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        batch = delivery(agent, [dated(ping(seq)) for seq in range(60)], stream)
        first = await store.settle(batch)
        again = await store.settle(batch)
        together = await asyncio.gather(*(store.settle(batch) for _ in range(5)))
    assert (len(first.new), first.duplicate) == (60, 0)
    assert [(len(done.new), done.duplicate) for done in (again, *together)] == [(0, 60)] * 6
    assert place.fetch("SELECT seq FROM records ORDER BY seq") == [(seq,) for seq in range(60)]


async def test_duplicates_are_known_after_a_restart_and_new_ones_among_them_are_kept(
    place: Place, clock: FakeClock
) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        await store.settle(delivery(agent, [dated(ping(seq)) for seq in (*range(0, 3000, 2), 5000)], stream))
    async with place.opened(clock) as store:
        done = await store.settle(delivery(agent, [dated(ping(seq)) for seq in range(2990, 3010)], stream))
        assert [found.record.seq for found in done.new] == [2991, 2993, 2995, 2997, 2999, *range(3000, 3010)]
        assert done.duplicate == 5
        assert done.account.missing == 5001 - 1501 - 15


async def test_batches_that_come_at_once_and_overlap_are_kept_once(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        batches = [
            delivery(agent, [dated(ping(seq)) for seq in range(start, start + 100)], stream)
            for start in range(0, 2000, 50)
        ]
        done = await asyncio.gather(*(store.settle(batch) for batch in reversed(batches)))
        assert sum(len(settled.new) for settled in done) == 2050
        last = await store.settle(delivery(agent, [], stream))
        assert last.account.missing == 0
    assert place.fetch("SELECT count(*), count(DISTINCT seq) FROM records") == [(2050, 2050)]


async def test_a_stream_without_gaps_takes_no_room_for_what_is_settled(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        await store.settle(delivery(agent, [dated(ping(seq)) for seq in range(1000, 3000)], stream))
        await store.settle(delivery(agent, [dated(ping(seq)) for seq in range(1000)], stream))
        await store.settle(delivery(agent, [dated(ping(seq)) for seq in range(3000, 3072)], stream))
    assert place.fetch("SELECT whole, max_seq, settled FROM streams") == [(3, 3071, 3072)]
    assert place.fetch("SELECT * FROM settled") == []
    async with place.opened(clock) as store:
        done = await store.settle(delivery(agent, [dated(ping(seq)) for seq in (0, 1023, 1024, 3071, 3072)], stream))
        assert [found.record.seq for found in done.new] == [3072]


async def test_two_streams_and_two_agents_have_numbers_of_their_own(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agents = [await new_agent(store), await new_agent(store, "s-2")]
        for agent in agents:
            for name in (stream, uuid4()):
                assert len((await store.settle(delivery(agent, [dated(ping(0))], name))).new) == 1


async def test_a_refused_number_is_no_gap_and_is_taken_once_it_is_good(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        first = await store.settle(delivery(agent, [dated(ping(0)), dated(ping(2))], stream, refused=[1], rejected=1))
        assert first.account == Account(missing=0, refused=1, dropped=0, rejected=1)
        again = await store.settle(delivery(agent, [], stream, refused=[1], rejected=1))
        assert again.account.refused == 1
        good = await store.settle(delivery(agent, [dated(ping(1))], stream, rejected=1))
        assert len(good.new) == 1
        assert good.account.missing == 0
        assert (await store.settle(delivery(agent, [dated(ping(1))], stream))).duplicate == 1
    assert place.fetch("SELECT count(*) FROM refusals") == [(0,)]


async def test_the_account_of_an_agent_survives_a_restart(place: Place, clock: FakeClock) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        await store.settle(delivery(agent, [dated(ping(9))], stream, dropped=4))
        await store.settle(delivery(agent, [], stream, dropped=1, spooled=7))
    async with place.opened(clock) as store:
        (found,) = (await store.directory()).agents.values()
        assert found.account == Account(missing=9, refused=0, dropped=5, rejected=0)
        assert found.report is not None
        assert (found.report.spooled, found.report.version) == (7, "0.1.0")
        assert (await store.settle(delivery(agent, [dated(ping(3))], stream, dropped=2))).account.missing == 8


async def _latest(store: Store, *agents: int) -> list[tuple[str, int, int]]:
    found = [live async for piece in store.latest(agents, WANTED) for live in piece]
    return sorted((live.dated.record.kind, live.dated.at_us, live.dated.record.seq) for live in found)


async def test_the_newest_of_each_series_is_found_however_late_older_ones_came(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock) as store:
        agent, other = await new_agent(store), await new_agent(store)
        day = [NOON_US - number * DAY_US for number in range(40)]
        for seq, (at_us, received_us) in enumerate(
            [(day[1], day[1]), (day[3], day[0]), (day[20], day[20]), (day[30], day[12]), (day[39], day[2])]
        ):
            now = dated(ping(seq), at_us)
            await store.settle(delivery(agent, [now], received_us=received_us))
        unsynced = dated(ping(9), NOON_US + DAY_US, TimeQuality.UNSYNCED)
        await store.settle(delivery(agent, [unsynced, dated(event(10)), dated(dns(11), day[35])], received_us=day[1]))
        await store.settle(delivery(other, [dated(ping(0), day[39])], received_us=day[39]))
        clock.wall_us = NOON_US + MINUTE_US
        assert await _latest(store, agent.key) == [("dns", day[35], 11), ("ping", day[1], 0)]
        assert await _latest(store, other.key) == [("ping", day[39], 0)]
        assert await _latest(store) == []


async def test_going_back_to_the_last_success_ends_there(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        tries = [speed(0), speed(1), speed(2, None), speed(3, None, None)]
        records = [dated(values, NOON_US + seq * MINUTE_US) for seq, values in enumerate(tries)]
        await store.settle(
            delivery(agent, [*records, dated(check(4), NOON_US), dated(check(5, passed=None), NOON_US + 1)])
        )
        found = await _latest(store, agent.key)
        assert {(kind, seq) for kind, _, seq in found} == {
            ("check", 4),
            ("check", 5),
            *(("speed", n) for n in (1, 2, 3)),
        }


async def test_schools_tokens_and_agents_are_kept_and_changed(place: Place, clock: FakeClock) -> None:
    school = School("s-9", "Nine", "North", latitude=43.238949, longitude=76.889709, download_floor_bps=20e6)
    async with place.opened(clock) as store:
        await store.add_school(school, NOON_US)
        with pytest.raises(RefusedError, match="known already"):
            await store.add_school(school, NOON_US)
        assert (await store.directory()).schools["s-9"] == school
        await store.update_school(School("s-9", "Ten", timezone="Asia/Almaty"))
        with pytest.raises(RefusedError, match="not known"):
            await store.update_school(School("s-8"))
        secret, credential = new_token(), digest("c")
        token = Token("token-1", None, "North", 1, 0, NOON_US + DAY_US, NOON_US)
        assert not await store.add_token(token, digest(secret))
        joined = await store.enrol(EnrolRequest(token=secret, school="s-7"), credential, NOON_US)
        assert (joined.school_created, joined.agent.state) == (True, AgentState.PENDING)
        with pytest.raises(CollectorError) as refused:
            await store.enrol(EnrolRequest(token=secret, school="s-7"), digest("d"), NOON_US)
        assert refused.value.code is ErrorCode.TOKEN_USED_UP
        assert (await store.approve(joined.agent.id)).state is AgentState.ACTIVE
        assert (await store.directory()).schools["s-7"].approved
        assert (await store.revoke_agent(joined.agent.id)).state is AgentState.REVOKED
        with pytest.raises(RefusedError, match="was revoked"):
            await store.approve(joined.agent.id)
        await store.revoke_token("token-1", NOON_US)
        (kept,) = await store.tokens()
        assert (kept.used, kept.revoked) == (1, True)
    async with place.opened(clock) as store:
        found = await store.directory()
        assert set(found.schools) == {"s-7", "s-9"}
        assert found.schools["s-9"].title == "Ten"
        assert found.agents[credential].id == joined.agent.id


async def test_writes_of_others_are_noticed_and_own_ones_are_not(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock) as store:
        before = await store.changes_by_others()
        agent = await new_agent(store)
        await store.settle(delivery(agent, [dated(ping(0))]))
        assert await store.changes_by_others() == before
        async with place.opened(clock, serving=False) as beside:
            await beside.directory()
            assert await store.changes_by_others() == before
            await beside.revoke_agent(agent.id)
        assert await store.changes_by_others() != before


async def test_a_write_shows_whether_anything_can_be_written(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock) as store:
        await store.check_writable(5)
        await store.check_writable(6)
    assert place.fetch("SELECT at_us FROM heartbeat") == [(6,)]


async def test_more_than_may_wait_is_refused_and_what_was_taken_is_kept_on_closing(
    place: Place, clock: FakeClock
) -> None:
    async with place.opened(clock, max_waiting_records="1000", max_commit_records="100") as store:
        agent = await new_agent(store)
        batches = [delivery(agent, [dated(ping(seq)) for seq in range(60)]) for _ in range(30)]
        tasks = [asyncio.create_task(store.settle(batch)) for batch in batches]
        await asyncio.sleep(0)
        await store.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(CollectorError, match="stopping"):
            await store.settle(batches[0])
    refused = [result for result in results if isinstance(result, CollectorError)]
    assert {error.code for error in refused} == {ErrorCode.OVERLOADED}
    assert len(refused) == 30 - 16
    assert place.fetch("SELECT count(*) FROM records") == [(16 * 60,)]


async def test_a_batch_of_an_agent_that_is_not_there_hurts_nobody_else(place: Place, clock: FakeClock) -> None:
    async with place.opened(clock) as store:
        agent = await new_agent(store)
        nobody = delivery(agent, [dated(ping(0))])
        nobody = type(nobody)(999, nobody.stream, nobody.records, nobody.refused, nobody.report)
        batches = [delivery(agent, [dated(ping(0))]), nobody, delivery(agent, [dated(ping(0))])]
        results = await asyncio.gather(*map(store.settle, batches), return_exceptions=True)
        assert [isinstance(result, BaseException) for result in results] == [False, True, False]
    assert place.fetch("SELECT count(*) FROM records") == [(2,)]


async def test_what_was_simulated_goes_with_all_its_traces_and_its_numbers_are_free_again(
    place: Place, clock: FakeClock
) -> None:
    stream = uuid4()
    async with place.opened(clock) as store:
        real = await new_agent(store)
        await store.settle(delivery(real, [dated(ping(0))]))
        for _ in range(2):
            await store.add_schools([School("sim-1", simulated=True), School("s-1", "One")], NOON_US)
            agent = await new_agent(store, "sim-1", simulated=True)
            records = [dated(ping(seq)) for seq in range(1500)]
            assert len((await store.settle(delivery(agent, records, stream, refused=[2000]))).new) == 1500
            assert await store.revoke_simulated() == 1
            removed = await store.remove_simulated()
            assert (removed.schools, removed.agents, removed.records) == (1, 1, 1500)
        found = await store.directory()
        assert [school.title for school in found.schools.values()] == ["One"]
        assert [left.id for left in found.agents.values()] == [real.id]
    for table, rows in {"records": 1, "hourly": 1, "daily": 1, "streams": 1, "settled": 1, "refusals": 0}.items():
        assert place.fetch(f"SELECT count(*) FROM {table}") == [(rows,)]
