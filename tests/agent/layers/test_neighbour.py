"""Whether a neighbour answers: ARP's bytes, what the kernel's table tells, and the gateway probe on top."""

import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent import netlink
from linkbell_agent.clock import SystemClock
from linkbell_agent.neighbour import NeighbourNetwork, arp_request, is_arp_reply, judge, neighbour_state
from linkbell_agent.net import Address, Uplink
from linkbell_agent.netlink import Neighbour
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.probes.gateway import gateway_probe
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import PingRecord, Record
from linkbell_wire.words import Layer, NeighbourState
from tests.agent.layers.records import ping

MAC, OWN, WANTED = b"\x02\0\0\0\0\x01", bytes([192, 168, 1, 2]), bytes([192, 168, 1, 1])
REQUEST = TargetConfiguration(name="gateway", layer=Layer.GATEWAY, host="192.168.1.1")
CONTEXT = ProbeContext(Uplink(), SystemClock())


def test_an_arp_request_is_what_rfc_826_says() -> None:
    assert arp_request(MAC, OWN, WANTED) == bytes.fromhex(
        "0001 0800 06 04 0001 020000000001 c0a80102 000000000000 c0a80101"
    )


def test_only_a_reply_of_the_one_asked_for_is_one() -> None:
    reply = bytes.fromhex("0001 0800 06 04 0002 02000000aaaa c0a80101 020000000001 c0a80102")
    assert is_arp_reply(reply + bytes(18), WANTED)
    assert not is_arp_reply(reply, OWN)
    assert not is_arp_reply(reply[:7] + b"\1" + reply[8:], WANTED)
    assert not is_arp_reply(reply[:20], WANTED)


@given(st.binary(max_size=64))
def test_no_packet_breaks_it(packet: bytes) -> None:
    is_arp_reply(packet, WANTED)


def entry(state: int, confirmed_s: float | None = 1.0) -> Neighbour:
    return Neighbour(1, "192.168.1.1", state, confirmed_s)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (entry(netlink.NUD_REACHABLE), NeighbourState.ANSWERS),
        (entry(netlink.NUD_STALE), NeighbourState.ANSWERS),
        (entry(netlink.NUD_DELAY), NeighbourState.ANSWERS),
        (entry(netlink.NUD_REACHABLE, 9.0), None),  # heard before we asked: it may have died since
        (entry(netlink.NUD_DELAY, 9.0), None),
        (entry(netlink.NUD_REACHABLE, None), None),
        (entry(netlink.NUD_FAILED), NeighbourState.SILENT),
        (entry(netlink.NUD_INCOMPLETE), None),
        (entry(netlink.NUD_NOARP, 0.0), None),
        (entry(netlink.NUD_PERMANENT, 0.0), None),
        (None, None),
    ],
)
def test_only_what_the_kernel_heard_since_we_asked_is_news(
    found: Neighbour | None, expected: NeighbourState | None
) -> None:
    assert judge(found, 4.0) is expected


def no_raw_packets() -> socket.socket:
    raise PermissionError(1, "Operation not permitted")


def seen(*states: int) -> NeighbourNetwork:
    """A kernel that finds out step by step."""
    left = list(states)

    def table(_family: int) -> list[Neighbour]:
        state = left.pop(0) if len(left) > 1 else left[0]
        own = socket.if_nametoindex("lo")
        return [Neighbour(own, "127.0.0.9", state, 0.0 if state == netlink.NUD_REACHABLE else 99.0)]

    return NeighbourNetwork(no_raw_packets, table)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((netlink.NUD_DELAY, netlink.NUD_PROBE, netlink.NUD_REACHABLE), NeighbourState.ANSWERS),
        ((netlink.NUD_INCOMPLETE, netlink.NUD_FAILED), NeighbourState.SILENT),
        ((netlink.NUD_STALE,), None),
    ],
)
async def test_without_privilege_the_kernel_is_watched_until_it_knows(
    states: Sequence[int], expected: NeighbourState | None
) -> None:
    address = Address(socket.AF_INET, "127.0.0.9")
    assert await neighbour_state(address, Uplink(device="lo"), 1.0, seen(*states)) is expected


async def test_what_cannot_be_found_out_is_none() -> None:
    address = Address(socket.AF_INET, "127.0.0.9")

    def broken(_family: int) -> list[Neighbour]:
        raise OSError(22, "Invalid argument")

    assert await neighbour_state(address, Uplink(device="lo"), 1.0, NeighbourNetwork(no_raw_packets, broken)) is None
    assert await neighbour_state(address, Uplink(device="nosuch0"), 1.0, seen(0)) is None
    assert await neighbour_state(Address(socket.AF_INET, "no address"), Uplink(), 1.0, seen(0)) is None


class Asked:
    """Answers for the neighbour, and counts how often it was asked."""

    def __init__(self, state: NeighbourState | None) -> None:
        self.state = state
        self.times = 0

    async def __call__(self, address: Address, uplink: Uplink, since_s: float) -> NeighbourState | None:
        self.times += 1
        return self.state


async def probed(record: PingRecord, asked: Asked) -> PingRecord:
    async def fixed(_request: PingRequest, _context: ProbeContext) -> Record:
        return record

    found = await gateway_probe(fixed, asked)(PingRequest(REQUEST), CONTEXT)
    assert isinstance(found, PingRecord)
    return found


@pytest.mark.parametrize("state", [NeighbourState.ANSWERS, NeighbourState.SILENT, None])
async def test_a_gateway_without_a_reply_is_asked_by_arp(state: NeighbourState | None) -> None:
    asked = Asked(state)
    found = await probed(ping(Layer.GATEWAY, lost=10, address="192.168.1.1"), asked)
    assert (found.neighbour, found.received, found.failures) == (state, 0, {FailureCode.TIMEOUT: 10})
    assert asked.times == 1


@pytest.mark.parametrize(
    "record",
    [
        ping(Layer.GATEWAY, lost=9, address="192.168.1.1"),
        ping(Layer.GATEWAY, sent=0),
        ping(Layer.GATEWAY, lost=10, code=FailureCode.NETWORK_UNREACHABLE, address="192.168.1.1"),
    ],
)
async def test_nobody_is_asked_where_there_was_a_reply_or_no_way(record: PingRecord) -> None:
    asked = Asked(NeighbourState.ANSWERS)
    assert (await probed(record, asked)).neighbour is None
    assert asked.times == 0
