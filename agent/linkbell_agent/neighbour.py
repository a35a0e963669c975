"""Does a host on the same network answer address resolution, whatever it thinks of pings?

With the right to raw packets an ARP request is sent and its reply awaited (RFC 826): certain, and at once. Without it,
or over IPv6, the kernel is watched doing the same: a packet for a neighbour it has not heard of lately makes it ask,
five seconds later if it had an answer before (net.ipv4.neigh.*.delay_first_probe_time), and it writes down what came.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from linkbell_agent import netlink
from linkbell_agent.net import Address, Uplink, bind_to_uplink
from linkbell_agent.netlink import Neighbour
from linkbell_agent.slim import dataclass
from linkbell_wire.words import NeighbourState

ARP_REQUESTS = 3
ARP_SPACING_S = 0.4
SETTLES_WITHIN_S = 8.0
"""Five seconds of waiting and three questions of a second each."""

LOOK_AGAIN_S = 0.25
DISCARD_PORT = 9

_ETHER_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_BROADCAST = b"\xff" * 6
_ASKING = netlink.NUD_INCOMPLETE | netlink.NUD_DELAY | netlink.NUD_PROBE


@dataclass(frozen=True, slots=True)
class NeighbourNetwork:
    """The outside world as this module sees it. Tests hand in others."""

    raw_socket: Callable[[], socket.socket] = lambda: socket.socket(
        socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETHER_ARP)
    )
    table: Callable[[int], list[Neighbour]] = netlink.neighbours


_SYSTEM = NeighbourNetwork()


async def neighbour_state(
    address: Address, uplink: Uplink, since_s: float = 0.0, network: NeighbourNetwork = _SYSTEM
) -> NeighbourState | None:
    """Say whether ``address`` answers; ``None`` if that cannot be found out. Nothing is raised.

    ``since_s`` is for how long packets have been sent to it: what the kernel heard within that time is news.
    """
    device = netlink.device_towards(address, uplink)
    if device is None:
        return None
    if address.family == socket.AF_INET:
        with contextlib.suppress(OSError):  # no right to raw packets, or a device without addresses
            return await _ask(address.host, device, network)
    try:
        return await _watch(address, uplink, device, since_s, network)
    except (OSError, struct.error):
        return None


async def _ask(host: str, device: str, network: NeighbourNetwork) -> NeighbourState:
    """Send ARP requests until one is answered. Raises ``OSError``."""
    wanted = socket.inet_aton(host)
    with contextlib.closing(network.raw_socket()) as sock:
        sock.setblocking(False)
        sock.bind((device, _ETHER_ARP))
        mac = sock.getsockname()[4]
        if len(mac) != 6:
            raise OSError("the device has no Ethernet address")
        question = arp_request(mac, _own_address(device, wanted), wanted)
        for _ in range(ARP_REQUESTS):
            sock.sendto(question, (device, _ETHER_ARP, 0, 0, _BROADCAST))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ARP_SPACING_S):
                    await _reply_from(sock, wanted)
                    return NeighbourState.ANSWERS
    return NeighbourState.SILENT


async def _reply_from(sock: socket.socket, wanted: bytes) -> None:
    loop = asyncio.get_running_loop()
    while not is_arp_reply(await loop.sock_recv(sock, 128), wanted):
        pass


def arp_request(mac: bytes, own: bytes, wanted: bytes) -> bytes:
    """Return the question who has ``wanted``."""
    return _ARP.pack(1, 0x0800, 6, 4, 1, mac, own, b"\0" * 6, wanted)


def is_arp_reply(packet: bytes, wanted: bytes) -> bool:
    """Say whether ``wanted`` itself answers here."""
    if len(packet) < _ARP.size:
        return False
    _, protocol, _, _, operation, _, sender, _, _ = _ARP.unpack_from(packet)
    return bool(protocol == 0x0800 and operation == 2 and sender == wanted)


def _own_address(device: str, wanted: bytes) -> bytes:
    """Return an address of the device to ask from, best one of the same network: some answer nobody else."""
    index = socket.if_nametoindex(device)
    own = [one for one in netlink.own_addresses() if one.device == index and "." in one.address]
    if not own:
        raise OSError("the device has no IPv4 address")
    packed = [socket.inet_aton(one.address) for one in own]
    return max(packed, key=lambda one: _common_bits(one, wanted))


def _common_bits(one: bytes, other: bytes) -> int:
    return 32 - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


async def _watch(
    address: Address, uplink: Uplink, device: str, since_s: float, network: NeighbourNetwork
) -> NeighbourState | None:
    """Make the kernel ask, and read what it found out. Raises ``OSError``."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    index = socket.if_nametoindex(device)
    _provoke(address, uplink)
    while True:
        elapsed_s = loop.time() - started_s
        entry = _entry(address, index, network)
        state = judge(entry, since_s + elapsed_s)
        still_asking = entry is not None and entry.state & _ASKING
        if state is not None or not still_asking or elapsed_s > SETTLES_WITHIN_S:
            return state
        await asyncio.sleep(LOOK_AGAIN_S)


def judge(entry: Neighbour | None, since_s: float) -> NeighbourState | None:
    """Read an entry of the table; ``None`` if it tells nothing that was not known ``since_s`` seconds ago."""
    if entry is None or entry.state & (netlink.NUD_NOARP | netlink.NUD_PERMANENT):
        return None
    if entry.state & netlink.NUD_FAILED:
        return NeighbourState.SILENT
    has_answer = entry.state & (netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE)
    if has_answer and entry.confirmed_s is not None and entry.confirmed_s < since_s:
        return NeighbourState.ANSWERS
    return None


def _entry(address: Address, index: int, network: NeighbourNetwork) -> Neighbour | None:
    wanted = address.host.partition("%")[0]
    found = network.table(address.family)
    return next((entry for entry in found if entry.address == wanted and entry.device == index), None)


def _provoke(address: Address, uplink: Uplink) -> None:
    """Send one empty datagram: the kernel has to know where to."""
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(address.family, socket.SOCK_DGRAM)) as sock:
        sock.setblocking(False)
        bind_to_uplink(sock, uplink)
        sock.sendto(b"", address.sockaddr(DISCARD_PORT))
