"""A check on several connections, over loopback: what they share, and what becomes of one."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from linkbell_agent.floor.client import _EXCHANGES, _upgrade
from linkbell_agent.floor.exchange import Ending, FloorExchange, Limits
from linkbell_agent.floor.joining import open_others
from linkbell_agent.floor.rule import State
from linkbell_agent.ndt7.connection import Opened, open_test
from linkbell_agent.ndt7.endpoint import parse
from linkbell_agent.ndt7.upgrade import Upgrade
from linkbell_agent.net import Uplink
from linkbell_collector.measure.app import MeasurementServer, build
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_wire import floor
from linkbell_wire.failures import FailureCode
from linkbell_wire.words import Direction
from tests.agent.ndt7.servers import Visitor, serving

FLOOR_BPS = 8e6
COUNT = 8


@pytest.fixture
async def server() -> AsyncIterator[MeasurementServer]:
    started = build(MeasureSettings(host="127.0.0.1", port=0, max_check_bps=100e6))
    await started.start()
    yield started
    await started.stop(drain_s=0.0)


async def opened(url: str, direction: Direction) -> tuple[Opened, list[Opened]]:
    upgrade = _upgrade(parse(url), direction, FLOOR_BPS)
    first = await open_test(upgrade, Uplink())
    return first, await open_others(upgrade, Uplink(), COUNT - 1, 0.05)


def exchange_of(direction: Direction, first: Opened, others: list[Opened]) -> FloorExchange:
    limits = Limits(FLOOR_BPS, 0.05, streams=1 + len(others), waits_for_begin=True)
    return _EXCHANGES[direction](first.connection, limits, time.monotonic, others)


async def ending_of(exchange: FloorExchange, first: Opened) -> Ending:
    async with asyncio.timeout(15):
        return await exchange.run(first.first_bytes)


@pytest.mark.parametrize("direction", Direction)
async def test_together_they_are_as_fast_and_cost_as_much_as_one(
    server: MeasurementServer, direction: Direction
) -> None:
    first, others = await opened(server.url, direction)
    assert first.streams_offered == floor.MAX_STREAMS
    assert len(others) == COUNT - 1
    ending = await ending_of(exchange_of(direction, first, others), first)
    assert ending.failure is None
    assert ending.decision is not None
    assert ending.decision.bps is not None
    # How near to the pace they come is a matter of round trips, and tested on lines that have some.
    assert 0.3 < ending.decision.bps / floor.pace_bps(FLOOR_BPS) < 1.1
    assert 100_000 < ending.cost_bytes <= floor.budget_bytes(FLOOR_BPS)
    assert ending.sender.rtts_s


@pytest.mark.parametrize("direction", Direction)
async def test_one_that_is_cut_off_is_made_up_for_by_the_others(
    server: MeasurementServer, direction: Direction
) -> None:
    first, others = await opened(server.url, direction)
    exchange = exchange_of(direction, first, others)
    asyncio.get_running_loop().call_later(0.1, others[2].connection._sock.shutdown, 2)
    ending = await ending_of(exchange, first)
    assert ending.failure is None
    assert ending.decision is not None
    assert ending.decision.bps is not None


async def test_a_server_that_takes_only_one_is_checked_with_one(server: MeasurementServer) -> None:
    first = await open_test(_upgrade(parse(server.url), Direction.DOWNLOAD, FLOOR_BPS), Uplink())
    busy = Upgrade(parse(server.url), Direction.DOWNLOAD, target="/nothing", subprotocol=floor.SUBPROTOCOL)
    assert await open_others(busy, Uplink(), 3, 0.05) == []
    ending = await ending_of(exchange_of(Direction.DOWNLOAD, first, []), first)
    assert ending.decision is not None
    assert ending.decision.state is State.PASSED


async def test_cancelled_while_opening_the_others_none_stays_open() -> None:
    arrived = 0

    async def never_answers(visitor: Visitor) -> None:
        nonlocal arrived
        arrived += 1
        assert await visitor.reader.read() is not None  # until the client closes

    async with serving(never_answers) as other:
        upgrade = _upgrade(parse(other.url), Direction.DOWNLOAD, FLOOR_BPS)
        task = asyncio.create_task(open_others(upgrade, Uplink(), 3, 5.0))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert arrived == 3


async def test_those_that_come_too_late_are_done_without() -> None:
    async def never_answers(visitor: Visitor) -> None:
        await visitor.reader.read()

    async with serving(never_answers) as other:
        upgrade = _upgrade(parse(other.url), Direction.DOWNLOAD, FLOOR_BPS)
        assert await open_others(upgrade, Uplink(), 3, 0.01) == []


async def test_a_server_may_not_send_each_of_them_the_whole_budget(server: MeasurementServer) -> None:
    first, others = await opened(server.url, Direction.DOWNLOAD)
    exchange = exchange_of(Direction.DOWNLOAD, first, others)
    for channel in exchange._channels:
        channel._reader.payload_bytes = floor.budget_bytes(FLOOR_BPS) // 2
    ending = await ending_of(exchange, first)
    assert ending.failure is not None
    assert ending.failure.code is FailureCode.PROTOCOL_ERROR
