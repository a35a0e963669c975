"""The small HTTP client: what it understands, and that whatever goes wrong is a reply with a word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from linkbell_collector.errors import UsageError
from linkbell_collector.simulate.client import Client
from linkbell_collector.simulate.replies import Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-After: 3\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Answers each request with the next of ``answers``; an empty one closes the connection instead."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
                self.requests.append(head + await reader.readexactly(size))
                answer = self.answers.pop(0)
                if not answer:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Client]:
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    server.url = f"http://{host}:{port}"
    try:
        async with Client(server.url + "/under/") as client:
            yield client
    finally:
        listening.close()
        await listening.wait_closed()


async def asked(*answers: bytes) -> Reply:
    async with running(Server(*answers)) as client:
        return await client.get("/x", {})


async def test_requests_go_over_one_connection_with_their_headers_and_bodies() -> None:
    server = Server(OK, OK)
    async with running(server) as client:
        first = await client.post("/a", {"Authorization": "Bearer b"}, b"{}")
        second = await client.get("/b", {})
    assert (first.status, first.body, first.headers["Retry-After"]) == (200, b"ok", "3")
    assert second.status == 200
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /under/a HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAuthorization: Bearer b\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\n{}")
    assert b"Content-Length" not in server.requests[1]


async def test_a_connection_that_was_closed_meanwhile_is_replaced_and_the_request_sent_again() -> None:
    server = Server(OK, b"", OK)
    async with running(server) as client:
        assert (await client.get("/a", {})).status == 200
        assert (await client.get("/b", {})).status == 200
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n", (200, b"abcde", "")),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", (304, b"", "")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", "")),
        (b"SSH-2.0-OpenSSH\r\n\r\n", (0, b"", "not_http")),
        (b"HTTP/1.1 nonsense\r\n\r\n", (0, b"", "not_http")),
        (CHUNKED + b"zz\r\n", (0, b"", "not_http")),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", (0, b"", "not_http")),
        (b"", (0, b"", "connection_lost")),
    ],
)
async def test_answers_are_read_or_named(answer: bytes, reply: tuple[int, bytes, str]) -> None:
    got = await asked(answer)
    assert (got.status, got.body, got.trouble) == reply


async def test_an_answer_cut_short_is_a_lost_connection() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        writer.close()

    await _with(cut, "connection_lost")


async def _with(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], trouble: str) -> None:
    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with Client(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}") as client:
        assert (await client.get("/", {})).trouble == trouble
    listening.close()
    await listening.wait_closed()


async def test_nobody_there_is_said_so() -> None:
    async with Client("http://127.0.0.1:1") as client:
        assert (await client.get("/", {})).trouble == "connection_refused"


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="--url"):
        Client("collector.example")
