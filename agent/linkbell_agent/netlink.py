"""Which device packets for an address leave by, asked of the kernel's own routing (rtnetlink(7)). Changes nothing."""

import socket
import struct

from linkbell_agent.net import Address, Uplink

_NETLINK_ROUTE = 0
_RTM_NEWROUTE, _RTM_GETROUTE, _NLM_F_REQUEST = 24, 26, 1
_RTA_DST, _RTA_SRC, _RTA_OIF = 1, 2, 4
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_INDEX = struct.Struct("=I")
_TIMEOUT_S = 1.0


def device_towards(address: Address, uplink: Uplink) -> str | None:
    """Return the device that packets of ``uplink`` for ``address`` leave by; ``None`` if the kernel knows no way."""
    if uplink.device is not None:
        return uplink.device
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.send(route_request(address, uplink.source))
            index = outgoing_index(sock.recv(8192))
        return None if index is None else socket.if_indextoname(index)
    except (OSError, ValueError, struct.error):
        return None


def route_request(address: Address, source: str | None) -> bytes:
    """Return the message that asks for the route to ``address``. Raises ``OSError`` if an address is none."""
    attributes = _address(_RTA_DST, address.family, address.host)
    bits = 128 if address.family == socket.AF_INET6 else 32
    source_bits = 0
    if source is not None:
        attributes += _address(_RTA_SRC, address.family, source)
        source_bits = bits
    body = _ROUTE.pack(address.family, bits, source_bits, 0, 0, 0, 0, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body


def outgoing_index(reply: bytes) -> int | None:
    """Return the number of the device in the kernel's answer, ``None`` if that was no route."""
    if len(reply) < _HEADER.size + _ROUTE.size:
        return None
    length, kind, *_ = _HEADER.unpack_from(reply)
    offset, end = _HEADER.size + _ROUTE.size, min(length, len(reply))
    while kind == _RTM_NEWROUTE and offset + _ATTRIBUTE.size <= end:
        size, attribute = _ATTRIBUTE.unpack_from(reply, offset)
        if size < _ATTRIBUTE.size:
            return None
        if attribute == _RTA_OIF and offset + 8 <= len(reply):
            return int(_INDEX.unpack_from(reply, offset + _ATTRIBUTE.size)[0])
        offset += (size + 3) & ~3
    return None


def _address(kind: int, family: int, host: str) -> bytes:
    packed = socket.inet_pton(family, host.partition("%")[0])
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), kind) + packed
