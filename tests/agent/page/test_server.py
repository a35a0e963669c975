"""The server gives pages to whoever is near, in their language, and bears everything else."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest

from linkbell_agent.page import server as page_server
from linkbell_agent.page.server import Bucket, PageServer, ServedAt
from tests.agent.page.school_day import school_day, school_facts
from tests.linkbed import namespaces

HEADERS = "Host: 127.0.0.1\r\n"


@contextlib.asynccontextmanager
async def serving(language: str | None = None, host: str = "127.0.0.1") -> AsyncIterator[PageServer]:
    server = PageServer(ServedAt(host, 0, (), language), school_day(), school_facts)
    await server.start()
    try:
        yield server
    finally:
        server.close()


async def exchange(server: PageServer, given: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(given)
    await writer.drain()
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def get(server: PageServer, path: str, headers: str = HEADERS, method: str = "GET") -> tuple[int, str, bytes]:
    answer = await exchange(server, f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


async def test_each_page_comes_whole_and_a_head_request_brings_the_head_alone() -> None:
    async with serving() as server:
        for path, word in (("/", "The Internet connection works."), ("/provider", "How this was measured")):
            status, head, body = await get(server, path)
            assert (status, word in body.decode()) == (200, True)
            assert f"Content-Length: {len(body)}" in head
            assert body.endswith(b"</html>\n")
        status, head, body = await get(server, "/", method="HEAD")
        assert (status, body) == (200, b"")
        assert "Content-Length: 5" in head
        status, head, body = await get(server, "/style.css")
        assert (status, "text/css" in head, b".headline" in body) == (200, True, True)
        status, head, body = await get(server, "/status.json")
        assert json.loads(body)["verdict"] == "ok"


async def test_the_page_speaks_as_asked_then_as_set_then_as_the_browser_wishes() -> None:
    async with serving() as server:
        for path, headers, language in (
            ("/", "", "en"),
            ("/", "Accept-Language: ru-RU,ru;q=0.9\r\n", "ru"),
            ("/?lang=kk", "Accept-Language: ru\r\n", "kk"),
            ("/?lang=xx", "Accept-Language: ru\r\n", "ru"),
        ):
            _, _, body = await get(server, path, HEADERS + headers)
            assert f'<html lang="{language}">' in body.decode()
    async with serving("kk") as server:
        assert b'<html lang="kk">' in (await get(server, "/", HEADERS + "Accept-Language: ru\r\n"))[2]
        assert b'<html lang="en">' in (await get(server, "/?lang=en"))[2]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_not_meant_for_us_is_refused_in_a_line(given: bytes, status: int) -> None:
    async with serving() as server:
        answer = await exchange(server, given)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Security-Policy" in answer
    assert b"Traceback" not in answer


async def test_one_who_says_nothing_is_let_go_and_holds_nobody_up() -> None:
    async with serving() as server:
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert (await get(server, "/"))[0] == 200
        async with asyncio.timeout(page_server.HEAD_TIMEOUT_S + 5):
            for reader, _ in idle:
                assert await reader.read() == b""
        for _, writer in idle:
            writer.close()


async def test_one_address_gets_so_many_connections_and_no_more() -> None:
    async with serving() as server:
        many = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(page_server.MAX_CONNECTIONS_EACH)
        ]
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionResetError):
                assert await exchange(server, b"GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
        for _, writer in many:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await get(server, "/style.css"))[0] == 200


def test_drawings_are_rationed() -> None:
    bucket = Bucket(rate_per_s=0.5, burst=3)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.take(102.0)
    assert not bucket.take(102.1)
    assert [bucket.take(10_000.0) for _ in range(4)] == [True, True, True, False]


async def test_who_asks_too_often_is_told_to_wait() -> None:
    async with serving() as server:
        server._bucket = Bucket(rate_per_s=0.0, burst=1)
        assert (await get(server, "/status.json"))[0] == 200
        status, head, _ = await get(server, "/status.json")
        assert (status, "Retry-After" in head) == (429, True)


async def test_a_drawing_that_fails_is_a_503_and_the_next_one_works() -> None:
    class Facts:
        broken = True

        def __call__(self) -> object:
            return school_facts(now_s="not a time") if self.broken else school_facts()

    facts = Facts()
    server = PageServer(ServedAt("127.0.0.1", 0), school_day(), facts)  # type: ignore[arg-type]
    await server.start()
    assert (await get(server, "/"))[0] == 503
    facts.broken = False
    assert (await get(server, "/"))[0] == 200
    server.close()


async def test_an_address_that_is_taken_is_said_once_and_measuring_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = PageServer(ServedAt("127.0.0.1", taken.getsockname()[1]), school_day(), school_facts)
        task = asyncio.create_task(server.serve_for_ever())
        await asyncio.sleep(0.1)
        assert not task.done()
        assert caplog.text.count("the local page is not served") == 1
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
def test_a_stranger_from_the_internet_gets_no_answer_and_a_neighbour_does() -> None:
    serve = (
        "import asyncio\n"
        "from tests.agent.page.school_day import *\n"
        "asyncio.run(PageServer(ServedAt('0.0.0.0', 8472), school_day(), school_facts).serve_for_ever())\n"
    )
    ask = (
        "import socket, sys\n"
        "sock = socket.create_connection((sys.argv[1], 8472), 10, (sys.argv[2], 0))\n"
        "sock.sendall(b'GET /style.css HTTP/1.1\\r\\nHost: 10.88.0.1\\r\\n\\r\\n')\n"
        "sock.settimeout(10)\n"
        "try:\n    print(len(sock.recv(100)))\n"
        "except ConnectionResetError:\n    print(0)\n"
    )
    with namespaces.namespace(namespaces.Namespace) as box, namespaces.namespace(namespaces.Namespace) as other:
        box.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other.name)
        for side, host in ((box, 1), (other, 2)):
            side.run("ip", "address", "add", f"10.88.0.{host}/24", "dev", "eth0")
            side.run("ip", "link", "set", "eth0", "up")
        other.run("ip", "address", "add", "203.0.113.9/32", "dev", "eth0")
        box.run("ip", "route", "add", "203.0.113.9/32", "dev", "eth0")
        process = subprocess.Popen(box.inside(sys.executable, "-c", serve), cwd=namespaces.REPOSITORY)
        try:
            for _ in range(100):
                time.sleep(0.1)
                with contextlib.suppress(AssertionError):
                    near = other.run(sys.executable, "-c", ask, "10.88.0.1", "10.88.0.2")
                    break
            assert int(near) > 0
            assert int(other.run(sys.executable, "-c", ask, "10.88.0.1", "203.0.113.9")) == 0
        finally:
            process.kill()
            process.wait()
