"""Which addresses a collector may have this box talk to. Pure.

Public ones, and of the private ones those of the school's own network, what the box found by itself (gateway, name
servers, the provider's first hop), and what the settings of the box allow. Asked with the address that is about to be
used, after the name was looked up: a public name may lead to a private address.
"""

import ipaddress
from collections.abc import Iterable

from linkbell_agent.slim import dataclass

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in IPv6's clothes."""


@dataclass(frozen=True, slots=True)
class Permit:
    """``networks`` are allowed besides the public addresses; ``hosts`` are trusted by name, wherever they lead.

    Hosts come from the settings of the box and from its enrolment, never from the collector's configuration.
    """

    networks: tuple[IpNetwork, ...] = ()
    hosts: frozenset[str] = frozenset()

    def allows(self, address: str, host: str = "") -> bool:
        """Say whether ``address``, to which ``host`` has led, may be talked to."""
        try:
            found = plain(address)
        except ValueError:
            return False
        return host.lower() in self.hosts or is_public(found) or any(found in network for network in self.networks)


def permit(networks: Iterable[str], addresses: Iterable[str | None], hosts: Iterable[str | None]) -> Permit:
    """Return a permit for networks (``10.0.0.0/8``) and single addresses; what is none is left out."""
    found = [network for text in (*networks, *addresses) if text and (network := _network(text)) is not None]
    return Permit(tuple(dict.fromkeys(found)), frozenset(host.lower() for host in hosts if host))


def plain(address: str) -> IpAddress:
    """Return an address without its zone, and the IPv4 address where an IPv6 one only wraps it.

    Raises ``ValueError`` for what is no address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return found
    wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
    if wrapped is None and found in _NAT64:
        wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return wrapped or found


def is_public(address: IpAddress) -> bool:
    """Say whether an address is one of the Internet's: not private, shared, loopback, link-local or multicast."""
    return address.is_global and not address.is_multicast


def _network(text: str) -> IpNetwork | None:
    try:
        return ipaddress.ip_network(text.partition("%")[0], strict=False)
    except ValueError:
        return None
