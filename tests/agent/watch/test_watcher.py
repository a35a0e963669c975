"""Watching never changes what a test is worth, and ends with it."""

import asyncio
import time
from pathlib import Path

import pytest

from linkbell_agent.ndt7.client import Outcome
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Uplink
from linkbell_agent.watch.box import Box
from linkbell_agent.watch.watcher import Watcher
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, LimitedBy, Stop
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Server, serving

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


async def test_a_watched_test_has_round_trips_before_and_beside_it() -> None:
    watching = watcher()
    async with serving(servers.hangs_up) as server:
        await watching.before(endpoint(server))
        outcome = await watching.during(DOWN, ends_with(GOOD))
    assert GOOD.bps is not None
    assert outcome.result.bps == pytest.approx(GOOD.bps, rel=0.01)  # with the probes, which took their part
    assert outcome.result.probes is not None
    assert 3 <= outcome.result.probes <= 9
    assert outcome.result.rtt_loaded_s is not None
    assert outcome.result.rtt_loaded_s < 0.05
    assert outcome.result.rtt_smoothed_s == 0.05
    seen = watching.seen()
    assert seen["rtt_idle_s"] is not None
    assert seen["bufferbloat"] is not None
    assert seen["probe_bytes"]
    assert seen["others_before_bps"] is None  # loopback


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
        assert time.monotonic() - began_s < 0.5
        assert len([task for task in asyncio.all_tasks() if "serve" not in repr(task)]) <= tasks
