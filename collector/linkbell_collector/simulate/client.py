"""The HTTP of simulated agents: few connections, kept open. Whatever goes wrong on the way is a reply, too.

HTTP/1.1 over asyncio's streams, and no more of it than a collector or a proxy before it answers with: a third of the
processor time of a general client, which is what limits how much load one process makes.
"""

import asyncio
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from linkbell_collector.errors import UsageError
from linkbell_collector.simulate.replies import Reply

TIMEOUT_S = 30.0
LONGEST_HEAD_BYTES = 64 << 10
LONGEST_BODY_BYTES = 64 << 20


class BadAnswerError(Exception):
    """What came back is not HTTP, or more than can be taken."""


class Client:
    """Talks to one collector. As many connections are open as requests were ever under way at once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--url: {url!r} is not such as http://collector.example:8470")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._fixed = f"Host: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: linkbell-simulation\r\n"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        """Open; connections are made when they are needed."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        """GET ``path``."""
        return await self._request("GET", path, headers, b"")

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """POST ``body``, which is JSON."""
        return await self._request("POST", path, {"Content-Type": "application/json", **headers}, body)

    async def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        named = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        size = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        request = f"{method} {self._prefix}{path} HTTP/1.1\r\n{self._fixed}{named}{size}\r\n".encode() + body
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(request)
        except TimeoutError:
            return Reply(0, {}, b"", "timeout")
        except ssl.SSLError:
            return Reply(0, {}, b"", "tls_failed")
        except ConnectionRefusedError:
            return Reply(0, {}, b"", "connection_refused")
        except BadAnswerError:
            return Reply(0, {}, b"", "not_http")
        except (OSError, EOFError):
            return Reply(0, {}, b"", "connection_lost")

    async def _exchange(self, request: bytes) -> Reply:
        """Ask over a connection that is open, or over a new one; one that was closed meanwhile is no failure yet."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._over(connection, request)
            except (OSError, EOFError):
                continue  # sending twice is harmless (wire/PROTOCOL.md)
        return await self._over(
            await asyncio.open_connection(self._host, self._port, ssl=self._ssl, limit=LONGEST_HEAD_BYTES), request
        )

    async def _over(self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> Reply:
        reader, writer = connection
        try:
            writer.write(request)
            head = await _head(reader)
            reply, lasts = await _read(reader, head)
        except BaseException:
            writer.transport.abort()
            raise
        if lasts:
            self._idle.append(connection)
        else:
            writer.close()
        return reply


async def _head(reader: asyncio.StreamReader) -> list[bytes]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    except asyncio.LimitOverrunError as error:
        raise BadAnswerError from error


async def _read(reader: asyncio.StreamReader, head: list[bytes]) -> tuple[Reply, bool]:
    """Return the reply, and whether the connection may be used again."""
    try:
        version, status, *_ = head[0].split(b" ", 2)
        headers = {
            name.decode("ascii").strip().title(): value.decode("latin-1").strip()
            for name, _, value in (line.partition(b":") for line in head[1:])
        }
        code, size = int(status), int(headers.get("Content-Length", "-1"))
    except ValueError as error:
        raise BadAnswerError from error
    if not version.startswith(b"HTTP/1.") or size > LONGEST_BODY_BYTES:
        raise BadAnswerError
    lasts = version == b"HTTP/1.1" and headers.get("Connection", "").lower() != "close"
    if code in (204, 304) or size == 0:
        return Reply(code, headers, b""), lasts
    if size > 0:
        return Reply(code, headers, await reader.readexactly(size)), lasts
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return Reply(code, headers, await _chunks(reader)), lasts
    return Reply(code, headers, await reader.read()), False


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        try:
            size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        except (ValueError, asyncio.LimitOverrunError) as error:
            raise BadAnswerError from error
        total += size
        if size < 0 or total > LONGEST_BODY_BYTES:
            raise BadAnswerError
        if size == 0:
            break
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(parts)
