"""What the box sees of each of several uplinks: its device, router, networks, name servers, and what is wrong with it.

Asks the kernel, changes nothing. Of a box with one uplink everything is its own, and none of this is needed.
"""

import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from linkbell_agent import netlink
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.kernel_files import text_of
from linkbell_agent.net import Address, Binding, Uplink, bind_to_uplink
from linkbell_agent.netlink_routes import DefaultRoute, default_routes, way_towards
from linkbell_agent.plan import INTERNATIONAL_HOST, Surroundings
from linkbell_agent.route import is_address, nameservers
from linkbell_agent.sections import OneOfUplinks
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode

FAR = Address(socket.AF_INET, INTERNATIONAL_HOST)
FAR6 = Address(socket.AF_INET6, "2606:4700:4700::1111")
"""Where the way out is asked for: the same host."""

_IFF_UP, _IFF_POINTOPOINT, _IFF_NOARP = 0x1, 0x10, 0x80
_DEVICES = Path("/sys/class/net")
_LINK_FILES = (("/run/systemd/resolve/netif", "SERVERS="), ("/run/systemd/netif/links", "DNS="))
"""Where systemd-resolved(8) and systemd-networkd(8) keep the name servers of each link, by its number."""


class Trouble(StrEnum):
    """Why nothing can be measured on an uplink, or nothing beyond its router."""

    DEVICE_MISSING = "device_missing"
    DEVICE_DOWN = "device_down"
    NO_CARRIER = "no_carrier"
    SOURCE_MISSING = "source_missing"
    DENIED = "denied"
    NO_ADDRESS = "no_address"
    NO_ROUTE = "no_route"


SENTENCES = {
    Trouble.DEVICE_MISSING: "its network interface is not there",
    Trouble.DEVICE_DOWN: "its network interface is switched off",
    Trouble.NO_CARRIER: "its network interface has no link: cable, modem or antenna",
    Trouble.SOURCE_MISSING: "its source address is not on this box",
    Trouble.DENIED: "this user may not bind to its network interface (CAP_NET_RAW)",
    Trouble.NO_ADDRESS: "its network interface has no address",
    Trouble.NO_ROUTE: "no default route leads out by it, so nothing beyond its router can be reached",
}
"""For the log; ``doctor`` says it in the technician's language, and what to do."""

_NO_DEVICE = (Trouble.DEVICE_MISSING, Trouble.DEVICE_DOWN, Trouble.NO_CARRIER, Trouble.SOURCE_MISSING)


@dataclass(frozen=True, slots=True)
class WayOut:
    """One uplink as it is now. ``uplink`` is what probes are bound to; ``known`` are name servers certain to be its."""

    uplink: Uplink
    device: str | None
    gateway: str | None
    networks: Sequence[str]
    known: Sequence[str]
    addresses: Sequence[str] = ()
    is_direct: bool = False

    @property
    def surroundings(self) -> Surroundings:
        """The same for a plan, without a collector."""
        return Surroundings(
            gateway=self.gateway,
            nameservers=self.known,
            collector=None,
            networks=self.networks,
            binding=Binding(self.uplink.device, self.uplink.resolvers or ()),
            is_direct=self.is_direct,
        )


def way_out(way: OneOfUplinks, others: Sequence[OneOfUplinks]) -> WayOut:
    """Return what there is to know of ``way``; ``others`` are the box's other uplinks."""
    device = device_of(way)
    uplink = _held_to(way, device)
    own = _addresses_of(device)
    networks = list(dict.fromkeys(one.network for one in own))
    gateway = None if device is None else _gateway(uplink, device)
    known = list(way.resolvers or _of_link(device) or _shared(others))
    # Most routers answer for names as well. One that is only supposed to is asked, and not judged by that.
    asked = known or ([] if gateway is None else [gateway])
    return WayOut(
        uplink=replace(uplink, resolvers=tuple(asked)),
        device=device,
        gateway=gateway,
        networks=networks,
        known=known,
        addresses=[one.address for one in own],
        is_direct=gateway is None and bool(own) and _is_direct(device),
    )


def _addresses_of(device: str | None) -> list[netlink.OwnAddress]:
    try:
        index = socket.if_nametoindex(device or "")
        return [one for one in netlink.own_addresses() if one.device == index]
    except (OSError, struct.error):
        return []


def _held_to(way: OneOfUplinks, device: str | None) -> Uplink:
    """Return the uplink with its device, for an address alone leaves by the default route, whoever that belongs to.

    Where this user may not bind to devices, and rules (ip-rule(8)) lead the address out by its own, that will do.
    """
    held = Uplink(way.name, device, way.source)
    if way.device is None and way.source is not None and device is not None and _denied(held) is Trouble.DENIED:
        by_rule = replace(held, device=None)
        found = way_towards(FAR6 if ":" in way.source else FAR, by_rule)
        if found is not None and found.device == device:
            return by_rule
    return held


def device_of(way: OneOfUplinks) -> str | None:
    """Return the device of an uplink: the one set, or the one that has its source address now."""
    if way.device is not None or way.source is None:
        return way.device
    try:
        wanted = ipaddress.ip_address(way.source)
        index = next((one.device for one in netlink.own_addresses() if ipaddress.ip_address(one.address) == wanted), 0)
        return socket.if_indextoname(index) if index else None
    except (OSError, ValueError):
        return None


def trouble_with(way: OneOfUplinks) -> Trouble | None:
    """Return what is wrong with an uplink, nearest first; ``None`` if probes can be bound to it and it leads out."""
    device = device_of(way)
    if device is None or not (_DEVICES / device).exists():
        return Trouble.SOURCE_MISSING if device is None and way.device is None else Trouble.DEVICE_MISSING
    flags = _flags(device)
    if not flags & _IFF_UP:
        return Trouble.DEVICE_DOWN
    if text_of(_DEVICES / device / "carrier").strip() == "0":
        return Trouble.NO_CARRIER
    uplink = _held_to(way, device)
    denied = _denied(uplink)
    if denied is not None:
        return denied
    if not _addresses_of(device):
        return Trouble.NO_ADDRESS
    if not _is_direct(device) and _gateway(uplink, device, routed=True) is None:
        return Trouble.NO_ROUTE
    return None


def carrying(ways: Sequence[OneOfUplinks]) -> str | None:
    """Return the name of the uplink that the box's default route leaves by now; ``None`` if it is none of them.

    As the kernel chooses for a host far out, over IPv4 before IPv6; where that is another device, such as a tunnel's,
    by the default route with the smallest metric that is of an uplink.
    """
    devices = {way.name: device_of(way) for way in ways}
    for target in (FAR, FAR6):
        found = way_towards(target, Uplink())
        here = [] if found is None else [way for way in ways if devices[way.name] == found.device]
        if len(here) > 1 and found is not None:
            here = [way for way in here if way.source == found.source]
        if here:
            return here[0].name
    for route in _main_routes():
        name = next((way.name for way in ways if devices[way.name] == route.device), None)
        if name is not None:
            return name
    return None


def why_left(way: OneOfUplinks) -> str:
    """Return why the default route does not leave by ``way`` any more, in a word of the event ``failover``."""
    device = device_of(way)
    if trouble_with(way) in _NO_DEVICE:
        return "device_gone"
    return "other_preferred" if any(route.device == device for route in _main_routes()) else "route_gone"


def _main_routes() -> list[DefaultRoute]:
    """Return the default routes of the main table, IPv4 before IPv6."""
    return [route for target in (FAR, FAR6) for route in default_routes(target.family) if route.is_main]


def _gateway(uplink: Uplink, device: str, *, routed: bool = False) -> str | None:
    """Return the router of an uplink: as the kernel routes, else of any default route by its device.

    With ``routed`` only one that packets bound to the uplink are really sent to counts.
    """
    is_ipv6 = uplink.source is not None and ":" in uplink.source
    targets = (FAR6,) if is_ipv6 else (FAR, FAR6) if uplink.source is None else (FAR,)
    ways = [way_towards(target, uplink) for target in targets]
    found = next((way.gateway for way in ways if way is not None and way.gateway is not None), None)
    if found is None and not routed:
        routes = [route for target in targets for route in default_routes(target.family)]
        found = next((route.gateway for route in routes if route.device == device and route.gateway), None)
    return f"{found}%{device}" if found is not None and found.startswith("fe80:") else found


def _of_link(device: str | None) -> list[str]:
    """Return the name servers that the system keeps for one device."""
    try:
        index = socket.if_nametoindex(device or "")
    except OSError:
        return []
    for folder, key in _LINK_FILES:
        lines = text_of(Path(folder) / str(index)).splitlines()
        words = next((line.removeprefix(key).split() for line in lines if line.startswith(key)), [])
        found = [word.partition("#")[0] for word in words if is_address(word.partition("#")[0])]
        if found:
            return found
    return []


def _shared(others: Sequence[OneOfUplinks]) -> list[str]:
    """Return the box's name servers but those that stand in another uplink's network, or on the box itself."""
    elsewhere = [
        ipaddress.ip_network(text)
        for other in others
        for text in (one.network for one in _addresses_of(device_of(other)))
    ]
    servers = [(server, ipaddress.ip_address(server.partition("%")[0])) for server in nameservers()]
    return [
        server
        for server, address in servers
        if not address.is_loopback and not any(address in network for network in elsewhere)
    ]


def _denied(uplink: Uplink) -> Trouble | None:
    family = socket.AF_INET6 if uplink.source is not None and ":" in uplink.source else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            bind_to_uplink(sock, uplink)
    except NetworkFailure as failure:
        code = failure.failure.code
        if code is FailureCode.PERMISSION_DENIED:
            return Trouble.DENIED
        return Trouble.DEVICE_MISSING if code is FailureCode.UPLINK_UNAVAILABLE else Trouble.SOURCE_MISSING
    return None


def _is_direct(device: str | None) -> bool:
    """Say whether a device has one other end and no neighbours, as a modem's has."""
    flags = 0 if device is None else _flags(device)
    return bool(flags & _IFF_UP and flags & (_IFF_POINTOPOINT | _IFF_NOARP))


def _flags(device: str) -> int:
    try:
        return int(text_of(_DEVICES / device / "flags"), 16)
    except ValueError:
        return 0
