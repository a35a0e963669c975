"""Ping: several round trips to one target, by ICMP where the box allows it and by TCP connections where not.

Packets leave on a fixed grid, whether or not replies come: waiting for each would sample a bad line less than a good
one. Times are taken on the monotonic clock when the event loop wakes; kernel receive stamps are on the wall clock,
which may be stepped in between, so they are not used. See ``docs/ping.md``.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure, classify, network_failure
from linkbell_agent.clock import Clock
from linkbell_agent.icmp import Answer, EchoSocket, SocketFactory, open_echo_socket
from linkbell_agent.net import Address, Uplink, bind_to_uplink, usable_addresses
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.round_trips import RoundTripSummary, Train, summarise
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import tcp_info
from linkbell_wire.records import PingRecord
from linkbell_wire.words import PingMethod, PingSocket

DEFAULT_PORT = 443
"""Where a host that answers no ICMP most likely answers TCP."""


@dataclass(frozen=True, slots=True)
class PingNetwork:
    """The outside world as this probe sees it. Tests hand in one in which things go wrong."""

    resolve: Callable[[str], Awaitable[list[Address]]] = net.resolve
    new_socket: SocketFactory = socket.socket
    new_train: Callable[[float], Train] = Train


_SYSTEM = PingNetwork()


async def ping(request: PingRequest, context: ProbeContext, network: PingNetwork = _SYSTEM) -> PingRecord:
    """Ping ``request.target`` once through. Whatever the network does is in the record; nothing of it is raised."""
    return await _Ping(request, context, network).run()


def path_failure_code(error: OSError) -> FailureCode:
    """Return why a packet could not leave, or what became of it, once there is a socket to send it with.

    Permission to use the socket was given by then: what Linux refuses now is the way. It says EACCES for a
    ``prohibit`` route, EPERM for a firewall rule and EINVAL for a ``blackhole`` route (ip-route(8), netfilter).
    A packet that the box's own full queue drops is lost like one that any other queue drops.
    """
    return _PATH_ERRNO.get(error.errno or 0) or classify(error)


_PATH_ERRNO = {
    errno.EACCES: FailureCode.PROHIBITED,
    errno.EPERM: FailureCode.PROHIBITED,
    errno.EINVAL: FailureCode.NETWORK_UNREACHABLE,
    errno.ENOBUFS: FailureCode.TIMEOUT,
    errno.EAGAIN: FailureCode.TIMEOUT,
}


class _Ping:
    """One ping, and by which way it went, as far as it came."""

    def __init__(self, request: PingRequest, context: ProbeContext, network: PingNetwork) -> None:
        self._request = request
        self._context = context
        self._network = network
        self._train = network.new_train(request.timeout_s)
        self._method = request.target.method or PingMethod.ICMP
        self._socket: PingSocket | None = None
        self._address: Address | None = None
        self._port: int | None = None

    async def run(self) -> PingRecord:
        try:
            host = self._request.target.host
            addresses = await net.resolve_on(host, self._context.uplink, self._network.resolve)
            self._address = usable_addresses(addresses, self._context.uplink, host)[0]
            await self._send_to(self._address)
        except NetworkFailure as caught:
            return self._record(summarise([], {}), caught.failure)
        return self._record(self._train.summary(), None)

    async def _send_to(self, address: Address) -> None:
        """Choose the way and go it. Raises :class:`NetworkFailure` if nothing at all could be sent."""
        if self._method is PingMethod.ICMP:
            try:
                echo = open_echo_socket(address, self._context.uplink, self._network.new_socket)
            except NetworkFailure as denied:
                if self._request.target.method or denied.failure.code is not FailureCode.PERMISSION_DENIED:
                    raise
            else:
                self._socket = echo.kind
                with contextlib.closing(echo):
                    await _EchoRun(echo, self._train, self._context.clock).run(self._request)
                return
        await self._connect_to(address)

    async def _connect_to(self, address: Address) -> None:
        self._method, self._socket = PingMethod.TCP, PingSocket.STREAM
        self._port = self._request.target.port or DEFAULT_PORT
        dial = _Dial(address, self._port, self._context.uplink, self._network.new_socket)
        dial.open().close()  # a box without this uplink has lost no packets: it has sent none
        await _connect_on_grid(dial, self._request, self._context.clock, self._train)

    def _record(self, summary: RoundTripSummary, failure: Failure | None) -> PingRecord:
        target = self._request.target
        return PingRecord(
            **self._context.stamp(),
            target=target.name,
            layer=target.layer,
            host=target.host,
            address=self._address.host if self._address else None,
            port=self._port,
            method=self._method,
            socket=self._socket,
            failure=failure,
            **summary,
        )


async def _grid(request: PingRequest) -> AsyncIterator[int]:
    """Yield the packets' numbers, each at its own time from the start: a late one does not delay the next."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for sequence in range(request.count):
        await asyncio.sleep(max(0.0, start + sequence * request.spacing_s - loop.time()))
        yield sequence


class _EchoRun:
    """One train of echo requests on one open socket."""

    def __init__(self, echo: EchoSocket, train: Train, clock: Clock) -> None:
        self._echo = echo
        self._train = train
        self._clock = clock
        self._all_sent = False
        self._settled = asyncio.Event()

    async def run(self, request: PingRequest) -> None:
        """Send all, then wait until each is answered or ``timeout_s`` has passed since the last."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._echo.fileno(), self._receive)
        try:
            async for sequence in _grid(request):
                self._send(sequence)
            self._all_sent = True
            self._receive()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(request.timeout_s):
                    await self._settled.wait()
        finally:
            loop.remove_reader(self._echo.fileno())

    def _send(self, sequence: int) -> None:
        self._train.sent(sequence, self._clock.monotonic())
        try:
            self._note(self._echo.send(sequence))
        except OSError as error:
            self._train.failed(sequence, path_failure_code(error))

    def _receive(self) -> None:
        try:
            self._note(self._echo.receive())
        except OSError as error:
            self._train.fail_outstanding(path_failure_code(error))
        if self._all_sent and not self._train.has_outstanding:
            self._settled.set()

    def _note(self, answers: list[Answer]) -> None:
        now_s = self._clock.monotonic()
        for answer in answers:
            if answer.error is None:
                self._train.replied(answer.sequence, now_s)
            else:
                self._train.failed(answer.sequence, answer.error)


@dataclass(frozen=True, slots=True)
class _Dial:
    """Where TCP connections go, and out of what."""

    address: Address
    port: int
    uplink: Uplink
    new_socket: SocketFactory

    def open(self) -> socket.socket:
        """Return a non-blocking socket on the uplink. Raises :class:`NetworkFailure`."""
        try:
            sock = self.new_socket(self.address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        except OSError as error:
            raise network_failure(Operation.BIND, error) from error
        try:
            sock.setblocking(False)
            bind_to_uplink(sock, self.uplink)
        except BaseException:
            sock.close()
            raise
        return sock

    async def connect(self, clock: Clock) -> float:
        """Connect once and return when the answer came; a refusal is one too.

        Raises ``OSError`` if none came, or not to the first packet.
        """
        with contextlib.closing(self.open()) as sock:
            with contextlib.suppress(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_connect(sock, self.address.sockaddr(self.port))
            answered_at_s = clock.monotonic()
            if _had_to_repeat(sock):
                raise TimeoutError("the first SYN was lost: the time since says nothing of the round trip")
            return answered_at_s


def _had_to_repeat(sock: socket.socket) -> bool:
    """Whether the kernel sent the SYN more than once; it does so a second after the first, and says nothing."""
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES)
    return tcp_info.parse(raw).retransmits > 0


async def _connect_on_grid(dial: _Dial, request: PingRequest, clock: Clock, train: Train) -> None:
    async def connect(sequence: int) -> None:
        train.sent(sequence, clock.monotonic())
        try:
            async with asyncio.timeout(request.timeout_s):
                train.replied(sequence, await dial.connect(clock))
        except NetworkFailure as failure:
            train.failed(sequence, failure.failure.code)
        except OSError as error:  # TimeoutError is one
            train.failed(sequence, path_failure_code(error))

    async with asyncio.TaskGroup() as connections:
        async for sequence in _grid(request):
            connections.create_task(connect(sequence))
