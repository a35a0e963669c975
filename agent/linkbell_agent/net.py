"""The one seam to the network: names become addresses, addresses become connected sockets, on a given uplink.

Raises :class:`~linkbell_agent.classify.NetworkFailure` only. Routes are never touched: an uplink is bound with
SO_BINDTODEVICE or a source address, and one that cannot be bound is an error, not a silent fallback.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.permit import Permit
from linkbell_agent.slim import dataclass
from linkbell_agent.threads import BlockingCalls
from linkbell_wire.failures import FailureCode, Operation

RESOLVE_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 7.0

_look_ups = BlockingCalls(limit=16)
"""The system's resolver blocks. A dead one takes these threads and no others."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """One way out of the school. Without ``device`` and ``source`` the box's own routes decide.

    With a ``permit`` only the addresses it allows are talked to; without one, all. With ``resolvers`` names are asked
    of these, on the uplink; without, of the system, by whichever way the box's own routes lead.
    """

    name: str = "main"
    device: str | None = None
    source: str | None = None
    permit: Permit | None = None
    resolvers: tuple[str, ...] | None = None


class Binding(NamedTuple):
    """What holds probes to one of several uplinks beside its settings, found out anew each time.

    ``device`` is the one that has the uplink's source address, where no device is set: an address alone would leave by
    the default route, whoever that belongs to. ``resolvers`` are the name servers that can be asked there.
    """

    device: str | None = None
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """One IP address a name resolved to."""

    family: socket.AddressFamily
    host: str
    scope_id: int = 0

    def sockaddr(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return what ``connect`` and ``sendto`` take."""
        if self.family == socket.AF_INET6:
            return (self.host, port, 0, self.scope_id)
        return (self.host, port)


def plain_name(host: str) -> str | bytes:
    """Return ``host`` as resolver and TLS take it without more ado.

    Python puts every ``str`` through IDNA, which needs tables that take 0.4 MB (measured); bytes go as they are.
    """
    return host.encode("ascii") if host.isascii() else host


async def resolve(host: str, timeout_s: float = RESOLVE_TIMEOUT_S) -> list[Address]:
    """Ask the system's resolver, anew each time, for all addresses of ``host`` in the system's order of preference.

    Raises :class:`NetworkFailure` with operation ``resolve``; the list is never empty.
    """
    try:
        async with asyncio.timeout(timeout_s):
            infos = await _look_ups.run(socket.getaddrinfo, plain_name(host), None, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_TIMEOUT) from error
    except (OSError, UnicodeError) as error:
        raise network_failure(Operation.RESOLVE, error) from error
    addresses = [
        Address(family, str(sockaddr[0]), int(sockaddr[3]) if len(sockaddr) == 4 else 0)
        for family, _, _, _, sockaddr in infos
    ]
    return list(dict.fromkeys(addresses))


async def resolve_on(
    host: str, uplink: Uplink, resolve: Callable[[str], Awaitable[list[Address]]] = resolve
) -> list[Address]:
    """Return the addresses of ``host``, asked on ``uplink`` if it has resolvers of its own, else by ``resolve``.

    Raises :class:`NetworkFailure`; the list is never empty.
    """
    if uplink.resolvers is None or _is_literal(host):
        return await resolve(host)
    # Imported late: a box with one uplink asks as all its programs do.
    from linkbell_agent.probes.names import addresses_on, is_in_hosts_file

    return await (resolve(host) if is_in_hosts_file(host) else addresses_on(host, uplink))


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def usable_addresses(addresses: Sequence[Address], uplink: Uplink, host: str = "") -> list[Address]:
    """Return the addresses of ``host`` that ``uplink`` can reach and may: of its source address' family, and permitted.

    Raises :class:`NetworkFailure` if there is none: with operation ``bind``, or ``connect`` where it is prohibited.
    """
    usable = list(addresses)
    if uplink.source is not None:
        family = _family_of(uplink.source)
        usable = [address for address in usable if address.family == family]
        if not usable:
            raise NetworkFailure(Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE)
    if uplink.permit is not None:
        usable = [address for address in usable if uplink.permit.allows(address.host, host)]
        if not usable:
            raise NetworkFailure(Operation.CONNECT, FailureCode.PROHIBITED)
    return usable


def _family_of(source: str) -> socket.AddressFamily:
    try:
        version = ipaddress.ip_address(source.partition("%")[0]).version
    except ValueError as error:
        raise NetworkFailure(Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE) from error
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def bind_to_uplink(sock: socket.socket, uplink: Uplink) -> None:
    """Make ``sock`` use ``uplink``. Raises :class:`NetworkFailure` with operation ``bind``."""
    try:
        if uplink.device is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, uplink.device.encode() + b"\0")
        if uplink.source is not None:
            sock.bind((uplink.source, 0))
    except OSError as error:
        raise network_failure(Operation.BIND, error) from error


def open_socket(address: Address, uplink: Uplink) -> socket.socket:
    """Return a non-blocking TCP socket of the address' family, bound to ``uplink``."""
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:
        raise network_failure(Operation.CONNECT, error) from error
    try:
        sock.setblocking(False)
        bind_to_uplink(sock, uplink)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(
    host: str, port: int, uplink: Uplink, *, timeout_s: float = CONNECT_TIMEOUT_S
) -> tuple[socket.socket, Address]:
    """Resolve ``host`` and return the first connection that succeeds, addresses tried in turn.

    The socket is non-blocking and has TCP_NODELAY. ``timeout_s`` holds for each of at most four addresses.
    Raises :class:`NetworkFailure`, the first address' one if all fail.
    """
    first: NetworkFailure | None = None
    for address in usable_addresses(await resolve_on(host, uplink), uplink, host)[:4]:
        try:
            return await _connect_to(address, port, uplink, timeout_s), address
        except NetworkFailure as failure:
            first = first or failure
    assert first is not None
    raise first


async def _connect_to(address: Address, port: int, uplink: Uplink, timeout_s: float) -> socket.socket:
    sock = open_socket(address, uplink)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address.sockaddr(port))
        with contextlib.suppress(OSError):  # a socket without it still works
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:  # TimeoutError is one
        sock.close()
        raise network_failure(Operation.CONNECT, error) from error
    except BaseException:
        sock.close()
        raise
    return sock
