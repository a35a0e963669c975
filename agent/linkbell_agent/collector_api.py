"""HTTP to the collector: the standard library's client in a thread.

aiohttp would cost the agent 12 MB of the 45 MB it may use (docs/decisions/0003-agent-without-aiohttp.md).
"""

import asyncio
import contextlib
import gzip
import http.client
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.threads import BlockingCalls
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
    """One kept-alive connection to one collector; requests take turns on it."""

    def __init__(self, url: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._calls = BlockingCalls(limit=4)  # one under way, others given up and about to end
        self._connection: http.client.HTTPConnection | None = None
        self._tls: ssl.SSLContext | None = None

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
                _forget_unsent(self._connection)
                self.close()
                if isinstance(error, TimeoutError):
                    raise NetworkFailure(Operation.HTTP_REQUEST, FailureCode.TIMEOUT) from error
                raise

    def close(self) -> None:
        """Drop the connection. A request under way in its thread fails."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.sock is not None:
            # close() alone would leave a thread that reads from it blocked until its time-out.
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _connect(self) -> None:
        connection, _ = self._connected()
        if connection.sock is not None:
            return
        try:
            connection.connect()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            if self._connection is connection:
                self._connection = None
            raise _translate(error) from error

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> HttpReply:
        headers["User-Agent"] = f"linkbell-agent/{__version__}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            if len(body) >= COMPRESS_FROM_BYTES:
                body = gzip.compress(body, compresslevel=6, mtime=0)
                headers["Content-Encoding"] = "gzip"
        while True:
            connection, was_kept = self._connected()
            try:
                return self._once(connection, method, path, headers, body)
            except (http.client.HTTPException, OSError) as error:
                _forget_unsent(connection)
                connection.close()
                given_up = self._connection is not connection
                if not given_up:
                    self._connection = None
                # A kept connection may have been closed by the peer meanwhile; a new one gets a second try. Sending
                # again is harmless: the protocol is idempotent.
                if given_up or not was_kept or isinstance(error, TimeoutError):
                    raise _translate(error) from error

    def _connected(self) -> tuple[http.client.HTTPConnection, bool]:
        if self._connection is not None:
            return self._connection, True
        if self._secure:
            self._tls = self._tls or ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=SOCKET_TIMEOUT_S, context=self._tls
            )
        else:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=SOCKET_TIMEOUT_S)
        return self._connection, False

    def _once(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> HttpReply:
        connection.request(method, self._prefix + path, body=body, headers=headers)
        with connection.getresponse() as response:
            content = response.read(MAX_REPLY_BYTES + 1)
            if len(content) > MAX_REPLY_BYTES:
                raise NetworkFailure(Operation.HTTP_REQUEST, FailureCode.MESSAGE_TOO_LARGE)
            if response.length:
                raise http.client.IncompleteRead(content, response.length)
            return HttpReply(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def _forget_unsent(connection: http.client.HTTPConnection | None) -> None:
    """Have the kernel drop what has not arrived: it would go on sending it for minutes.

    A batch says by its clock when it was sent; the next try says it anew.
    """
    if connection is not None and connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _translate(error: Exception) -> NetworkFailure:
    """Translate http.client's exceptions: those that are not ``OSError`` mean the peer does not speak HTTP."""
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return NetworkFailure(Operation.HTTP_REQUEST, FailureCode.CONNECTION_CLOSED)
    if isinstance(error, http.client.HTTPException):
        return NetworkFailure(Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR)
    return network_failure(Operation.HTTP_REQUEST, error)
