"""The check probe over real sockets: our server, and servers that misbehave. Every check ends, and says how."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from linkbell_agent.clock import SystemClock
from linkbell_agent.floor.client import FloorClient
from linkbell_agent.floor.download import FloorDownload
from linkbell_agent.floor.exchange import GOODBYE_S, Limits
from linkbell_agent.ndt7.connection import open_test
from linkbell_agent.ndt7.endpoint import parse
from linkbell_agent.ndt7.upgrade import Upgrade
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import CheckRequest, ProbeContext
from linkbell_agent.probes.check import check
from linkbell_collector.measure.app import MeasurementServer, build
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_wire import floor
from linkbell_wire.configuration import SpeedServer
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Opcode
from linkbell_wire.records import CheckRecord
from linkbell_wire.words import Direction, Trigger
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Behaviour, Server, Visitor

CONTEXT = ProbeContext(Uplink(), SystemClock())
DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
RECEIVE = Operation.RECEIVE


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[Server]:
    """Serve, and let the last connection's end be noticed before the loop is closed."""
    async with servers.serving(behaviour) as server:
        yield server
    await asyncio.sleep(0.01)


async def run(*urls: str, direction: Direction = DOWN, floor_bps: float = 8e6, longest_s: float = 15.0) -> CheckRecord:
    named = tuple(SpeedServer(url=url) for url in urls)
    async with asyncio.timeout(20):
        return await check(CheckRequest(named, Trigger.MANUAL, floor_bps, direction, longest_s), CONTEXT)


@pytest.fixture
async def server() -> AsyncIterator[MeasurementServer]:
    started = build(MeasureSettings(host="127.0.0.1", port=0, max_check_bps=100e6))
    await started.start()
    yield started
    await started.stop(drain_s=0.0)


@pytest.mark.parametrize("direction", Direction)
async def test_loopback_passes_at_the_pace_and_within_the_budget(
    server: MeasurementServer, direction: Direction
) -> None:
    record = await run(server.url, direction=direction)
    assert record.failure is None
    assert record.passed is True
    assert record.bps is not None
    assert 0.9 < record.bps / floor.pace_bps(8e6) < 1.1
    assert record.bytes <= floor.budget_bytes(8e6)
    assert record.paced_bps == pytest.approx(9.2e6)
    assert record.direction is direction


@pytest.mark.parametrize("direction", Direction)
async def test_low_floors_on_loopback_whose_packets_are_huge(server: MeasurementServer, direction: Direction) -> None:
    records = await asyncio.gather(
        *(run(server.url, direction=direction, floor_bps=bps) for bps in (100e3, 600e3, 2e6))
    )
    assert [record.failure for record in records] == [None] * 3
    assert [record.passed for record in records] == [True] * 3


async def test_a_server_that_knows_no_checks_passes_the_check_on(server: MeasurementServer) -> None:
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    async with serving(servers.answers(not_found)) as other:
        alone = await run(other.url)
        record = await run(other.url, server.url)
    assert alone.failure == Failure(operation=Operation.UPGRADE, code=FailureCode.HTTP_STATUS)
    assert alone.passed is None
    assert record.passed is True
    assert record.server == server.url.replace("http", "ws")


@pytest.mark.parametrize("floor_bps", [0.0, 50e3, 10e9])
async def test_a_floor_from_configuration_that_cannot_be_checked_is_a_record(floor_bps: float) -> None:
    record = await run("ws://127.0.0.1:1", floor_bps=floor_bps)
    assert record.failure == Failure(operation=Operation.RUN, code=FailureCode.FLOOR_OUT_OF_RANGE)
    assert record.bytes == 0


@pytest.mark.parametrize("request_", [CheckRequest((), Trigger.MANUAL, 8e6)])
async def test_a_request_without_a_server_makes_no_sense(request_: CheckRequest) -> None:
    with pytest.raises(ValueError, match="needs a server"):
        await check(request_, CONTEXT)


# Servers that misbehave


def upgraded(behave: Callable[[Visitor], Awaitable[None]]) -> Behaviour:
    async def behaviour(visitor: Visitor) -> None:
        await visitor.upgrade(subprotocol=floor.SUBPROTOCOL)
        await behave(visitor)

    return behaviour


async def _paced(visitor: Visitor, seconds: float, bps: float = 9.2e6) -> None:
    message = frames.header(Opcode.BINARY, 4096) + os.urandom(4096)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        visitor.writer.write(message)
        await visitor.writer.drain()
        await asyncio.sleep(4096 * 8 / bps)


async def _stalls(visitor: Visitor) -> None:
    await _paced(visitor, 0.2)
    await asyncio.sleep(60)


async def _silent(visitor: Visitor) -> None:
    await asyncio.sleep(60)


async def _closes(visitor: Visitor) -> None:
    await _paced(visitor, 0.2)
    visitor.close()
    await visitor.swallow(5)


async def _refuses(visitor: Visitor) -> None:
    await _paced(visitor, 0.2)
    visitor.close(frames.CLOSE_POLICY)
    await visitor.swallow(5)


async def _resets(visitor: Visitor) -> None:
    await _paced(visitor, 0.2)
    visitor.reset()


async def _writes(visitor: Visitor, what: bytes, *, again: bool = False) -> None:
    visitor.writer.write(what)
    if again:
        await visitor.flood(60, what)
    await visitor.swallow(60)


def says(**fields: int) -> bytes:
    return frames.message(Opcode.TEXT, floor.Report.model_validate(fields).to_json())


FLOOD = frames.header(Opcode.BINARY, 1 << 16) + bytes(1 << 16)

MISBEHAVIOUR = [
    ("silent", DOWN, _silent, {FailureCode.TIMEOUT}),
    ("stalls", DOWN, _stalls, {FailureCode.TIMEOUT}),
    ("closes", DOWN, _closes, {FailureCode.CONNECTION_CLOSED}),
    ("refuses", DOWN, _refuses, {FailureCode.PROTOCOL_ERROR}),
    ("resets", DOWN, _resets, {FailureCode.CONNECTION_RESET}),
    ("garbage", DOWN, partial(_writes, what=b"\xff" * 100), {FailureCode.PROTOCOL_ERROR}),
    ("floods", DOWN, partial(_writes, what=FLOOD, again=True), {FailureCode.PROTOCOL_ERROR}),
    ("texts", DOWN, partial(_writes, what=says(elapsed_us=1), again=True), {FailureCode.PROTOCOL_ERROR}),
    (
        "1 GB message",
        DOWN,
        partial(_writes, what=frames.header(Opcode.BINARY, 1 << 30)),
        {FailureCode.MESSAGE_TOO_LARGE},
    ),
    ("binary upwards", UP, partial(_writes, what=FLOOD), {FailureCode.PROTOCOL_ERROR}),
    (
        "claims too much",
        UP,
        partial(
            _writes,
            what=says(elapsed_us=1, segments=0, received_bytes=0)
            + says(elapsed_us=9**9, segments=9**9, received_bytes=9**11),
        ),
        {FailureCode.PROTOCOL_ERROR},
    ),
]


@pytest.mark.parametrize(
    ("direction", "behave", "codes"), [row[1:] for row in MISBEHAVIOUR], ids=[row[0] for row in MISBEHAVIOUR]
)
async def test_a_server_that_misbehaves_is_a_code_soon(
    direction: Direction, behave: Callable[[Visitor], Awaitable[None]], codes: set[FailureCode]
) -> None:
    began = time.monotonic()
    async with serving(upgraded(behave)) as other:
        record = await run(other.url, direction=direction)
    assert time.monotonic() - began < 8
    assert record.failure is not None
    assert record.failure.code in codes
    assert record.passed is None
    assert record.bps is None


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (servers.upgrades_badly(subprotocol="net.measurementlab.ndt.v7"), FailureCode.PROTOCOL_ERROR),
        (servers.answers("HTTP/1.1 302 Found\r\nLocation: http://login.example\r\n\r\n"), FailureCode.REDIRECTED),
        (servers.answers("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n"), FailureCode.SERVER_BUSY),
        (servers.speaks_first, FailureCode.PROTOCOL_ERROR),
        (servers.hangs_up, FailureCode.CONNECTION_CLOSED),
    ],
)
async def test_a_server_that_does_not_take_the_check_is_a_code(behaviour: Behaviour, code: FailureCode) -> None:
    async with serving(behaviour) as other:
        record = await run(other.url)
    assert record.failure == Failure(operation=Operation.UPGRADE, code=code)
    assert record.paced_bps is None


async def test_an_upload_nobody_reports_on_goes_by_what_was_acknowledged() -> None:
    async def swallows(visitor: Visitor) -> None:
        await visitor.swallow(60)

    async with serving(upgraded(swallows)) as other:
        record = await run(other.url, direction=UP)
    assert record.passed is True
    assert record.bps is not None
    assert record.bps < 1.1 * floor.pace_bps(8e6)


async def test_a_server_that_pings_does_not_stop_an_upload() -> None:
    async def pings(visitor: Visitor) -> None:
        while not visitor.reader.at_eof():
            visitor.writer.write(frames.message(Opcode.PING, b"?"))
            await visitor.swallow(0.02)

    async with serving(upgraded(pings)) as other:
        record = await run(other.url, direction=UP)
    assert record.failure is None
    assert record.passed is True


async def test_a_downloads_whole_budget_fits_the_window_behind_a_lost_packet() -> None:
    async def waits(visitor: Visitor) -> None:
        await visitor.swallow(60)

    async with serving(upgraded(waits)) as other:
        opened = await open_test(Upgrade(parse(other.url), DOWN, subprotocol=floor.SUBPROTOCOL), Uplink())
        sock = opened.connection._sock
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        FloorDownload(opened.connection, Limits(8e6, 0.04), time.monotonic)
        after = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        low_water = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        opened.connection.close()
    assert before < floor.budget_bytes(8e6) <= after
    assert low_water == 1


async def test_waiting_for_the_servers_goodbye_is_no_lack_of_data() -> None:
    async def swallows(visitor: Visitor) -> None:
        await visitor.swallow(60)

    async with serving(upgraded(swallows)) as other:
        outcome = await FloorClient(Uplink(), time.monotonic).measure(parse(other.url), UP, 8e6, 15.0)
    assert outcome.sender is not None
    assert outcome.sender.starved_s < GOODBYE_S / 2


async def test_a_box_too_busy_to_send_is_known_to_have_sent_nothing() -> None:
    async def swallows(visitor: Visitor) -> None:
        await visitor.swallow(60)

    async with serving(upgraded(swallows)) as other:
        asyncio.get_running_loop().call_later(0.25, time.sleep, 0.2)
        outcome = await FloorClient(Uplink(), time.monotonic).measure(parse(other.url), UP, 8e6, 15.0)
    assert outcome.sender is not None
    assert 0.15 < outcome.sender.starved_s < 0.4


async def test_a_server_that_claims_twice_the_speed_is_not_believed() -> None:
    async def lies(visitor: Visitor) -> None:
        began = time.monotonic()
        while not visitor.reader.at_eof():
            received = await visitor.swallow(0.05)
            elapsed_us = round((time.monotonic() - began) * 0.5e6)
            visitor.writer.write(says(elapsed_us=elapsed_us, segments=received // 1000, received_bytes=received))

    async with serving(upgraded(lies)) as other:
        record = await run(other.url, direction=UP)
    assert record.bps is not None
    assert record.bps < 1.1 * floor.pace_bps(8e6)


@pytest.mark.parametrize(
    "text",
    [
        b'{"elapsed_us": 1, "rtt_us": 9007199254740991, "min_rtt_us": 1}',
        b'{"elapsed_us": 1, "congestion_control": "a b\\n"}',
        b'{"elapsed_us": -1}',
        b'{"elapsed_us": 1, "rtt_us": 60000000, "bytes_sent": 1, "bytes_retransmitted": 9007199254740991}',
        b"[]",
        b"\xff",
    ],
)
async def test_reports_that_make_no_sense_spoil_no_record(text: bytes) -> None:
    async def behave(visitor: Visitor) -> None:
        for _ in range(20):
            visitor.writer.write(frames.message(Opcode.TEXT, text))
        await _paced(visitor, 3.0)
        await visitor.swallow(5)

    async with serving(upgraded(behave)) as other:
        record = await run(other.url)
    assert record.passed is not None or record.failure is not None


@pytest.mark.parametrize("segments", [1, 10**15])
async def test_absurd_counts_in_an_upload_spoil_no_record(segments: int) -> None:
    async def behave(visitor: Visitor) -> None:
        count = 0
        while not visitor.reader.at_eof():
            received = await visitor.swallow(0.02)
            count += 1
            visitor.writer.write(says(elapsed_us=count, segments=segments + count, received_bytes=received))

    async with serving(upgraded(behave)) as other:
        record = await run(other.url, direction=UP)
    assert record.passed is not None or record.failure is not None


async def test_a_cancelled_check_leaves_nothing_open(server: MeasurementServer) -> None:
    task = asyncio.create_task(run(server.url))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
