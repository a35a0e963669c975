"""Fetches: one GET over HTTP or HTTPS, each phase timed, the answer judged and redirects not followed.

On our own sockets: the uplink is bound, every phase has its moment, and no more is read than is needed to judge.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from urllib.parse import urlsplit

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure, classify, network_failure
from linkbell_agent.net import Address, open_socket, plain_name, resolve_on, usable_addresses
from linkbell_agent.probes import pages
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.pages import END_OF_HEAD, MAX_HEAD_BYTES, Expectation, Page
from linkbell_agent.slim import dataclass
from linkbell_agent.trust import sessions_can_be_kept, shared_tls
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import HttpRecord
from linkbell_wire.words import Layer

MAX_BODY_BYTES = 65_536
MAX_ADDRESSES = 3
RECEIVE_BUFFER_BYTES = 8192
"""What the kernel may take before we have judged: a server sends no more than this into a fetch that is given up."""

Sessions = MutableMapping[str, ssl.SSLSession]
"""TLS sessions by host and port: taking one up again costs a tenth of the bytes, and proves the server as well."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Fetch ``url`` within ``timeout_s`` in all. ``expected`` is what a page of known content looks like.

    ``sessions`` is where TLS sessions are kept from one fetch to the next.
    """

    target: str
    layer: Layer
    url: str
    expected: Expectation | None = None
    timeout_s: float = 7.0
    max_body_bytes: int = MAX_BODY_BYTES
    sessions: Sessions | None = None


@dataclass(frozen=True, slots=True)
class HttpNetwork:
    """The outside world as this probe sees it, and whom it trusts. Tests hand in others."""

    resolve: Callable[[str], Awaitable[list[Address]]] = net.resolve
    tls: Callable[[], ssl.SSLContext] = shared_tls
    keeps_sessions: bool = sessions_can_be_kept()


_SYSTEM = HttpNetwork()


@dataclass(slots=True)
class _Phases:
    """How far a fetch has come, and how long each phase took; the fields are the record's."""

    operation: Operation = Operation.RESOLVE
    address: str | None = None
    status: int | None = None
    bytes: int | None = None
    resolve_s: float | None = None
    connect_s: float | None = None
    tls_s: float | None = None
    first_byte_s: float | None = None


async def http(request: HttpRequest, context: ProbeContext, network: HttpNetwork = _SYSTEM) -> HttpRecord:
    """Fetch once. Whatever the network and the server do is in the record; nothing of it is raised."""
    phases = _Phases()
    started_s = context.clock.monotonic()
    failure: Failure | None = None
    try:
        async with asyncio.timeout(request.timeout_s):
            page = await _Fetch(request, context, network, phases).run()
        code = pages.trouble_with(page, request.expected)
        failure = None if code is None else Failure(operation=Operation.HTTP_REQUEST, code=code)
    except TimeoutError:
        dead_dns = phases.operation is Operation.RESOLVE
        code = FailureCode.DNS_TIMEOUT if dead_dns else FailureCode.TIMEOUT
        failure = Failure(operation=phases.operation, code=code)
    except NetworkFailure as caught:
        failure = caught.failure
    except (OSError, UnicodeError, ValueError) as error:
        failure = Failure(operation=phases.operation, code=classify(error))
    return HttpRecord(
        **context.stamp(),
        target=request.target,
        layer=request.layer,
        url=request.url,
        address=phases.address,
        status=phases.status,
        bytes=phases.bytes,
        duration_s=round(max(0.0, context.clock.monotonic() - started_s), 6),
        failure=failure,
        resolve_s=phases.resolve_s,
        connect_s=phases.connect_s,
        tls_s=phases.tls_s,
        first_byte_s=phases.first_byte_s,
    )


class _Fetch:
    """One fetch under way."""

    def __init__(self, request: HttpRequest, context: ProbeContext, network: HttpNetwork, phases: _Phases) -> None:
        self._request = request
        self._context = context
        self._network = network
        self._phases = phases
        self._parts = urlsplit(request.url)
        self._mark_s = context.clock.monotonic()

    async def run(self) -> Page:
        """Return the page, as far as it was read. Raises ``OSError`` and :class:`NetworkFailure`."""
        host = self._parts.hostname or ""
        secure = self._parts.scheme == "https"
        uplink = self._context.uplink
        addresses = usable_addresses(await resolve_on(host, uplink, self._network.resolve), uplink, host)
        self._passed("resolve_s", Operation.CONNECT)
        sock = await self._connect(addresses[:MAX_ADDRESSES], self._parts.port or (443 if secure else 80))
        stream = _Stream(sock)
        with contextlib.closing(stream):
            self._passed("connect_s", Operation.TLS_HANDSHAKE if secure else Operation.HTTP_REQUEST)
            if secure:
                await self._secure(stream, host)
                self._passed("tls_s", Operation.HTTP_REQUEST)
            page = await self._ask(stream)
            if secure and self._request.sessions is not None and self._network.keeps_sessions:
                self._keep_session(stream, self._request.sessions)
            return page

    def _passed(self, name: str, following: Operation) -> None:
        now_s = self._context.clock.monotonic()
        setattr(self._phases, name, round(max(0.0, now_s - self._mark_s), 6))
        self._phases.operation = following
        self._mark_s = now_s

    async def _connect(self, addresses: list[Address], port: int) -> socket.socket:
        """Return the first connection that succeeds; each address but the last has half of the time that is left."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._request.timeout_s
        for address in addresses[:-1]:
            limit_s = (deadline_s - loop.time()) / 2
            with contextlib.suppress(OSError, NetworkFailure):
                async with asyncio.timeout(limit_s):
                    return await self._connect_to(address, port)
        return await self._connect_to(addresses[-1], port)

    async def _connect_to(self, address: Address, port: int) -> socket.socket:
        sock = open_socket(address, self._context.uplink)
        try:
            self._phases.address = address.host
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr(port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _secure(self, stream: "_Stream", host: str) -> None:
        kept = None if self._request.sessions is None else self._request.sessions.get(self._parts.netloc)
        await stream.start_tls(self._network.tls(), host, kept)

    def _keep_session(self, stream: "_Stream", sessions: Sessions) -> None:
        session = stream.session()
        if session is not None:
            sessions[self._parts.netloc] = session

    async def _ask(self, stream: "_Stream") -> Page:
        await stream.send(pages.request(self._request.url))
        received = await stream.receive()
        self._passed("first_byte_s", Operation.HTTP_REQUEST)
        while received and END_OF_HEAD not in received and len(received) < MAX_HEAD_BYTES:
            chunk = await stream.receive()
            if not chunk:
                break
            received += chunk
        raw, end, rest = received.partition(END_OF_HEAD)
        head = pages.parse_head(raw) if end else None
        if head is None:
            raise NetworkFailure(Operation.HTTP_REQUEST, _why_no_head(received))
        self._phases.status = head.status
        return Page(self._request.url, head, await self._body(stream, head, rest))

    async def _body(self, stream: "_Stream", head: pages.Head, body: bytes) -> bytes:
        """Read until it ends, or enough is there. A body that breaks off has been judged by its head all the same."""
        length = head.headers.get("content-length", "")
        wanted = min(self._request.max_body_bytes, int(length)) if length.isdecimal() else self._request.max_body_bytes
        if head.status in (204, 304):
            wanted = 0
        with contextlib.suppress(OSError):
            while len(body) < wanted:
                chunk = await stream.receive()
                if not chunk:
                    break
                body += chunk
        self._phases.bytes = len(body)
        return body


def _why_no_head(received: bytes) -> FailureCode:
    if not received:
        return FailureCode.CONNECTION_CLOSED
    return FailureCode.MESSAGE_TOO_LARGE if len(received) >= MAX_HEAD_BYTES else FailureCode.PROTOCOL_ERROR


class _Stream:
    """A connected socket, plain or with TLS, waited for by the event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def start_tls(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        """Shake hands, taking up ``session`` if the server still knows it. Raises ``OSError``."""
        try:
            wrapped = context.wrap_socket(
                self._sock, server_hostname=plain_name(host), do_handshake_on_connect=False, session=session
            )
        except ssl.SSLError as error:
            raise network_failure(Operation.TLS_HANDSHAKE, error) from error
        self._sock = wrapped
        while True:
            try:
                wrapped.do_handshake()
            except _WANTS as want:
                await self._ready(want)
            else:
                return

    def session(self) -> ssl.SSLSession | None:
        """Return what a later connection may take up."""
        return self._sock.session if isinstance(self._sock, ssl.SSLSocket) else None

    async def send(self, data: bytes) -> None:
        """Send all. Raises ``OSError``."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except _WANTS as want:
                await self._ready(want, writing=True)

    async def receive(self) -> bytes:
        """Return what comes next, nothing at the end. Raises ``OSError``."""
        while True:
            try:
                return self._sock.recv(RECEIVE_BUFFER_BYTES)
            except _WANTS as want:
                await self._ready(want)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""  # many servers end without saying goodbye

    async def _ready(self, want: OSError, *, writing: bool = False) -> None:
        """Wait until the socket can do what it could not: TLS says what that is."""
        loop = asyncio.get_running_loop()
        writes = isinstance(want, ssl.SSLWantWriteError) or (writing and not isinstance(want, ssl.SSLWantReadError))
        add, remove = (loop.add_writer, loop.remove_writer) if writes else (loop.add_reader, loop.remove_reader)
        ready: asyncio.Future[None] = loop.create_future()
        descriptor = self._sock.fileno()
        add(descriptor, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(descriptor)

    def close(self) -> None:
        """Close, and throw away what has not been read."""
        with contextlib.suppress(OSError):
            self._sock.close()


_WANTS = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
