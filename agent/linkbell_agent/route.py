"""The way out of the box as Linux has it: default gateways and name servers. Reads files, changes nothing.

Sources: proc_net(5) for ``/proc/net/route``, the kernel's net/ipv6/route.c for ``/proc/net/ipv6_route``,
resolv.conf(5). A line that makes no sense is passed over: half an answer is better than none.
"""

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

from linkbell_agent.kernel_files import text_of
from linkbell_agent.slim import dataclass

_RTF_UP, _RTF_GATEWAY, _RTF_REJECT = 0x0001, 0x0002, 0x0200
_ROUTE_FILE = Path("/proc/net/route")
_IPV6_ROUTE_FILE = Path("/proc/net/ipv6_route")
_RESOLV_CONF = Path("/etc/resolv.conf")
_SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
_NO_PREFIX = "0" * 32


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where packets for the Internet leave. Of several, the smallest ``metric`` of a family is used."""

    device: str
    address: str
    metric: int


def default_gateways(route_file: Path = _ROUTE_FILE, ipv6_route_file: Path = _IPV6_ROUTE_FILE) -> list[Gateway]:
    """Return the default gateways in use, IPv4 before IPv6, each in the order of preference.

    A line without a gateway (mobile and dial-up devices are like that) has none to return.
    """
    return [*parse_routes(text_of(route_file)), *parse_ipv6_routes(text_of(ipv6_route_file))]


def nameservers(resolv_conf: Path = _RESOLV_CONF, behind: Path = _SYSTEMD_RESOLV_CONF) -> list[str]:
    """Return the name servers this box asks, in order, without repetition; none if the file is not there.

    Where that is only a forwarder on the box itself, ``behind`` says whom systemd-resolved asks in turn.
    """
    found = parse_nameservers(text_of(resolv_conf))
    if found and all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found):
        found += parse_nameservers(text_of(behind))
    return list(dict.fromkeys(found))


def parse_routes(text: str) -> list[Gateway]:
    """Read ``/proc/net/route``, whose addresses are 32-bit numbers in this machine's byte order."""
    return _by_metric(_routes(text))


def parse_ipv6_routes(text: str) -> list[Gateway]:
    """Read ``/proc/net/ipv6_route``. A link-local gateway keeps its device: ``fe80::1%eth0``."""
    return _by_metric(_ipv6_routes(text))


def parse_nameservers(text: str) -> list[str]:
    """Read ``resolv.conf``: the ``nameserver`` lines that name an address."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1]):
            found.append(words[1])
    return list(dict.fromkeys(found))


def _routes(text: str) -> Iterator[Gateway]:
    for line in text.splitlines()[1:]:
        try:
            device, destination, gateway, flags, _, _, metric, mask = line.split()[:8]
            if int(destination, 16) or int(mask, 16) or not _leads_out(int(flags, 16)):
                continue
            packed = int(gateway, 16).to_bytes(4, sys.byteorder)
            yield Gateway(device, str(ipaddress.IPv4Address(packed)), int(metric))
        except (ValueError, OverflowError):
            continue


def _ipv6_routes(text: str) -> Iterator[Gateway]:
    for line in text.splitlines():
        try:
            destination, length, _, _, gateway, metric, _, _, flags, device = line.split()[:10]
            if destination != _NO_PREFIX or int(length, 16) or not _leads_out(int(flags, 16)):
                continue
            address = ipaddress.IPv6Address(bytes.fromhex(gateway))
            host = f"{address}%{device}" if address.is_link_local else str(address)
            yield Gateway(device, host, int(metric, 16))
        except ValueError:
            continue


def _leads_out(flags: int) -> bool:
    return bool(flags & _RTF_UP and flags & _RTF_GATEWAY and not flags & _RTF_REJECT)


def _by_metric(gateways: Iterator[Gateway]) -> list[Gateway]:
    return sorted(dict.fromkeys(gateways), key=lambda gateway: gateway.metric)


def is_address(word: str) -> bool:
    """Say whether ``word`` is an IP address."""
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
