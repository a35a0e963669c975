"""Who may see the page: the school's own network, by an address or a name of that network. Pure."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOCAL_ENDINGS = (".local", ".lan", ".localdomain", ".home.arpa", ".internal", ".localhost")
"""Nobody can register a name under these: RFC 6761, RFC 6762, RFC 8375, ICANN's reservation of ``.internal``."""

_SAME_LINK_BITS = 64
_NEAR = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
"""Loopback, private (RFC 1918, RFC 4193) and link-local. Python's ``is_private`` says yes to many more."""


def is_near(source: str, own: str, allowed: Sequence[Network] = ()) -> bool:
    """Say whether ``source`` is of the school's network: private, link-local, this box, or on the same IPv6 link.

    ``own`` is the address the request came in at. The shared addresses of a provider's own network (RFC 6598) are not
    private: the provider's other customers have them, too.
    """
    try:
        address, here = _address(source), _address(own)
    except ValueError:
        return False
    if any(address in network for network in (*_NEAR, *allowed) if network.version == address.version):
        return True
    return address.version == here.version == 6 and int(address) >> _SAME_LINK_BITS == int(here) >> _SAME_LINK_BITS


def is_own_name(host: str) -> bool:
    """Say whether a ``Host`` header names this box: by address, or by a name no stranger can own.

    A web site anywhere could give its own name this box's address, and its scripts could then read the page as if it
    were their own (DNS rebinding). Such a name has to be a registered one.
    """
    name = _without_port(host).lower().rstrip(".")
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return bool(name) and name.isascii() and ("." not in name or name.endswith(_LOCAL_ENDINGS)) and ":" not in name
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
