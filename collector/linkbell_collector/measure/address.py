"""Whose connection it is, as far as an address tells. Pure."""

import ipaddress

_SUBSCRIBER_BITS = 64
"""Of IPv6 a subscriber has at least a /64 (RFC 6177), and so 2^64 addresses to come from."""


def subscriber(address: str) -> str:
    """Return what stands for all addresses of one client: an IPv4 address itself, the /64 of an IPv6 one.

    An IPv4 address that a socket for both shows as ``::ffff:192.0.2.1`` is the IPv4 one. What is no address is itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _SUBSCRIBER_BITS), strict=False))
