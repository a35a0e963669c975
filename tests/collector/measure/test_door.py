"""Connections of one address are counted, and each is forgotten when it is over."""

import asyncio

import pytest

from linkbell_collector.measure.door import Doors


class Wire(asyncio.Transport):
    """A transport that only knows who is at its other end, and keeps what is said to it."""

    def __init__(self, address: str) -> None:
        super().__init__({"peername": (address, 1)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


class Inner(asyncio.Protocol):
    """What serves connections."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.heard.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append("lost")


class House:
    """Doors with a limit, and what came through them."""

    def __init__(self, limit: int) -> None:
        self.inside: list[Inner] = []
        self.refused = 0
        self.doors = Doors(limit, self._serve, self._refuse)

    def _serve(self) -> Inner:
        self.inside.append(Inner())
        return self.inside[-1]

    def _refuse(self) -> None:
        self.refused += 1

    def connect(self, address: str) -> tuple[asyncio.Protocol, Wire]:
        door, wire = self.doors(), Wire(address)
        door.connection_made(wire)
        return door, wire


def test_one_too_many_is_told_when_to_come_back_and_others_come_in() -> None:
    house = House(2)
    for _ in range(2):
        assert not house.connect("2001:db8::1")[1].closed
    door, wire = house.connect("2001:db8::2")  # the same /64
    assert wire.closed
    assert wire.written.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 15\r\n" in wire.written
    assert b'"code":"busy"' in wire.written
    door.data_received(b"GET / HTTP/1.1\r\n\r\n")  # what was under way already
    door.connection_lost(None)
    assert (house.refused, len(house.inside)) == (1, 2)
    assert not house.connect("2001:db8:0:1::1")[1].closed


def test_who_leaves_makes_room_once_and_is_forgotten() -> None:
    house = House(1)
    door, _ = house.connect("192.0.2.1")
    door.data_received(b"hello")
    door.connection_lost(None)
    door.connection_lost(None)
    assert house.inside[0].heard == ["made", b"hello", "lost"]
    assert house.doors.addresses == 0
    assert not house.connect("192.0.2.1")[1].closed
    assert house.connect("192.0.2.1")[1].closed
    assert house.doors.addresses == 1


@pytest.mark.parametrize("many", [300])
def test_without_a_limit_all_come_in(many: int) -> None:
    house = House(0)
    assert not any(house.connect("192.0.2.1")[1].closed for _ in range(many))
