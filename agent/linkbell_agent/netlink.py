"""What the kernel knows of routes, addresses and neighbours, asked over rtnetlink(7). Changes nothing."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from linkbell_agent.net import Address, Uplink

_NETLINK_ROUTE = 0
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_GETADDR, _RTM_NEWADDR = 22, 20
_RTM_GETROUTE, _RTM_NEWROUTE = 26, 24
_RTM_GETNEIGH, _RTM_NEWNEIGH = 30, 28
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 2, 4, 5, 6, 7
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO = 1, 2, 3
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_IFADDR = struct.Struct("=BBBBI")
_NEIGHBOUR = struct.Struct("=BBHiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_INDEX = struct.Struct("=I")
_RTN_UNICAST, _TABLE_MAIN = 1, 254
_TIMEOUT_S = 1.0
_TICKS_PER_S = 100
"""USER_HZ, in which the kernel tells times to programs."""

NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE, NUD_FAILED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of the kernel's neighbour table; ``confirmed_s`` is how long ago the neighbour was last heard of."""

    device: int
    address: str
    state: int
    confirmed_s: float | None


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """One address of this box and the network it stands in (``192.168.1.7/24``)."""

    device: int
    address: str
    prefix_length: int

    @property
    def network(self) -> str:
        """The network, as ``192.168.1.0/24``."""
        return str(ipaddress.ip_network(f"{self.address}/{self.prefix_length}", strict=False))


@dataclass(frozen=True, slots=True)
class Way:
    """How packets leave: by which device, to which router if there is one, and from which address."""

    device: str
    gateway: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A way for everything that has none of its own, in the main table or one that rules lead to (ip-rule(8))."""

    device: str
    gateway: str | None
    metric: int
    is_main: bool


def way_towards(address: Address, uplink: Uplink) -> Way | None:
    """Return how packets of ``uplink`` for ``address`` leave, rules for their source or device (ip-rule(8)) included.

    ``None`` if the kernel knows no way. Of a device without a route it says that the address is on its own network.
    """
    try:
        index = 0 if uplink.device is None else socket.if_nametoindex(uplink.device)
        with _socket() as sock:
            sock.send(route_request(address, uplink.source, index))
            route = _route(address.family, sock.recv(8192))
    except (OSError, ValueError, struct.error):
        return None
    return route


def default_routes(family: int) -> list[DefaultRoute]:
    """Return the default routes of all tables, the smallest metric first; none if the kernel does not tell."""
    found = []
    try:
        for message in _dump(_RTM_GETROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), _RTM_NEWROUTE):
            its_family, bits, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message)
            attributes = _attributes(message, _ROUTE.size)
            index = _number(attributes, _RTA_OIF)
            if its_family == family and not bits and kind == _RTN_UNICAST and index is not None:
                gateway = _text(family, attributes.get(_RTA_GATEWAY, b""))
                metric = _number(attributes, _RTA_PRIORITY) or 0
                found.append(DefaultRoute(socket.if_indextoname(index), gateway, metric, table == _TABLE_MAIN))
    except (OSError, struct.error):
        pass
    return sorted(found, key=lambda route: route.metric)


def device_towards(address: Address, uplink: Uplink) -> str | None:
    """Return the device that packets of ``uplink`` for ``address`` leave by; ``None`` if the kernel knows no way."""
    if uplink.device is not None:
        return uplink.device
    try:
        with _socket() as sock:
            sock.send(route_request(address, uplink.source))
            index = outgoing_index(sock.recv(8192))
        return None if index is None else socket.if_indextoname(index)
    except (OSError, ValueError, struct.error):
        return None


def neighbours(family: int) -> list[Neighbour]:
    """Return the neighbour table of one family of addresses. Raises ``OSError``."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0, 0)
    found = (_neighbour(message) for message in _dump(_RTM_GETNEIGH, body, _RTM_NEWNEIGH))
    return [entry for entry in found if entry is not None]


def own_addresses() -> list[OwnAddress]:
    """Return all addresses of this box, loopback's included. Raises ``OSError``."""
    found = (_own_address(message) for message in _dump(_RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), _RTM_NEWADDR))
    return [address for address in found if address is not None]


def own_networks(uplink: Uplink) -> list[str]:
    """Return the networks that the device of ``uplink`` has an address in; none if it cannot be told which that is."""
    try:
        own = own_addresses()
        devices = {one.device for one in own if one.address == uplink.source}
        if uplink.device is not None:
            devices = {socket.if_nametoindex(uplink.device)}
    except (OSError, struct.error):
        return []
    return list(dict.fromkeys(one.network for one in own if one.device in devices))


def route_request(address: Address, source: str | None, device: int = 0) -> bytes:
    """Return the message that asks for the route to ``address``. Raises ``OSError`` if an address is none.

    ``device`` is the number of the one to leave by, 0 for whichever it is.
    """
    attributes = _address(_RTA_DST, address.family, address.host)
    bits = 128 if address.family == socket.AF_INET6 else 32
    source_bits = 0
    if source is not None:
        attributes += _address(_RTA_SRC, address.family, source)
        source_bits = bits
    if device:
        attributes += _ATTRIBUTE.pack(_ATTRIBUTE.size + _INDEX.size, _RTA_OIF) + _INDEX.pack(device)
    body = _ROUTE.pack(address.family, bits, source_bits, 0, 0, 0, 0, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def outgoing_index(reply: bytes) -> int | None:
    """Return the number of the device in the kernel's answer, ``None`` if that was no route."""
    if len(reply) < _HEADER.size + _ROUTE.size:
        return None
    length, kind, *_ = _HEADER.unpack_from(reply)
    if kind != _RTM_NEWROUTE:
        return None
    return _number(_attributes(reply[: min(length, len(reply))], _HEADER.size + _ROUTE.size), _RTA_OIF)


def _route(family: int, reply: bytes) -> Way | None:
    index = outgoing_index(reply)
    if index is None:
        return None
    attributes = _attributes(reply[: _HEADER.unpack_from(reply)[0]], _HEADER.size + _ROUTE.size)
    gateway, source = (_text(family, attributes.get(kind, b"")) for kind in (_RTA_GATEWAY, _RTA_PREFSRC))
    return Way(socket.if_indextoname(index), gateway, source)


def _number(attributes: dict[int, bytes], kind: int) -> int | None:
    value = attributes.get(kind, b"")
    return int(_INDEX.unpack(value)[0]) if len(value) == _INDEX.size else None


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of a datagram, each as its kind and what follows its header. Ends at what makes no sense."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size or offset + length > len(datagram):
            return
        yield kind, datagram[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _dump(request: int, body: bytes, expected: int) -> Iterator[bytes]:
    with _socket() as sock:
        sock.send(_HEADER.pack(_HEADER.size + len(body), request, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body)
        while True:
            for kind, message in messages(sock.recv(65_536)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if kind == expected:
                    yield message


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
    sock.settimeout(_TIMEOUT_S)
    return sock


def _neighbour(message: bytes) -> Neighbour | None:
    if len(message) < _NEIGHBOUR.size:
        return None
    family, _, _, device, state, _, _ = _NEIGHBOUR.unpack_from(message)
    attributes = _attributes(message, _NEIGHBOUR.size)
    address = _text(family, attributes.get(_NDA_DST, b""))
    times = attributes.get(_NDA_CACHEINFO, b"")
    confirmed_s = _INDEX.unpack_from(times)[0] / _TICKS_PER_S if len(times) >= _INDEX.size else None
    return None if address is None else Neighbour(device, address, state, confirmed_s)


def _own_address(message: bytes) -> OwnAddress | None:
    if len(message) < _IFADDR.size:
        return None
    family, prefix_length, _, _, device = _IFADDR.unpack_from(message)
    attributes = _attributes(message, _IFADDR.size)
    # On a point-to-point line IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
    address = _text(family, attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b"")))
    return None if address is None else OwnAddress(device, address, prefix_length)


def _attributes(message: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, offset)
        if size < _ATTRIBUTE.size or offset + size > len(message):
            break
        found[kind] = message[offset + _ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3
    return found


def _text(family: int, packed: bytes) -> str | None:
    try:
        return socket.inet_ntop(family, packed)
    except (OSError, ValueError):
        return None


def _address(kind: int, family: int, host: str) -> bytes:
    packed = socket.inet_pton(family, host.partition("%")[0])
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), kind) + packed
