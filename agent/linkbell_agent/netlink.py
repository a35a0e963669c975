"""What the kernel knows of routes, addresses and neighbours, asked over rtnetlink(7). Changes nothing."""

import ipaddress
import socket
import struct
from collections.abc import Iterator

from linkbell_agent.net import Address, Uplink
from linkbell_agent.slim import dataclass

_NETLINK_ROUTE = 0
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_GETADDR, _RTM_NEWADDR = 22, 20
RTM_GETROUTE, RTM_NEWROUTE = 26, 24
_RTM_GETNEIGH, _RTM_NEWNEIGH = 30, 28
_RTA_DST, _RTA_SRC, RTA_OIF = 1, 2, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NDA_DST, _NDA_LLADDR, _NDA_CACHEINFO = 1, 2, 3
HEADER = struct.Struct("=IHHII")
ROUTE = struct.Struct("=BBBBBBBBI")
_IFADDR = struct.Struct("=BBBBI")
_NEIGHBOUR = struct.Struct("=BBHiHBB")
_ATTRIBUTE = struct.Struct("=HH")
_INDEX = struct.Struct("=I")
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


def device_towards(address: Address, uplink: Uplink) -> str | None:
    """Return the device that packets of ``uplink`` for ``address`` leave by; ``None`` if the kernel knows no way."""
    if uplink.device is not None:
        return uplink.device
    try:
        with open_netlink() as sock:
            sock.send(route_request(address, uplink.source))
            index = outgoing_index(sock.recv(8192))
        return None if index is None else socket.if_indextoname(index)
    except (OSError, ValueError, struct.error):
        return None


def neighbours(family: int) -> list[Neighbour]:
    """Return the neighbour table of one family of addresses. Raises ``OSError``."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0, 0)
    found = (_neighbour(message) for message in dump(_RTM_GETNEIGH, body, _RTM_NEWNEIGH))
    return [entry for entry in found if entry is not None]


def own_addresses() -> list[OwnAddress]:
    """Return all addresses of this box, loopback's included. Raises ``OSError``."""
    found = (_own_address(message) for message in dump(_RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0), _RTM_NEWADDR))
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
        attributes += _ATTRIBUTE.pack(_ATTRIBUTE.size + _INDEX.size, RTA_OIF) + _INDEX.pack(device)
    body = ROUTE.pack(address.family, bits, source_bits, 0, 0, 0, 0, 0, 0) + attributes
    return HEADER.pack(HEADER.size + len(body), RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def outgoing_index(reply: bytes) -> int | None:
    """Return the number of the device in the kernel's answer, ``None`` if that was no route."""
    if len(reply) < HEADER.size + ROUTE.size:
        return None
    length, kind, *_ = HEADER.unpack_from(reply)
    if kind != RTM_NEWROUTE:
        return None
    return number(attributes_of(reply[: min(length, len(reply))], HEADER.size + ROUTE.size), RTA_OIF)


def number(attributes: dict[int, bytes], kind: int) -> int | None:
    value = attributes.get(kind, b"")
    return int(_INDEX.unpack(value)[0]) if len(value) == _INDEX.size else None


def messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the messages of a datagram, each as its kind and what follows its header. Ends at what makes no sense."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, *_ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            return
        yield kind, datagram[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def dump(request: int, body: bytes, expected: int) -> Iterator[bytes]:
    with open_netlink() as sock:
        sock.send(HEADER.pack(HEADER.size + len(body), request, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body)
        while True:
            for kind, message in messages(sock.recv(65_536)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if kind == expected:
                    yield message


def open_netlink() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
    sock.settimeout(_TIMEOUT_S)
    return sock


def _neighbour(message: bytes) -> Neighbour | None:
    if len(message) < _NEIGHBOUR.size:
        return None
    family, _, _, device, state, _, _ = _NEIGHBOUR.unpack_from(message)
    attributes = attributes_of(message, _NEIGHBOUR.size)
    address = address_text(family, attributes.get(_NDA_DST, b""))
    times = attributes.get(_NDA_CACHEINFO, b"")
    confirmed_s = _INDEX.unpack_from(times)[0] / _TICKS_PER_S if len(times) >= _INDEX.size else None
    return None if address is None else Neighbour(device, address, state, confirmed_s)


def _own_address(message: bytes) -> OwnAddress | None:
    if len(message) < _IFADDR.size:
        return None
    family, prefix_length, _, _, device = _IFADDR.unpack_from(message)
    attributes = attributes_of(message, _IFADDR.size)
    # On a point-to-point line IFA_ADDRESS is the other end; IFA_LOCAL is always ours.
    address = address_text(family, attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b"")))
    return None if address is None else OwnAddress(device, address, prefix_length)


def attributes_of(message: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, offset)
        if size < _ATTRIBUTE.size or offset + size > len(message):
            break
        found[kind] = message[offset + _ATTRIBUTE.size : offset + size]
        offset += (size + 3) & ~3
    return found


def address_text(family: int, packed: bytes) -> str | None:
    try:
        return socket.inet_ntop(family, packed)
    except (OSError, ValueError):
        return None


def _address(kind: int, family: int, host: str) -> bytes:
    packed = socket.inet_pton(family, host.partition("%")[0])
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), kind) + packed
