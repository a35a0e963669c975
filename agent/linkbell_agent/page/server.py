"""Serves the page: accepts, looks who asks, has the answer drawn by a child process, and closes.

A school's network is full of curious people and old devices: every request has a time limit, connections and drawings
have bounds, and nothing that comes in can make the agent do more than that.
"""

import asyncio
import contextlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from linkbell_agent.language.speech import chosen, from_header
from linkbell_agent.page.facts import Facts
from linkbell_agent.page.guard import Network, is_near, is_own_name
from linkbell_agent.page.request import MAX_HEAD_BYTES, RefusedError, Request, parse_request, reply_head
from linkbell_agent.recent.history import History
from linkbell_agent.slim import dataclass

log = logging.getLogger(__name__)

CHILD = (sys.executable, "-I", "-m", "linkbell_agent.page.child")
TYPES = {
    "/": "text/html; charset=utf-8",
    "/provider": "text/html; charset=utf-8",
    "/status.json": "application/json",
}
FILES = {
    "/style.css": ("text/css; charset=utf-8", Path(__file__).with_name("style.css")),
    "/icon.svg": ("image/svg+xml", Path(__file__).with_name("icon.svg")),
}

MAX_CONNECTIONS = 24
MAX_CONNECTIONS_EACH = 6
MAX_BODY_BYTES = 2_000_000
HEAD_TIMEOUT_S = 5.0
DRAW_TIMEOUT_S = 20.0
WHOLE_TIMEOUT_S = 40.0
BIND_AGAIN_S = 60.0
RATE_PER_S, BURST = 0.5, 20.0
"""Drawings: one takes 0.1 s of a fast processor and a second of a slow one."""


class Bucket:
    """Lets ``burst`` through at once and ``rate_per_s`` after that (a token bucket). Pure: told the time."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = burst
        self._at_s: float | None = None

    def take(self, now_s: float) -> bool:
        """Say whether one more may go; ``now_s`` is on a monotonic clock."""
        passed_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._at_s = now_s
        self._left = min(self._burst, self._left + passed_s * self._rate_per_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class ServedAt:
    """Where to listen, whom to let in besides the school's own network, and the language if it is decided."""

    host: str
    port: int
    allow: Sequence[Network] = ()
    language: str | None = None


class PageServer:
    """Serves one history. ``facts`` is asked anew for every page."""

    def __init__(self, settings: ServedAt, history: History, facts: Callable[[], Facts]) -> None:
        self._settings = settings
        self._history = history
        self._facts = facts
        self._connections: Counter[str] = Counter()
        self._bucket = Bucket(RATE_PER_S, BURST)
        self._drawing = asyncio.Lock()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on. Needs :meth:`start`."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises ``OSError`` if that is not possible."""
        settings = self._settings
        self._server = await asyncio.start_server(self._serve, settings.host, settings.port, limit=MAX_HEAD_BYTES)

    async def serve_for_ever(self) -> None:
        """Listen until cancelled; an address that is not there, or not yet, is tried again."""
        said = False
        try:
            while True:
                try:
                    await self.start()
                    break
                except OSError as error:
                    if not said:
                        where = f"{self._settings.host}:{self._settings.port}"
                        log.warning("the local page is not served: cannot listen on %s (%s)", where, error.strerror)
                    said = True
                    await asyncio.sleep(BIND_AGAIN_S)
            await asyncio.Event().wait()
        finally:
            self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        source = str(peer[0]) if peer else ""
        self._connections[source] += 1
        try:
            too_many = self._connections.total() > MAX_CONNECTIONS or self._connections[source] > MAX_CONNECTIONS_EACH
            # One who is not of this network is told nothing, not even that something is here.
            if not too_many and peer and own and is_near(source, str(own[0]), self._settings.allow):
                async with asyncio.timeout(WHOLE_TIMEOUT_S):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # gone, too slow, or no browser
        finally:
            self._connections[source] -= 1
            if not self._connections[source]:
                del self._connections[source]
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            request = parse_request(head)
            method = request.method
            if not is_own_name(request.headers["host"]):
                raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST)
            status, content_type, body = HTTPStatus.OK, *(await self._content(request))
        except asyncio.LimitOverrunError:
            status, content_type, body = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except RefusedError as refused:
            status, content_type, body = _refusal(refused.status)
        writer.write(reply_head(status, content_type, len(body), _EXTRA.get(status)))
        if method != "HEAD":
            writer.write(body)
        await writer.drain()

    async def _content(self, request: Request) -> tuple[str, bytes]:
        """Return type and body of what was asked for. Raises :class:`RefusedError`."""
        if request.path in FILES:
            kind, file = FILES[request.path]
            return kind, file.read_bytes()
        content_type = TYPES.get(request.path)
        if content_type is None:
            raise RefusedError(HTTPStatus.NOT_FOUND)
        wished = from_header(request.headers.get("accept-language", ""))
        language = chosen(request.language, self._settings.language, wished)
        return content_type, await self._draw(request.path, language, request.uplink)

    async def _draw(self, path: str, language: str, uplink: str | None) -> bytes:
        """Have a page drawn, one at a time. Raises :class:`RefusedError` if there are too many, or it fails."""
        if not self._bucket.take(asyncio.get_running_loop().time()):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS)
        async with self._drawing:
            wish = {
                "path": path,
                "language": language,
                "facts": self._facts().of(uplink).state(),
                "history": self._history.state(),
            }
            try:
                async with asyncio.timeout(DRAW_TIMEOUT_S):
                    return await draw(wish)
            except (OSError, TimeoutError) as error:
                log.warning("the local page could not be drawn (%s)", type(error).__name__)
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE) from error


async def draw(wish: dict[str, Any]) -> bytes:
    """Run the child on one wish. Raises ``OSError`` if it fails; a child that is not waited for is killed."""
    process = await asyncio.create_subprocess_exec(
        *CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=MAX_BODY_BYTES,
    )
    try:
        body, _ = await process.communicate(json.dumps(wish, separators=(",", ":")).encode())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode or not body:
        raise OSError(f"the drawing process ended with status {process.returncode}")
    return body


_EXTRA = {HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "GET, HEAD"}, HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "5"}}


def _refusal(status: HTTPStatus) -> tuple[HTTPStatus, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{status.value} {status.phrase}\n".encode()
