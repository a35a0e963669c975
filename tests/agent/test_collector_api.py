"""HTTP to the collector, against real sockets that behave and that do not."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpCollectorApi
from linkbell_wire.failures import FailureCode
from tests.agent.fakes import unzip

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve on a free port; a connection is closed when its handler returns."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")), 0
    )
    return head, await reader.readexactly(length)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_a_request_carries_path_headers_and_a_compressed_body_on_one_kept_connection() -> None:
    seen: list[tuple[str, bytes]] = []
    connections = 0

    async def collector(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append(await read_request(reader))
            writer.write(answer("200 OK", b'{"fine": true}', 'ETag: "7"'))

    async with serving(collector) as url:
        api = HttpCollectorApi(f"{url}/base/")
        body = json.dumps({"records": ["x" * 50] * 20}).encode()
        first = await api.request("POST", "/api/v1/records", {"Authorization": "Bearer lbc_x"}, body)
        await api.request("GET", "/api/v1/agent/config", {})
        api.close()
    assert (first.status, first.headers["etag"], json.loads(first.body)) == (200, '"7"', {"fine": True})
    head, sent = seen[0]
    assert head.startswith("POST /base/api/v1/records HTTP/1.1")
    assert "Authorization: Bearer lbc_x" in head
    assert "User-Agent: linkbell-agent/" in head
    assert "Content-Encoding: gzip" in head
    assert len(sent) < 200
    assert unzip(sent) == json.loads(body)
    assert connections == 1


async def test_a_connection_the_collector_closed_meanwhile_is_opened_anew() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer("200 OK"))

    async with serving(once) as url:
        api = HttpCollectorApi(url)
        assert [(await api.request("GET", "/", {})).status for _ in range(3)] == [200, 200, 200]
        api.close()


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", answer("200 OK", b"ok", "Connection: close")],
    ids=["HTTP/1.0", "close"],
)
async def test_a_peer_that_answers_once_is_not_asked_again_on_that_connection(reply: bytes) -> None:
    async def once_and_then_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await reader.read()  # never to answer again, and never the first to leave

    async with serving(once_and_then_deaf) as url:
        api = HttpCollectorApi(url, timeout_s=5.0)
        assert [(await api.request("GET", "/", {})).body for _ in range(2)] == [b"ok", b"ok"]
        api.close()


async def _says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)


async def _speaks_something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def _breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")


async def _floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(answer("200 OK", b"x" * 3_000_000))
    await writer.drain()


def says(reply: bytes) -> Handler:
    """Answer every request with ``reply``, and hang up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)

    return handler


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n", b"abc0123456789"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
async def test_a_body_is_read_however_its_end_is_told(reply: bytes, body: bytes) -> None:
    async with serving(says(reply)) as url:
        api = HttpCollectorApi(url, timeout_s=5.0)
        assert [(await api.request("GET", "/", {})).body for _ in range(2)] == [body, body]
        api.close()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", FailureCode.PROTOCOL_ERROR),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", FailureCode.PROTOCOL_ERROR),
        (CHUNKED + b"fffffff\r\n", FailureCode.MESSAGE_TOO_LARGE),
        (CHUNKED + b"3\r\nab", FailureCode.CONNECTION_CLOSED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", FailureCode.PROTOCOL_ERROR),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", FailureCode.PROTOCOL_ERROR),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", FailureCode.PROTOCOL_ERROR),
    ],
)
async def test_a_reply_that_is_not_as_http_has_it_is_a_coded_failure(reply: bytes, code: FailureCode) -> None:
    async with serving(says(reply)) as url:
        api = HttpCollectorApi(url, timeout_s=5.0)
        with pytest.raises(NetworkFailure) as caught:
            await api.request("GET", "/", {})
        assert caught.value.failure.code is code
        api.close()


async def test_a_line_end_in_a_value_begins_no_line_of_the_request() -> None:
    seen: list[tuple[str, bytes]] = []

    async def collector(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(answer("304 Not Modified"))

    async with serving(collector) as url:
        api = HttpCollectorApi(url)
        assert (await api.request("GET", "/", {"If-None-Match": '"a\r\nX-Evil: 1"'})).status == 304
        api.close()
    assert 'If-None-Match: "a X-Evil: 1"' in seen[0][0].split("\r\n")


async def test_a_name_that_is_no_name_is_a_coded_failure() -> None:
    with pytest.raises(NetworkFailure) as caught:
        await HttpCollectorApi(f"http://{'x' * 70}.example:9").request("GET", "/", {})
    assert caught.value.failure.code is FailureCode.DNS_NOT_FOUND


@pytest.mark.parametrize(
    ("peer", "code"),
    [
        (_says_nothing, FailureCode.TIMEOUT),
        (_hangs_up, FailureCode.CONNECTION_CLOSED),
        (_speaks_something_else, FailureCode.PROTOCOL_ERROR),
        (_breaks_off, FailureCode.CONNECTION_CLOSED),
        (_floods, FailureCode.MESSAGE_TOO_LARGE),
    ],
)
async def test_a_peer_that_misbehaves_is_a_coded_failure_within_the_time_limit(
    peer: Handler, code: FailureCode
) -> None:
    async with serving(peer) as url:
        api = HttpCollectorApi(url, timeout_s=1.0)
        began = time.monotonic()
        with pytest.raises(NetworkFailure) as caught:
            await api.request("POST", "/api/v1/records", {}, b"{}")
        assert caught.value.failure.code is code
        assert time.monotonic() - began < 5
        api.close()


async def test_nobody_there_is_connection_refused(unused_tcp_port: int) -> None:
    with pytest.raises(NetworkFailure) as caught:
        await HttpCollectorApi(f"http://127.0.0.1:{unused_tcp_port}").request("GET", "/", {})
    assert caught.value.failure.code is FailureCode.CONNECTION_REFUSED


async def test_cancelling_ends_at_once_and_the_next_request_works() -> None:
    slow = True

    async def collector(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        if slow:
            await reader.read()
        writer.write(answer("200 OK"))

    async with serving(collector) as url:
        api = HttpCollectorApi(url)
        task = asyncio.create_task(api.request("GET", "/", {}))
        await asyncio.sleep(0.1)
        task.cancel()
        async with asyncio.timeout(1):
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        slow = False
        assert (await api.request("GET", "/", {})).status == 200
        api.close()


async def test_a_request_that_was_given_up_does_not_arrive_later() -> None:
    """The kernel would go on sending it for minutes, and its clock says when it was sent."""
    given_up, ended = asyncio.Event(), asyncio.Event()
    arrived: list[object] = []

    async def collector(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await given_up.wait()
        try:
            arrived.append(await read_request(reader))
        except ConnectionResetError as error:
            arrived.append(error)
        ended.set()

    async with serving(collector) as url:
        api = HttpCollectorApi(url, timeout_s=2.0)
        await api.ready()
        with pytest.raises(NetworkFailure):
            await api.request("POST", "/x", {}, random.Random(1).randbytes(12_000_000))
        given_up.set()
        async with asyncio.timeout(20):
            await ended.wait()
    assert [type(one) for one in arrived] == [ConnectionResetError]


async def test_a_request_after_a_connection_was_made_uses_it() -> None:
    connections = 0

    async def collector(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(answer("200 OK"))

    async with serving(collector) as url:
        api = HttpCollectorApi(url)
        for _ in range(2):
            await api.ready()
            assert (await api.request("GET", "/", {})).status == 200
        api.close()
    assert connections == 1


async def test_a_connection_that_cannot_be_made_is_a_coded_failure(unused_tcp_port: int) -> None:
    with pytest.raises(NetworkFailure) as caught:
        await HttpCollectorApi(f"http://127.0.0.1:{unused_tcp_port}").ready()
    assert caught.value.failure.code is FailureCode.CONNECTION_REFUSED
