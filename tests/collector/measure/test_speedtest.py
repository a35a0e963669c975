"""What speedtest-cli asks for, as the program itself asks it, and as clients do that mean no good."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from linkbell_collector.measure.app import MeasurementServer
from linkbell_collector.measure.places import PlaceLimits
from linkbell_collector.measure.speedtest import IMAGE_BYTES, MAX_UPLOAD_BYTES
from tests.collector.measure.conftest import Start, metrics
from tests.collector.measure.peer import DOWNLOAD_PATH, Peer, handshake, open_peer

QUICK_PLACES = PlaceLimits(request_s=1.0, idle_s=0.3, test_s=2.0, requests=3)
IN_PROGRESS = "linkbell_measure_speedtest_tests_in_progress"

STOCK = """
import json, sys, speedtest
class Offline(speedtest.Speedtest):
    def get_config(self):
        self.lat_lon = (0.0, 0.0)
        self.config.update(client={}, ignore_servers=[], counts={"upload": 4, "download": 1}, upload_max=8,
            sizes={"upload": [32768, 524288], "download": [350, 1000, 4000]}, threads={"upload": 2, "download": 8},
            length={"upload": 10, "download": 10})
test = Offline()
test.get_best_server(test.set_mini_server(sys.argv[1]))
test.download()
test.upload(pre_allocate=False)
print(test.results.json())
"""


@dataclass
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]


def head(method: str, path: str, **headers: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def ask(server: MeasurementServer, method: str, path: str, *, body: bytes = b"", **headers: str) -> Reply:
    async with open_peer(server.port) as peer:
        given = {"Content-Length": str(len(body))} | headers if method == "POST" else headers
        peer.writer.write(head(method, path, **given) + body)
        answer = await peer.ask(b"")
        return Reply(answer.status, await peer.body(answer), answer.headers)


@contextlib.asynccontextmanager
async def downloading(server: MeasurementServer, size: int = 4000, **headers: str) -> AsyncIterator[Peer]:
    """A client that has asked for a picture and reads no more than the head of the answer."""
    async with open_peer(server.port) as peer:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.writer.write(head("GET", f"/speedtest/random{size}x{size}.jpg", **headers))
        await asyncio.sleep(0.1)
        yield peer


async def free(server: MeasurementServer) -> None:
    async with asyncio.timeout(20):
        while (await metrics(server))[IN_PROGRESS]:  # noqa: ASYNC110 - another process' view: asked
            await asyncio.sleep(0.02)


async def test_speedtest_cli_itself_finds_all_it_wants(start: Start) -> None:
    server = await start()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore", "-c", STOCK, server.url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = await metrics(server)
    pictures = sum(IMAGE_BYTES[size] for size in (350, 1000, 4000))
    assert seen['linkbell_measure_speedtest_payload_bytes_total{direction="download"}'] == pictures
    assert seen['linkbell_measure_speedtest_payload_bytes_total{direction="upload"}'] == 4 * (32768 + 524288)
    assert f'"bytes_received": {pictures}' in done.stdout


async def test_the_answers_are_those_of_a_speedtest_server(start: Start) -> None:
    server = await start()
    assert (await ask(server, "GET", "/speedtest/latency.txt?x=1.0")).body == b"test=test"
    assert (await ask(server, "GET", "/speedtest/upload.php")).body == b"size=0"
    assert (await ask(server, "POST", "/speedtest/upload.php?x=1", body=b"content1=abc")).body == b"size=12"
    picture = await ask(server, "GET", "/speedtest/random350x350.jpg?x=1.0")
    assert len(picture.body) == IMAGE_BYTES[350]
    assert len(set(picture.body[:1000])) > 200  # nothing that could be packed


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/speedtest/random351x351.jpg", 404),
        ("GET", "/speedtest/random350x4000.jpg", 404),
        ("GET", "/speedtest/random99999x99999.jpg", 404),
        ("GET", "/speedtest/../metrics/no", 404),
        ("PUT", "/speedtest/upload.php", 405),
        ("POST", "/speedtest/latency.txt", 405),
    ],
)
async def test_what_is_not_there_is_refused_without_a_place(start: Start, method: str, path: str, status: int) -> None:
    server = await start()
    assert (await ask(server, method, path)).status == status
    assert (await metrics(server))[IN_PROGRESS] == 0


async def test_an_upload_that_says_or_turns_out_to_be_too_large_is_refused(start: Start) -> None:
    server = await start()
    async with open_peer(server.port) as peer:
        answer = await peer.ask(head("POST", "/speedtest/upload.php", Content_Length=str(MAX_UPLOAD_BYTES + 1)))
        assert answer.status == 413
    async with open_peer(server.port) as peer:
        peer.writer.write(head("POST", "/speedtest/upload.php", Transfer_Encoding="chunked"))
        chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                peer.writer.write(chunk)
                await peer.writer.drain()
        assert (await peer.ask(b"")).status == 413
    seen = await metrics(server)
    assert seen['linkbell_measure_speedtest_payload_bytes_total{direction="upload"}'] < MAX_UPLOAD_BYTES + (2 << 20)


# --- places


async def test_a_place_lasts_from_the_first_request_until_none_came_for_a_moment(start: Start) -> None:
    server = await start(max_tests=1, places=QUICK_PLACES)
    for _ in range(4):
        assert (await ask(server, "GET", "/speedtest/latency.txt", X_Linkbell_Test="mine")).status == 200
        refused = await ask(server, "GET", "/speedtest/latency.txt", X_Linkbell_Test="theirs")
        assert refused.status == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        await asyncio.sleep(0.1)
    async with open_peer(server.port) as peer:
        assert (await peer.ask(handshake(DOWNLOAD_PATH))).status == 503  # ndt7 shares the places
    await free(server)
    assert (await ask(server, "GET", "/speedtest/latency.txt", X_Linkbell_Test="theirs")).status == 200
    seen = await metrics(server)
    assert seen['linkbell_measure_speedtest_tests_total{outcome="completed"}'] == 1
    assert seen['linkbell_measure_tests_refused_total{reason="busy"}'] == 5


async def test_clients_that_name_no_test_share_the_place_of_their_address(start: Start) -> None:
    server = await start(max_tests=1, places=QUICK_PLACES)
    for _ in range(3):
        assert (await ask(server, "GET", "/speedtest/upload.php")).status == 200
    assert (await metrics(server))[IN_PROGRESS] == 1


async def test_a_test_may_have_only_so_many_requests_open(start: Start) -> None:
    server = await start(places=QUICK_PLACES)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(QUICK_PLACES.requests):
            await stack.enter_async_context(downloading(server))
        assert (await ask(server, "GET", "/speedtest/latency.txt")).status == 503


async def test_an_ndt7_test_keeps_speedtest_cli_out(start: Start) -> None:
    server = await start(max_tests=1)
    async with open_peer(server.port) as peer:
        assert (await peer.ask(handshake(DOWNLOAD_PATH))).status == 101
        assert (await ask(server, "GET", "/speedtest/upload.php")).status == 503


# --- clients that mean no good, or leave


async def test_a_client_that_leaves_costs_nothing_more(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = await start(places=QUICK_PLACES)
    async with downloading(server):
        assert (await metrics(server))[IN_PROGRESS] == 1
    await free(server)
    async with open_peer(server.port) as peer:
        peer.writer.write(head("POST", "/speedtest/upload.php", Content_Length="1000000") + bytes(5000))
        await asyncio.sleep(0.1)
    await free(server)
    sent = (await metrics(server))['linkbell_measure_speedtest_payload_bytes_total{direction="download"}']
    await asyncio.sleep(0.2)
    seen = await metrics(server)
    assert seen['linkbell_measure_speedtest_payload_bytes_total{direction="download"}'] == sent < IMAGE_BYTES[4000]
    assert not caplog.records


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_is_too_slow_is_cut_off(start: Start, method: str) -> None:
    server = await start(places=QUICK_PLACES)
    began = time.monotonic()
    async with open_peer(server.port) as peer:
        if method == "GET":
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            peer.writer.write(head("GET", "/speedtest/random4000x4000.jpg"))
        else:
            peer.writer.write(head("POST", "/speedtest/upload.php", Content_Length="1000000"))
        await asyncio.sleep(0.1)
        await free(server)
    assert QUICK_PLACES.request_s <= time.monotonic() - began < 2.5


async def test_a_test_that_never_ends_loses_its_place_and_its_connections(start: Start) -> None:
    server = await start(max_tests=1, places=PlaceLimits(request_s=30, idle_s=0.3, test_s=0.6))
    async with downloading(server) as peer:
        await free(server)  # before the 30 s that the request may take
        assert (await metrics(server))['linkbell_measure_speedtest_tests_total{outcome="hard_stop"}'] == 1
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        got = b""
        with contextlib.suppress(ConnectionError):
            while data := await peer.reader.read(1 << 18):
                got += data[:1]
    assert (await ask(server, "GET", "/speedtest/latency.txt", X_Linkbell_Test="next")).status == 200


async def test_a_stop_ends_what_is_under_way(start: Start) -> None:
    server = await start()
    async with downloading(server):
        began = time.monotonic()
        await server.stop(drain_s=0.3)
        assert 0.3 <= time.monotonic() - began < 2.0
