"""Networks in which things go wrong, made of real sockets on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

from linkbell_agent.classify import network_failure
from linkbell_agent.clock import Moment, SystemClock
from linkbell_agent.net import Address, Uplink
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.probes.ping import PingNetwork
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.failures import Operation
from linkbell_wire.words import Layer, PingMethod

LOOPBACK = Address(socket.AF_INET, "127.0.0.1")


class SteppingClock(SystemClock):
    """A clock whose wall time jumps a year back whenever it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._readings = 0

    def now(self) -> Moment:
        self._readings += 1
        true = super().now()
        return Moment(true.wall - timedelta(days=365 * self._readings), true.boottime_s)


def context(uplink: Uplink | None = None) -> ProbeContext:
    return ProbeContext(uplink or Uplink(), SystemClock())


def request(
    host: str = "127.0.0.1",
    *,
    method: PingMethod | None = None,
    port: int | None = None,
    count: int = 3,
    spacing_s: float = 0.01,
    timeout_s: float = 1.0,
) -> PingRequest:
    target = TargetConfiguration(name="target", layer=Layer.ISP, host=host, method=method, port=port)
    return PingRequest(target, count=count, spacing_s=spacing_s, timeout_s=timeout_s)


async def resolve_to_loopback(_host: str) -> list[Address]:
    return [LOOPBACK]


def failing_resolver(error: BaseException) -> PingNetwork:
    async def resolve(_host: str) -> list[Address]:
        raise network_failure(Operation.RESOLVE, error) from error

    return PingNetwork(resolve=resolve)


class BrokenSocket(socket.socket):
    """A socket one method of which raises. What it sends goes nowhere, so that only that method decides."""

    def __init__(self, type_: int, method: str, error: OSError) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM if type_ == socket.SOCK_STREAM else socket.SOCK_DGRAM)
        self._method = method
        self._error = error

    def _raise_in(self, method: str) -> None:
        if method == self._method:
            raise self._error

    def setsockopt(self, *_arguments: Any) -> None:
        self._raise_in("setsockopt")

    def getsockopt(self, *_arguments: Any) -> Any:
        self._raise_in("getsockopt")
        return bytes(104)

    def bind(self, address: Any) -> None:
        self._raise_in("bind")
        super().bind(address)

    def connect(self, _address: Any) -> None:
        self._raise_in("connect")

    def sendto(self, data: Any, *_arguments: Any) -> int:
        self._raise_in("sendto")
        return len(data)

    def recvfrom(self, *_arguments: Any) -> Any:
        self._raise_in("recvfrom")
        raise BlockingIOError

    def recvmsg(self, *_arguments: Any) -> Any:
        self._raise_in("recvmsg")
        raise BlockingIOError


class SocketShop:
    """Hands out sockets, and remembers them, to see afterwards that all were closed."""

    def __init__(self, make: Callable[[int], socket.socket], *, refused_types: Sequence[int] = ()) -> None:
        self._make = make
        self._refused_types = refused_types
        self.sold: list[socket.socket] = []
        self.first_sold = asyncio.Event()

    def __call__(self, _family: int, type_: int, _protocol: int) -> socket.socket:
        if type_ in self._refused_types:
            raise PermissionError(13, "Permission denied")
        sock = self._make(type_)
        self.sold.append(sock)
        self.first_sold.set()
        return sock

    def network(self) -> PingNetwork:
        return PingNetwork(resolve_to_loopback, self)

    @property
    def all_closed(self) -> bool:
        return all(sock.fileno() == -1 for sock in self.sold)


def refuse_all(error: OSError) -> PingNetwork:
    """A network in which no socket can be made at all."""

    def new_socket(_family: int, _type: int, _protocol: int) -> socket.socket:
        raise error

    return PingNetwork(resolve_to_loopback, new_socket)


class _UdpInsteadOfIcmp(socket.socket):
    """Sends echo requests to a port on loopback, where a :class:`Host` answers them as a test likes."""

    def __init__(self, host: tuple[str, int]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self._host = host

    def sendto(self, data: Any, *_arguments: Any) -> int:
        return super().sendto(data, self._host)


Script = Callable[[bytes], Sequence[tuple[float, bytes]]]
"""From an echo request to the messages sent in answer, each with a delay in seconds."""


class Host(asyncio.DatagramProtocol):
    """The other end, which answers by a script, and notes when each packet came."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._transport: asyncio.DatagramTransport | None = None
        self.arrivals_s: list[float] = []
        self.payloads: set[bytes] = set()
        self.first_arrived = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        loop = asyncio.get_running_loop()
        self.arrivals_s.append(loop.time())
        self.payloads.add(data[8:])
        self.first_arrived.set()
        assert self._transport is not None
        for delay_s, message in self._script(data):
            loop.call_later(delay_s, self._transport.sendto, message, addr)


@contextlib.asynccontextmanager
async def scripted_host(script: Script, address: str = "127.0.0.1") -> AsyncIterator[tuple[Host, SocketShop]]:
    """Run a :class:`Host`; yields it and the shop whose sockets lead to it."""
    loop = asyncio.get_running_loop()
    transport, host = await loop.create_datagram_endpoint(lambda: Host(script), local_addr=(address, 0))
    try:
        yield host, SocketShop(lambda _type: _UdpInsteadOfIcmp(transport.get_extra_info("sockname")))
    finally:
        transport.close()
