"""The provider's first hop: which address it is, and the kernel's words for it."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.first_hop import Hop, candidates, hops_towards, offender_of
from linkbell_agent.net import Uplink


def error(origin: int = 2, kind: int = 11, family: int = socket.AF_INET, address: str = "100.64.0.1") -> bytes:
    head = struct.pack("=IBBBxII", 113, origin, kind, 0, 0, 0)
    return head + struct.pack("=HH", family, 0) + socket.inet_aton(address) + bytes(8)


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ([(1, "192.168.1.1"), (2, "100.64.0.1"), (3, "203.0.113.1")], ["100.64.0.1", "203.0.113.1"]),
        ([(2, "10.0.0.1")], ["10.0.0.1"]),
        ([(1, "192.168.1.254"), (2, "192.168.100.1")], ["192.168.100.1"]),
        ([(1, "203.0.113.7"), (2, "203.0.113.7"), (3, "203.0.113.1")], ["203.0.113.1"]),
        ([(1, "192.168.1.1"), (2, "192.168.1.1"), (3, "1.1.1.1")], []),
        ([(2, "10.0.0.1"), (3, "10.0.0.1")], ["10.0.0.1"]),
        ([], []),
    ],
)
def test_it_is_beyond_the_gateway_whatever_its_address(hops: list[tuple[int, str]], expected: list[str]) -> None:
    assert candidates([Hop(*hop) for hop in hops], "192.168.1.1", "1.1.1.1") == expected


def test_who_reported_a_short_life_is_read_and_other_errors_are_not() -> None:
    assert offender_of(error()) == "100.64.0.1"
    for other in (error(origin=1), error(kind=3), error(family=socket.AF_INET6), error()[:20], b""):
        assert offender_of(other) is None


@given(st.binary(max_size=64))
def test_no_bytes_break_it(data: bytes) -> None:
    offender_of(data)


@pytest.mark.parametrize(
    ("destination", "uplink"),
    [
        ("127.0.0.1", Uplink()),
        ("127.0.0.1", Uplink(device="nosuch0")),
        ("no address", Uplink()),
    ],
)
async def test_a_way_without_hops_has_none(destination: str, uplink: Uplink) -> None:
    assert await hops_towards(destination, uplink, wait_s=0.1) == []
