"""Probes against real servers of this machine: what is timed, what is counted, and that it always ends."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Uplink
from linkbell_agent.watch.latency import Probe
from linkbell_agent.watch.sampler import (
    MUTE_AFTER,
    RECEIVE_BUFFER_BYTES,
    TIMEOUT_S,
    Sampler,
    find_target,
    with_handshake,
)
from linkbell_collector.measure.app import build
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_wire.ndt7 import tcp_info
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Visitor, serving


async def sampler(port: int, *, tls: bool = False) -> Sampler:
    return Sampler(await find_target(Endpoint("127.0.0.1", port, tls), Uplink()), Uplink(), time.monotonic)


async def sample(probing: Sampler, seconds: float, pace: Callable[[], float] = lambda: 0.05) -> None:
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, until.set)
    await probing.run(pace, until)


async def test_our_own_server_answers_probes_and_keeps_its_places_for_tests() -> None:
    server = build(MeasureSettings(host="127.0.0.1", port=0, max_tests=1))
    await server.start()
    probing = await sampler(server.port)
    await sample(probing, 0.48)
    await server.stop(drain_s=0.0)
    assert 2 <= len(probing.probes) <= 11
    for one in probing.probes:
        assert one.tcp_s is not None
        assert one.http_s is not None
        assert 0 < one.tcp_s < TIMEOUT_S
        assert 0 < one.http_s < TIMEOUT_S
        assert one.sent_bytes == len(probing.target.request)
    assert probing.each_way_bytes is not None
    assert 250 < probing.each_way_bytes < 500


async def test_a_server_with_tls_is_probed_by_handshakes_alone() -> None:
    async with serving(servers.says_nothing) as server:
        probing = await sampler(server.port, tls=True)
        await sample(probing, 0.2)
        assert server.requests == []
    assert probing.probes
    assert all(one.tcp_s is not None and one.http_s is None for one in probing.probes)
    assert probing.cost_bytes / len(probing.probes) < 300


async def silent(visitor: Visitor) -> None:
    await visitor.reader.read(1 << 16)
    await asyncio.sleep(60)


async def endless(visitor: Visitor) -> None:
    while True:
        visitor.writer.write(b"HTTP/1.1 200 OK\r\n" * 1000)
        await visitor.writer.drain()


async def garbage(visitor: Visitor) -> None:
    visitor.writer.write(b"220 mail.example ESMTP\r\n")
    await visitor.writer.drain()
    await asyncio.sleep(60)


@pytest.mark.parametrize("behaviour", [endless, garbage, servers.hangs_up, servers.resets_at_once])
async def test_whatever_a_server_sends_probes_end_soon(behaviour: servers.Behaviour) -> None:
    async with serving(behaviour) as server:
        probing = await sampler(server.port)
        began_s = time.monotonic()
        await sample(probing, 0.2)
    assert time.monotonic() - began_s < TIMEOUT_S
    assert probing.probes
    assert all(one.tcp_s is not None for one in probing.probes)


async def test_a_server_that_never_answers_is_asked_no_more_after_a_while() -> None:
    async with serving(silent) as server:
        probing = await sampler(server.port)
        began_s = time.monotonic()
        await sample(probing, 0.2)
        assert TIMEOUT_S <= time.monotonic() - began_s < 2 * TIMEOUT_S
        assert len(probing.probes) >= MUTE_AFTER
        began_s = time.monotonic()
        await sample(probing, 0.2)
        assert time.monotonic() - began_s < TIMEOUT_S - 1
    assert all(one.tcp_s is not None and one.http_s is None for one in probing.probes)


@pytest.mark.parametrize("body_bytes", [600, 1_000_000])
async def test_a_server_that_answers_at_length_is_asked_once_and_can_send_little(body_bytes: int) -> None:
    asked = 0

    async def at_length(visitor: Visitor) -> None:
        nonlocal asked
        await visitor.reader.readuntil(b"\r\n\r\n")
        asked += 1
        visitor.writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n" + bytes(body_bytes))
        await visitor.writer.drain()
        await asyncio.sleep(60)

    async with serving(at_length) as server:
        probing = await sampler(server.port)
        while not probing.probes:
            await sample(probing, 0.01, lambda: 60)
        asked_at_first = asked
        await sample(probing, 0.3)
    assert (asked_at_first, asked) == (1, 1)
    first, *others = probing.probes
    assert 600 < first.received_bytes < 3 * RECEIVE_BUFFER_BYTES
    assert first.http_s is not None
    assert others
    assert all(one.tcp_s is not None and one.http_s is None for one in others)
    assert probing.cost_bytes > first.received_bytes


async def test_where_nobody_listens_nothing_is_lost_and_nobody_waits() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        probing = await sampler(unused.getsockname()[1])
        async with asyncio.timeout(2):
            await sample(probing, 60)
    assert probing.probes == []
    assert probing.refused.is_set()


async def test_an_uplink_that_is_not_there_is_no_reason_to_fail() -> None:
    target = await find_target(Endpoint("127.0.0.1", 1), Uplink())
    probing = Sampler(target, Uplink(source="203.0.113.1"), time.monotonic)
    async with asyncio.timeout(2):
        await sample(probing, 60)
    assert probing.refused.is_set()


async def test_cancelling_ends_all_probes_at_once() -> None:
    async with serving(silent) as server:
        probing = await sampler(server.port)
        task = asyncio.create_task(sample(probing, 60))
        await asyncio.sleep(0.2)
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began_s < TIMEOUT_S - 1


@pytest.mark.parametrize(
    ("repeated", "rtt_s", "elapsed_s", "expected"),
    [
        (0, 0.020, 0.100, Probe(5.0, 0.020)),  # the program was busy: the kernel was not
        (0, 0.0, 0.100, Probe(5.0, 0.100)),
        (1, 0.020, 1.025, Probe(5.0)),  # the second packet was answered
        (1, 1.400, 1.401, Probe(5.0, 1.400, doubtful=True)),  # the first was, late or again
        (1, 0.0, 1.025, Probe(5.0)),  # without time stamps nobody can tell
        (2, 0.500, 2.501, Probe(5.0)),
    ],
)
def test_a_lost_first_packet_is_told_from_a_late_answer(
    repeated: int, rtt_s: float, elapsed_s: float, expected: Probe
) -> None:
    raw = bytearray(232)
    raw[68:72] = round(rtt_s * 1e6).to_bytes(4, "little")
    raw[100:104] = repeated.to_bytes(4, "little")
    assert with_handshake(Probe(5.0), tcp_info.parse(bytes(raw)), elapsed_s) == expected
