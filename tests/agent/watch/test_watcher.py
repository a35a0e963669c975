"""Watching never changes what a test is worth, and ends with it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from linkbell_agent.ndt7.client import Outcome
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Uplink
from linkbell_agent.watch.box import Box
from linkbell_agent.watch.pace import UNKNOWN_S
from linkbell_agent.watch.sampler import TIMEOUT_S, Sampler
from linkbell_agent.watch.traffic import Counted
from linkbell_agent.watch.watcher import Watcher
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, LimitedBy, Stop
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Server, Visitor, serving

DOWN = Direction.DOWNLOAD
GOOD = SpeedResult(bps=8e6, bytes=400_000, duration_s=0.4, stop=Stop.TIME, rtt_loaded_s=0.05)
BAD = SpeedResult(bytes=7, duration_s=0.4, failure=Failure(operation=Operation.RECEIVE, code=FailureCode.TIMEOUT))


def watcher(idle_s: float = 0.3) -> Watcher:
    return Watcher(Uplink(), time.monotonic, idle_s=idle_s)


def endpoint(server: Server) -> Endpoint:
    return Endpoint("127.0.0.1", server.port)


async def ends_with(result: SpeedResult, *, admitted: bool = True) -> Outcome:
    began_s = time.monotonic()
    await asyncio.sleep(0.4)
    return Outcome(result, admitted, rtt_idle_s=0.02, window=(began_s, time.monotonic()))


async def test_a_watched_test_has_round_trips_before_and_beside_it(tmp_path: Path) -> None:
    slow = GOOD.model_copy(update={"rtt_loaded_s": 9.0})
    visits: asyncio.Queue[None] = asyncio.Queue()

    async def tells(visitor: Visitor) -> None:
        visits.put_nowait(None)
        await visitor.request()

    async def ends_after_five_probes() -> Outcome:
        began_s, so_far = time.monotonic(), visits.qsize()
        async with asyncio.timeout(30):
            for _ in range(so_far + 5):
                await visits.get()
        return Outcome(slow, admitted=True, rtt_idle_s=0.02, window=(began_s, time.monotonic()))

    watching = Watcher(Uplink(), time.monotonic, Box(tmp_path), idle_s=0.3)  # it counts nothing: the first pace stays
    async with serving(tells) as server:
        await watching.before(endpoint(server))
        began_s = time.monotonic()
        outcome = await watching.during(DOWN, ends_after_five_probes())
        took_s = time.monotonic() - began_s
    assert slow.bps is not None
    assert outcome.result.bps is not None
    assert slow.bps < outcome.result.bps < 1.01 * slow.bps  # with the probes, which took their part
    assert outcome.result.probes is not None
    assert 5 <= outcome.result.probes <= took_s / UNKNOWN_S + 2
    assert outcome.result.rtt_loaded_s is not None
    assert outcome.result.rtt_loaded_s < TIMEOUT_S
    assert outcome.result.rtt_smoothed_s == 9.0
    seen = watching.seen()
    assert seen["rtt_idle_s"] is not None
    assert seen["bufferbloat"] is not None
    assert seen["probe_bytes"]
    assert seen["others_before_bps"] is None


async def test_a_test_that_failed_or_was_not_taken_is_left_as_it_is() -> None:
    watching = watcher(0.0)
    async with serving(servers.hangs_up) as server:
        await watching.before(endpoint(server))
        assert (await watching.during(DOWN, ends_with(BAD))).result is BAD
        assert (await watching.during(DOWN, ends_with(GOOD, admitted=False))).result is GOOD
    seen = watching.seen()
    assert (seen["rtt_idle_s"], seen["bufferbloat"], seen["limited_by"]) == (0.02, None, LimitedBy.UNKNOWN)


async def test_where_nothing_can_be_seen_the_test_is_worth_the_same(tmp_path: Path) -> None:
    watching = Watcher(Uplink(), time.monotonic, Box(tmp_path), idle_s=0.1)
    await watching.before(Endpoint("no-such-name.invalid", 1))
    result = (await watching.during(DOWN, ends_with(GOOD))).result
    assert (result.bps, result.rtt_loaded_s, result.probes, result.others_bps) == (8e6, 0.05, None, None)
    assert result.limited_by is LimitedBy.UNKNOWN
    seen = watching.seen()
    assert (seen["rtt_idle_s"], seen["probe_bytes"], seen["others_during_bps"]) == (0.02, None, None)


async def test_what_was_seen_of_another_server_is_forgotten() -> None:
    watching = watcher()
    async with serving(servers.hangs_up) as server:
        await watching.before(endpoint(server))
        await watching.during(DOWN, ends_with(GOOD))
    await watching.before(Endpoint("no-such-name.invalid", 1))
    assert set(watching.seen().values()) == {None, LimitedBy.UNKNOWN}


async def test_what_a_test_raises_comes_out_as_it_is_and_ends_the_watch() -> None:
    async def breaks() -> Outcome:
        await asyncio.sleep(0.1)
        raise RuntimeError("broken")

    watching = watcher(0.0)
    async with serving(servers.says_nothing) as server:
        await watching.before(endpoint(server))
        tasks = len(asyncio.all_tasks())
        began_s = time.monotonic()
        with pytest.raises(RuntimeError, match="broken"):
            await watching.during(DOWN, breaks())
        assert time.monotonic() - began_s < TIMEOUT_S - 1
        assert len([task for task in asyncio.all_tasks() if "serve" not in repr(task)]) <= tasks


class BrokenSampler(Sampler):
    """Fails as a whole."""

    async def run(self, pace: Callable[[], float], until: asyncio.Event) -> None:
        await asyncio.sleep(0.05)
        raise RuntimeError("a probe")


class BrokenBox(Box):
    """Cannot count."""

    def counted(self, device: str, monotonic: Callable[[], float]) -> Counted | None:
        raise RuntimeError("a counter")


async def test_a_fault_of_the_watch_is_said_once_and_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    watching = Watcher(Uplink(), time.monotonic, BrokenBox(), idle_s=0.1, make_sampler=BrokenSampler)
    async with serving(servers.hangs_up) as server:
        await watching.before(endpoint(server))
        outcome = await watching.during(DOWN, ends_with(GOOD))
        assert (await watching.during(Direction.UPLOAD, ends_with(BAD))).result is BAD
    assert (outcome.result.bps, outcome.result.bytes, outcome.result.duration_s) == (8e6, 400_000, 0.4)
    assert (outcome.result.rtt_loaded_s, outcome.result.probes, outcome.result.others_bps) == (0.05, None, None)
    assert watching.seen()["rtt_idle_s"] == 0.02
    assert [record.message for record in caplog.records if "Please report" in record.message] == [
        "internal fault beside a speed test, which goes on without. Please report this"
    ]


async def test_a_probe_that_breaks_costs_no_result() -> None:
    class BreaksInside(Sampler):
        async def _probe(self) -> None:
            raise RuntimeError("a probe")

    watching = Watcher(Uplink(), time.monotonic, idle_s=0.1, make_sampler=BreaksInside)
    async with serving(servers.hangs_up) as server:
        await watching.before(endpoint(server))
        assert (await watching.during(DOWN, ends_with(GOOD))).result.bps == GOOD.bps


@pytest.mark.parametrize("make_sampler", [Sampler, BrokenSampler])
async def test_cancelling_ends_test_and_watch_at_once(make_sampler: type[Sampler]) -> None:
    watching = Watcher(Uplink(), time.monotonic, idle_s=0.0, make_sampler=make_sampler)
    started = asyncio.Event()

    async def goes_on() -> Outcome:
        started.set()
        await asyncio.sleep(60)
        raise AssertionError

    async with serving(servers.says_nothing) as server:
        await watching.before(endpoint(server))
        task = asyncio.create_task(watching.during(DOWN, goes_on()))
        await started.wait()
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began_s < TIMEOUT_S - 1


async def test_cancelling_while_the_last_answers_are_awaited_is_not_forgotten() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.reader.read(1 << 16)
        await asyncio.sleep(60)

    watching = watcher(0.0)
    async with serving(silent) as server:
        await watching.before(endpoint(server))
        task = asyncio.create_task(watching.during(DOWN, ends_with(GOOD)))
        await asyncio.sleep(0.8)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began_s < TIMEOUT_S - 1
