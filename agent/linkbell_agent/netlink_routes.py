"""How packets leave, as the kernel says over rtnetlink(7): rules and all tables included. Changes nothing."""

import socket
import struct

from linkbell_agent.net import Address, Uplink
from linkbell_agent.netlink import (
    HEADER,
    ROUTE,
    RTA_OIF,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    address_text,
    attributes_of,
    dump,
    number,
    open_netlink,
    outgoing_index,
    route_request,
)
from linkbell_agent.slim import dataclass

_RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 5, 6, 7
_RTN_UNICAST, _TABLE_MAIN = 1, 254


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
        with open_netlink() as sock:
            sock.send(route_request(address, uplink.source, index))
            route = _route(address.family, sock.recv(8192))
    except (OSError, ValueError, struct.error):
        return None
    return route


def default_routes(family: int) -> list[DefaultRoute]:
    """Return the default routes of all tables, the smallest metric first; none if the kernel does not tell."""
    found = []
    try:
        for message in dump(RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), RTM_NEWROUTE):
            its_family, bits, _, _, table, _, _, kind, _ = ROUTE.unpack_from(message)
            attributes = attributes_of(message, ROUTE.size)
            index = number(attributes, RTA_OIF)
            if its_family == family and not bits and kind == _RTN_UNICAST and index is not None:
                gateway = address_text(family, attributes.get(_RTA_GATEWAY, b""))
                metric = number(attributes, _RTA_PRIORITY) or 0
                found.append(DefaultRoute(socket.if_indextoname(index), gateway, metric, table == _TABLE_MAIN))
    except (OSError, struct.error):
        pass
    return sorted(found, key=lambda route: route.metric)


def _route(family: int, reply: bytes) -> Way | None:
    index = outgoing_index(reply)
    if index is None:
        return None
    attributes = attributes_of(reply[: HEADER.unpack_from(reply)[0]], HEADER.size + ROUTE.size)
    gateway, source = (address_text(family, attributes.get(kind, b"")) for kind in (_RTA_GATEWAY, _RTA_PREFSRC))
    return Way(socket.if_indextoname(index), gateway, source)
