"""The measurement server over real sockets: what a good client gets, and how a bad one ends."""

import asyncio
import json
import os
import socket
import struct
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linkbell_collector.measure.app import CannotStartError, build
from linkbell_collector.measure.settings import MeasureSettings, Timings
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Opcode
from tests.collector.measure.conftest import QUICK, SETTINGS, Start, metrics
from tests.collector.measure.peer import DOWNLOAD_PATH, UPLOAD_PATH, Peer, handshake, open_peer

LONG = Timings(test_s=30.0, hard_stop_s=40.0, interval_s=0.05, linger_s=0.2)
"""For tests in which only the thing tested may end the test."""


def count(direction: str, outcome: str) -> str:
    return f'linkbell_measure_tests_total{{direction="{direction}",outcome="{outcome}"}}'


async def ended(server: Any, direction: str, outcome: str) -> None:
    """Wait until one test has ended so. The count follows the closed connection by a turn of the loop or two."""
    async with asyncio.timeout(5):
        while (await metrics(server))[count(direction, outcome)] != 1:  # noqa: ASYNC110 - another process' view: asked
            await asyncio.sleep(0.01)
    seen = await metrics(server)
    assert seen[f'linkbell_measure_tests_in_progress{{direction="{direction}"}}'] == 0


async def send_for_ever(peer: Peer) -> None:
    block = frames.header(Opcode.BINARY, 1 << 16, b"abcd") + bytes(1 << 16)
    async with asyncio.timeout(10):
        while True:
            peer.writer.write(block)
            await peer.writer.drain()


async def test_a_download_brings_growing_messages_measurements_and_a_clean_close(start: Start) -> None:
    server = await start()
    reports: list[dict[str, Any]] = []
    pings = 0
    async with open_peer(server.port) as peer:
        answer = await peer.ask(handshake(DOWNLOAD_PATH))
        assert answer.status == 101
        assert answer.headers["sec-websocket-protocol"] == "net.measurementlab.ndt.v7"
        began = asyncio.get_running_loop().time()
        async for frame in peer.messages():
            if frame.opcode is Opcode.TEXT:
                reports.append(json.loads(frame.payload))
            elif frame.opcode is Opcode.PING:
                pings += 1
            elif frame.opcode is Opcode.CLOSE:
                assert frames.close_code(frame.payload) == 1000
                peer.send(Opcode.CLOSE, frame.payload)
        took = asyncio.get_running_loop().time() - began
    assert 0.5 < took < 1.1
    assert len(reports) >= 4
    assert pings == len(reports) - 1
    last = reports[-1]
    assert last["Origin"] == "server"
    assert last["Test"] == "download"
    assert last["ConnectionInfo"]["Client"].startswith("127.0.0.1:")
    assert last["ConnectionInfo"]["Server"] == f"127.0.0.1:{server.port}"
    assert {report["ConnectionInfo"]["UUID"] for report in reports} == {last["ConnectionInfo"]["UUID"]}
    assert set(last["TCPInfo"]) == {
        *("ElapsedTime", "BusyTime", "BytesAcked", "BytesReceived", "BytesSent", "BytesRetrans"),
        *("MinRTT", "RTT", "RTTVar", "RWndLimited", "SndBufLimited"),
    }
    assert 0.5e6 < last["TCPInfo"]["ElapsedTime"] < 1e6
    assert last["TCPInfo"]["BytesAcked"] <= peer.frames.payload_bytes * 1.01 + 1000
    assert peer.frames.payload_bytes > 1 << 20
    await ended(server, "download", "completed")


async def test_the_server_counts_every_byte_of_an_upload(start: Start) -> None:
    server = await start()
    sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 7]
    reports: list[dict[str, Any]] = []
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(UPLOAD_PATH))
        for size in sizes:
            peer.send(Opcode.BINARY, os.urandom(size))
        peer.send(Opcode.TEXT, b'{"AppInfo":{"ElapsedTime":1,"NumBytes":2}}')
        peer.send(Opcode.CLOSE, frames.close_payload(1000))
        async for frame in peer.messages():
            if frame.opcode is Opcode.TEXT:
                reports.append(json.loads(frame.payload))
            elif frame.opcode is Opcode.CLOSE:
                assert frames.close_code(frame.payload) == 1000
    assert sum(sizes) < reports[-1]["TCPInfo"]["BytesReceived"] < sum(sizes) + 1000
    await ended(server, "upload", "client_closed")
    seen = await metrics(server)
    assert seen['linkbell_measure_payload_bytes_total{direction="upload"}'] == sum(sizes)


async def test_a_message_of_16_mb_is_accepted(start: Start) -> None:
    server = await start(timings=LONG)
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(UPLOAD_PATH))
        peer.send(Opcode.BINARY, bytes(1 << 24))
        peer.send(Opcode.CLOSE, frames.close_payload(1000))
        assert await peer.until_closed() == 1000
    await ended(server, "upload", "client_closed")


async def test_an_early_exit_ends_the_download_at_250_megabytes(start: Start) -> None:
    server = await start(timings=LONG)
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(f"{DOWNLOAD_PATH}?early_exit=250"))
        async for frame in peer.messages():
            if frame.opcode is Opcode.CLOSE:
                peer.send(Opcode.CLOSE, frame.payload)
    assert 250_000_000 <= peer.frames.payload_bytes < 350_000_000
    await ended(server, "download", "early_exit")


async def test_a_ping_is_answered_with_its_own_payload(start: Start) -> None:
    server = await start(timings=LONG)
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(UPLOAD_PATH))
        peer.send(Opcode.PING, b"hello")
        async for frame in peer.messages():
            if frame.opcode is Opcode.PONG:
                assert frame.payload == b"hello"
                break


@pytest.mark.parametrize(
    ("path", "stream", "close_code"),
    [
        pytest.param(UPLOAD_PATH, frames.message(Opcode.BINARY, b"x"), 1002, id="unmasked"),
        pytest.param(UPLOAD_PATH, b"\xc2\x81abcdx", 1002, id="compressed"),
        pytest.param(UPLOAD_PATH, b"GET / HTTP/1.1\r\n\r\n" * 100, 1002, id="garbage"),
        pytest.param(
            UPLOAD_PATH, frames.header(Opcode.BINARY, (1 << 24) + 1, b"abcd") + b"x", 1009, id="oversized message"
        ),
        pytest.param(UPLOAD_PATH, frames.header(Opcode.TEXT, 1 << 17, b"abcd") + b"x", 1009, id="oversized text"),
        pytest.param(
            UPLOAD_PATH, frames.message(Opcode.TEXT, b"{}", b"abcd") * 100, 1008, id="a hundred texts at once"
        ),
        pytest.param(
            UPLOAD_PATH, frames.message(Opcode.PING, b"", b"abcd") * 1000, 1008, id="a thousand pings at once"
        ),
        pytest.param(
            UPLOAD_PATH, frames.message(Opcode.BINARY, b"", b"abcd") * 10_000, 1008, id="ten thousand empty messages"
        ),
        pytest.param(DOWNLOAD_PATH, frames.message(Opcode.BINARY, b"x", b"abcd"), 1003, id="binary in a download"),
    ],
)
async def test_a_client_that_breaks_the_rules_is_told_why_and_cut_off(
    start: Start, path: str, stream: bytes, close_code: int
) -> None:
    server = await start(timings=LONG)
    async with open_peer(server.port) as peer, asyncio.timeout(5):
        await peer.ask(handshake(path))
        peer.writer.write(stream)
        assert await peer.until_closed() == close_code
    await ended(server, path.rsplit("/", 1)[1], "protocol_error")


@pytest.mark.parametrize("path", [DOWNLOAD_PATH, UPLOAD_PATH])
async def test_a_client_that_never_reads_or_closes_is_cut_at_the_hard_stop(start: Start, path: str) -> None:
    server = await start()
    began = asyncio.get_running_loop().time()
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(path))
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await ended(server, path.rsplit("/", 1)[1], "hard_stop")
    assert asyncio.get_running_loop().time() - began < QUICK.hard_stop_s + 1


@pytest.mark.parametrize("beginning", [b"", b"GET /ndt/v7/download HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_asks_for_nothing_is_closed(start: Start, beginning: bytes) -> None:
    server = await start(timings=replace(QUICK, idle_s=0.2))
    async with open_peer(server.port) as peer, asyncio.timeout(5):
        peer.writer.write(beginning)
        assert await peer.reader.read() == b""


async def test_a_client_that_sends_for_ever_is_cut_at_the_hard_stop(start: Start) -> None:
    server = await start()
    began = asyncio.get_running_loop().time()
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(UPLOAD_PATH))
        with pytest.raises(ConnectionError):
            await send_for_ever(peer)
    assert QUICK.test_s < asyncio.get_running_loop().time() - began < QUICK.hard_stop_s + 1
    await ended(server, "upload", "hard_stop")


@pytest.mark.parametrize("path", [DOWNLOAD_PATH, UPLOAD_PATH])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_vanishes_frees_its_place(start: Start, path: str, reset: bool) -> None:
    server = await start(max_tests=1, timings=LONG)
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(path))
        if reset:
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await ended(server, path.rsplit("/", 1)[1], "connection_lost")
    async with open_peer(server.port) as peer:
        assert (await peer.ask(handshake(path))).status == 101


async def test_the_test_too_many_is_refused_before_the_upgrade_with_a_time_to_come_back(start: Start) -> None:
    server = await start(max_tests=2, timings=LONG)
    async with open_peer(server.port) as one, open_peer(server.port) as two, open_peer(server.port) as three:
        assert (await one.ask(handshake(UPLOAD_PATH))).status == 101
        assert (await two.ask(handshake(UPLOAD_PATH))).status == 101
        answer = await three.ask(handshake(DOWNLOAD_PATH))
        assert answer.status == 503
        assert 30 <= int(answer.headers["retry-after"]) <= 40
        body = json.loads(await three.body(answer))
        assert body["code"] == "busy"
        assert "2 places" in body["message"]
        assert body["action"]
        seen = await metrics(server)
        assert seen['linkbell_measure_tests_refused_total{reason="busy"}'] == 1
        assert seen['linkbell_measure_tests_in_progress{direction="upload"}'] == 2
        # A request that is no test takes no place, and the same connection may ask again.
        one.send(Opcode.CLOSE, frames.close_payload(1000))
        await one.until_closed()
        assert (await three.ask(handshake(DOWNLOAD_PATH))).status == 101


async def test_one_address_cannot_take_all_places_whatever_it_calls_its_tests(start: Start) -> None:
    server = await start(max_tests=6, max_tests_per_address=2, timings=LONG)
    async with AsyncExitStack() as stack:
        for name in "ab":
            for _ in range(3):  # streams of one test are one test
                peer = await stack.enter_async_context(open_peer(server.port))
                path = f"{UPLOAD_PATH}?linkbell_test={name * 16}"
                assert (await peer.ask(handshake(path))).status == 101
        late = await stack.enter_async_context(open_peer(server.port))
        answer = await late.ask(handshake(f"{UPLOAD_PATH}?linkbell_test={'c' * 16}"))
        assert answer.status == 503
        assert 30 <= int(answer.headers["retry-after"]) <= 40
        body = json.loads(await late.body(answer))
        assert body["code"] == "busy"
        assert "your address" in body["message"]
        answer = await late.ask(b"GET /speedtest/latency.txt HTTP/1.1\r\nHost: x\r\nX-Linkbell-Test: d\r\n\r\n")
        assert answer.status == 503  # by whatever way
        seen = await metrics(server)
    assert seen['linkbell_measure_tests_refused_total{reason="address_busy"}'] == 2
    assert seen['linkbell_measure_tests_refused_total{reason="busy"}'] == 0
    assert seen["linkbell_measure_max_tests_per_address"] == 2


@pytest.mark.parametrize(
    ("max_tests", "per_address", "tests", "connections", "share"),
    [
        pytest.param(10, None, 5, 250, 0.5, id="by default half"),
        pytest.param(5, None, 3, 150, 0.6, id="rounded up"),
        pytest.param(2, None, 2, 100, 1.0, id="but two at least"),
        pytest.param(10, 1, 1, 50, 0.1, id="as told"),
        pytest.param(10, 30, 30, 1500, 1.0, id="more than there are"),
        pytest.param(10, 0, 0, 0, 1.0, id="no limit"),
    ],
)
def test_what_one_address_may_have(
    max_tests: int, per_address: int | None, tests: int, connections: int, share: float
) -> None:
    settings = MeasureSettings(max_tests=max_tests, max_tests_per_address=per_address)
    assert settings.tests_per_address == tests
    assert settings.connections_per_address == connections
    assert settings.check_share == pytest.approx(share)


async def test_connections_that_ask_for_nothing_keep_out_only_more_of_their_own(start: Start) -> None:
    server = await start(max_tests_per_address=1, timings=replace(LONG, idle_s=0.5))
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        silent = [
            await stack.enter_async_context(open_peer(server.port))
            for _ in range(SETTINGS.connections_per_address // SETTINGS.tests_per_address)
        ]
        async with open_peer(server.port) as late:
            assert (await late.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 ")
            assert b'"code":"busy"' in await late.reader.read()
        for peer in silent:
            assert await peer.reader.read() == b""
        async with open_peer(server.port) as peer:
            assert (await peer.ask(handshake(DOWNLOAD_PATH))).status == 101
            assert (await metrics(server))["linkbell_measure_connections_refused_total"] == 1


async def test_a_test_s_connection_is_forgotten_when_it_is_over(start: Start) -> None:
    server = await start(max_tests_per_address=1)
    for _ in range(60):
        async with open_peer(server.port) as peer:
            assert (await peer.ask(handshake(UPLOAD_PATH))).status == 101
            peer.send(Opcode.CLOSE, frames.close_payload(1000))
            await peer.until_closed()
    assert (await metrics(server))["linkbell_measure_connections_refused_total"] == 0


async def test_a_request_that_is_no_handshake_gets_a_helpful_answer(start: Start) -> None:
    server = await start()
    async with open_peer(server.port) as peer:
        answer = await peer.ask(handshake(DOWNLOAD_PATH, Sec_WebSocket_Protocol=None))
        body = json.loads(await peer.body(answer))
    assert answer.status == 400
    assert "net.measurementlab.ndt.v7" in body["message"]
    assert "linkbell-agent speed" in body["action"]


@pytest.mark.parametrize(
    ("request_line", "status"), [("GET /nowhere", 404), ("POST /ndt/v7/download", 405), ("HEAD /ndt/v7/upload", 405)]
)
async def test_other_requests_are_refused_in_the_same_form(start: Start, request_line: str, status: int) -> None:
    server = await start()
    async with open_peer(server.port) as peer:
        answer = await peer.ask(f"{request_line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")


async def test_the_page_says_what_this_is_and_health_is_ok(start: Start) -> None:
    server = await start()
    async with open_peer(server.port) as peer:
        answer = await peer.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        page = (await peer.body(answer)).decode()
        assert "ndt7" in page
        assert "4 of 4 places" in page
        answer = await peer.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (answer.status, await peer.body(answer)) == (200, b"ok\n")


async def test_a_stop_lets_tests_finish_within_its_limit(start: Start) -> None:
    server = await start(drain_s=5.0)
    async with open_peer(server.port) as peer:
        await peer.ask(handshake(UPLOAD_PATH))
        stopping = asyncio.create_task(server.stop())
        async for frame in peer.messages():
            if frame.opcode is Opcode.CLOSE:
                assert frames.close_code(frame.payload) == 1000
                peer.send(Opcode.CLOSE, frame.payload)
        await stopping
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


@pytest.mark.parametrize("path", [DOWNLOAD_PATH, UPLOAD_PATH])
async def test_a_stop_closes_what_did_not_finish_as_going_away(start: Start, path: str) -> None:
    server = await start(timings=LONG, drain_s=0.1)
    async with open_peer(server.port) as peer, asyncio.timeout(5):
        await peer.ask(handshake(path))
        stopping = asyncio.create_task(server.stop())
        assert await peer.until_closed() == 1001
        await stopping


async def test_two_servers_on_one_port_is_an_error_in_one_sentence(start: Start) -> None:
    first = await start()
    second = build(MeasureSettings(host="127.0.0.1", port=first.port))
    with pytest.raises(CannotStartError, match=f"Port {first.port} is in use") as caught:
        await second.start()
    assert isinstance(caught.value.__cause__, OSError)


async def test_an_address_of_another_machine_is_an_error_in_one_sentence() -> None:
    with pytest.raises(CannotStartError, match="an address of this machine"):
        await build(MeasureSettings(host="192.0.2.1", port=0)).start()


async def test_a_certificate_that_is_none_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    nonsense = tmp_path / "certificate.pem"
    nonsense.write_text("hello")
    for path in (nonsense, tmp_path / "missing.pem"):
        with pytest.raises(CannotStartError, match="cannot be used"):
            await build(MeasureSettings(host="127.0.0.1", port=0, certificate=path)).start()


async def test_a_server_on_ipv6_says_so_in_its_url() -> None:
    server = build(MeasureSettings(host="::1", port=0, timings=SETTINGS.timings))
    await server.start()
    assert server.url == f"http://[::1]:{server.port}"
    await server.stop()


async def test_streams_of_an_upload_share_a_place_and_the_first_reports_for_all(start: Start) -> None:
    server = await start(max_tests=1, timings=LONG)
    path = f"{UPLOAD_PATH}?linkbell_test=0123456789abcdef"
    block = frames.header(Opcode.BINARY, 1 << 16, b"abcd") + bytes(1 << 16)
    async with open_peer(server.port) as first, open_peer(server.port) as second, open_peer(server.port) as stranger:
        assert (await first.ask(handshake(path))).headers["linkbell-streams"] == "8"
        assert (await second.ask(handshake(path))).status == 101
        assert (await stranger.ask(handshake(UPLOAD_PATH))).status == 503
        second.writer.write(block * 4)
        report: dict[str, Any] = {}
        async with asyncio.timeout(5):
            async for frame in first.messages():
                report = json.loads(frame.payload) if frame.opcode is Opcode.TEXT else report
                if report.get("LinkbellGroup", {}).get("BytesReceived", 0) > 4 << 16:
                    break
        assert report["LinkbellGroup"]["Streams"] == 2
        assert report["TCPInfo"]["BytesReceived"] < 4 << 16
        first.send(Opcode.CLOSE, frames.close_payload(1000))
        second.send(Opcode.CLOSE, frames.close_payload(1000))
        kinds = [frame.opcode async for frame in second.messages()]
        assert kinds == [Opcode.CLOSE]
    await ended(server, "upload", "client_closed")
    async with open_peer(server.port) as next_one:
        assert (await next_one.ask(handshake(UPLOAD_PATH))).status == 101
