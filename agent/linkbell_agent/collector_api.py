"""HTTP to the collector: a small client of our own in a thread.

aiohttp would cost the agent 12 MB of the 45 MB it may use, http.client 1 MB
(docs/decisions/0007-agent-without-http-client.md).
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.http1 import Connection, Peer
from linkbell_agent.probes.pages import host_header
from linkbell_agent.slim import dataclass
from linkbell_agent.squeeze import squeeze
from linkbell_agent.threads import BlockingCalls
from linkbell_agent.trust import shared_tls
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.version import __version__

T = TypeVar("T")

REQUEST_TIMEOUT_S = 60.0
SOCKET_TIMEOUT_S = 20.0
MAX_REPLY_BYTES = 1 << 20
COMPRESS_FROM_BYTES = 400


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CollectorApi(Protocol):
    """What the agent needs of the collector's HTTP side."""

    async def ready(self) -> None:
        """Connect, if there is no connection. Raises :class:`NetworkFailure`.

        What says when it is sent is made after this: to connect may take TCP twenty seconds.
        """

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Make one request. Raises :class:`NetworkFailure` if no complete reply came."""


class HttpCollectorApi:
    """One kept-alive connection to one collector; requests take turns on it.

    ``certificate`` (PEM) is the only one it may show; without it, one that the system trusts.
    """

    def __init__(self, url: str, *, timeout_s: float = REQUEST_TIMEOUT_S, certificate: str | None = None) -> None:
        self._url = parts = urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        tls = shared_tls
        if certificate is not None:
            # Imported late: few collectors are known by their certificate alone.
            from linkbell_agent.pinned import only

            tls = partial(only, certificate)
        self._peer = Peer(parts.hostname or "", port, SOCKET_TIMEOUT_S, tls if secure else None)
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._calls = BlockingCalls(limit=4)  # one under way, others given up and about to end
        self._connection: Connection | None = None

    async def ready(self) -> None:
        """Connect; see :class:`CollectorApi`."""
        await self._in_turn(self._connect)

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Make one request; see :class:`CollectorApi`. Nothing here outlives the stated timeout."""
        return await self._in_turn(self._exchange, method, path, dict(headers), body)

    async def _in_turn(self, function: Callable[..., T], *arguments: object) -> T:
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._calls.run(function, *arguments)
            except BaseException as error:
                # Cancelled, timed out or failed half-way: what the thread still holds is no use to the next request.
                if self._connection is not None:
                    self._connection.forget_unsent()
                self.close()
                if isinstance(error, TimeoutError):
                    raise NetworkFailure(Operation.HTTP_REQUEST, FailureCode.TIMEOUT) from error
                raise

    def close(self) -> None:
        """Drop the connection. A request under way in its thread fails."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        connection = self._connection = self._connection or Connection(self._peer)
        try:
            connection.open()
        except (NetworkFailure, OSError, UnicodeError) as error:
            connection.close()
            if self._connection is connection:
                self._connection = None
            raise network_failure(Operation.HTTP_REQUEST, error) from error

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpReply:
        while True:
            was_kept = self._connection is not None
            connection = self._connection = self._connection or Connection(self._peer)
            try:
                head, content = connection.exchange(self._request(method, path, headers, body), MAX_REPLY_BYTES)
                return HttpReply(head.status, head.headers, content)
            except (NetworkFailure, OSError, UnicodeError) as error:
                connection.forget_unsent()
                connection.close()
                given_up = self._connection is not connection
                if not given_up:
                    self._connection = None
                # A kept connection may have been closed by the peer meanwhile; a new one gets a second try. Sending
                # again is harmless: the protocol is idempotent.
                if given_up or not was_kept or isinstance(error, TimeoutError):
                    raise network_failure(Operation.HTTP_REQUEST, error) from error

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> bytes:
        """Return the whole request."""
        lines = {"Host": host_header(self._url), "User-Agent": f"linkbell-agent/{__version__}", **headers}
        if body is not None:
            lines["Content-Type"] = "application/json"
            if len(body) >= COMPRESS_FROM_BYTES:
                body = squeeze(body, gzip=True)
                lines["Content-Encoding"] = "gzip"
            lines["Content-Length"] = str(len(body))
        # An entity tag is the collector's word: no line end in it may begin a line of ours.
        fields = "".join(f"{name}: {' '.join(value.split())}\r\n" for name, value in lines.items())
        return f"{method} {self._prefix}{path} HTTP/1.1\r\n{fields}\r\n".encode("latin-1", "replace") + (body or b"")
