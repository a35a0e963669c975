"""The provider's first hop: the first router beyond the gateway that answers pings, whatever address it has.

Packets that live too short make each router on the way say who it is (RFC 792, "time exceeded"). The kernel hands such
errors to whoever sent the packet, without any privilege, through the error queue of a UDP socket (IP_RECVERR, ip(7)).
IPv4 only: there a school's addresses are private and its provider's first router is behind them.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Sequence

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.net import Uplink, bind_to_uplink
from linkbell_agent.slim import dataclass

FARTHEST_HOP = 5
PACKETS_PER_HOP = 2
SPACING_S = 0.02
WAIT_S = 1.5
BASE_PORT = 33_434
"""Where traceroute(8) begins: nobody listens there, and filters know it."""

_IP_TTL, _IP_RECVERR = 2, 11
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_ORIGIN_ICMP, _TIME_EXCEEDED = 2, 11
_MAX_MESSAGES = 64


@dataclass(frozen=True, slots=True)
class Hop:
    """A router ``ttl`` hops away."""

    ttl: int
    address: str


async def hops_towards(destination: str, uplink: Uplink, wait_s: float = WAIT_S) -> list[Hop]:
    """Return the routers that made themselves known on the way to an IPv4 address, nearest first, each hop once.

    Empty if none did, or the network would not have it; nothing is raised.
    """
    found: dict[int, str] = {}
    with contextlib.suppress(OSError, NetworkFailure, struct.error):
        await _find(destination, uplink, found, wait_s)
    return [Hop(ttl, found[ttl]) for ttl in sorted(found)]


async def _find(destination: str, uplink: Uplink, found: dict[int, str], wait_s: float) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        bind_to_uplink(sock, uplink)
        for number in range(FARTHEST_HOP * PACKETS_PER_HOP):
            _send(sock, destination, 1 + number % FARTHEST_HOP)
            await asyncio.sleep(SPACING_S)
        await _collect(sock, found, wait_s)


def candidates(hops: Sequence[Hop], gateway: str | None, destination: str, own: Sequence[str] = ()) -> list[str]:
    """Return the addresses that may be the provider's, nearest first: those beyond the gateway, private or not.

    The first hop of all is the gateway, even where it answers from another of its addresses.
    """
    beyond = [hop.address for hop in hops if hop.ttl > 1 and hop.address not in (gateway, destination, *own)]
    first = {hop.address for hop in hops if hop.ttl == 1}
    return [address for address in dict.fromkeys(beyond) if address not in first]


def _send(sock: socket.socket, destination: str, ttl: int) -> None:
    """The port says which hop a packet was for: errors come back with where they were sent to."""
    sock.setsockopt(socket.IPPROTO_IP, _IP_TTL, ttl)
    with contextlib.suppress(OSError):  # an earlier packet's error, which the queue holds as well
        sock.sendto(b"", (destination, BASE_PORT + ttl))


async def _collect(sock: socket.socket, found: dict[int, str], wait_s: float) -> None:
    """Read the error queue until every hop has answered, or the time is up."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    while loop.time() < deadline_s and len(found) < FARTHEST_HOP:
        _read_errors(sock, found)
        await asyncio.sleep(0.05)
    _read_errors(sock, found)


def _read_errors(sock: socket.socket, found: dict[int, str]) -> None:
    for _ in range(_MAX_MESSAGES):
        try:
            _, ancillary, _, destination = sock.recvmsg(64, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return
        ttl = int(destination[1]) - BASE_PORT
        for level, kind, data in ancillary:
            offender = offender_of(data) if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) else None
            if offender is not None and 1 <= ttl <= FARTHEST_HOP:
                found.setdefault(ttl, offender)


def offender_of(data: bytes) -> str | None:
    """Return who reported that a packet lived too short, from a struct sock_extended_err and what follows it."""
    if len(data) < _EXTENDED_ERROR.size + 8:
        return None
    _, origin, kind, _, _, _ = _EXTENDED_ERROR.unpack_from(data)
    (family,) = struct.unpack_from("=H", data, _EXTENDED_ERROR.size)
    if (origin, kind, family) != (_ORIGIN_ICMP, _TIME_EXCEEDED, socket.AF_INET):
        return None
    return socket.inet_ntoa(data[_EXTENDED_ERROR.size + 4 : _EXTENDED_ERROR.size + 8])
