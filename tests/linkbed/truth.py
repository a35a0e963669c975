"""What a line could have carried, from the log that ``linkbed.c`` wrote, and what was done to it meanwhile."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from linkbell_wire.words import Direction

_BIN = struct.Struct("=qQdQQQQqQq")  # struct bin of linkbed.c
BIN_S = 0.01

MTU = 1500
HEADER_BYTES = 52
"""IPv4 and TCP with time stamps: what a full packet spends on itself."""

PAYLOAD_SHARE = (MTU - HEADER_BYTES) / MTU


@dataclass(frozen=True)
class Bin:
    """Ten milliseconds of one direction, from ``start_s`` on CLOCK_MONOTONIC."""

    start_s: float
    capacity_bits: float
    served_bytes: int
    lost_bytes: int
    dropped_bytes: int
    queued_bytes: int
    wait_s: float
    late_s: float
    others_bytes: int = 0

    @property
    def left_bits(self) -> float:
        """What was left to those who are not others, used or not."""
        return max(0.0, self.capacity_bits - self.others_bytes * 8)


class Truth:
    """The log of one line. Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share."""

    def __init__(self, down: Sequence[Bin], up: Sequence[Bin]) -> None:
        self._bins = {Direction.DOWNLOAD: down, Direction.UPLOAD: up}

    @classmethod
    def read(cls, log: Path) -> "Truth":
        """Read what has been logged so far; a record that is half written is left out."""
        data = log.read_bytes()
        ways: tuple[list[Bin], list[Bin]] = ([], [])
        whole = len(data) // _BIN.size * _BIN.size
        for start_ns, way, bits, served, lost, dropped, queued, wait_ns, others, late_ns in _BIN.iter_unpack(
            data[:whole]
        ):
            one = Bin(start_ns / 1e9, bits, served, lost, dropped, queued, wait_ns / 1e9, late_ns / 1e9, others)
            ways[way].append(one)
        return cls(*ways)

    def bins(self, direction: Direction, start_s: float, end_s: float) -> Sequence[Bin]:
        """Return the bins that lie within a stretch of time, at least one. Raises :class:`ValueError` without any."""
        bins = self._bins[direction]
        found = [one for one in bins if start_s <= one.start_s + BIN_S / 2 < end_s]
        if not found:
            raise ValueError(f"the log of {len(bins)} bins has nothing between {start_s} and {end_s}")
        return found

    def payload_bps(self, direction: Direction, start_s: float, end_s: float, delay_s: float = 0.0) -> float:
        """Return the TCP payload a full line would have delivered beside what it carried for others, in bits a second.

        ``delay_s`` is how long what was carried takes to the receiver, whose clock the stretch is on. Packets lost on
        the way count as what they are: carried for nothing.
        """
        start_s, end_s = start_s - delay_s, end_s - delay_s
        bits = sum(part * one.left_bits for one, part in self._parts(direction, start_s, end_s))
        return bits / (end_s - start_s) * PAYLOAD_SHARE * (1 - self.loss(direction, start_s, end_s))

    def loss(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return the share of what was carried that was lost on the way."""
        bins = self.bins(direction, start_s, end_s)
        served = sum(one.served_bytes for one in bins)
        return sum(one.lost_bytes for one in bins) / served if served else 0.0

    def mean_wait_s(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return how long a bystander's packet had to wait in the queue, on average."""
        bins = self.bins(direction, start_s, end_s)
        return sum(one.wait_s for one in bins) / len(bins)

    def carried_bytes(self, direction: Direction, start_s: float, end_s: float) -> int:
        """Return the bytes of IP packets carried, lost ones included."""
        return sum(one.served_bytes for one in self.bins(direction, start_s, end_s))

    def latest_s(self, start_s: float, end_s: float) -> float:
        """Return how late the emulator came at most: much more than a millisecond and the run says little."""
        return max(one.late_s for way in Direction for one in self.bins(way, start_s, end_s))

    def _parts(self, direction: Direction, start_s: float, end_s: float) -> Iterator[tuple[Bin, float]]:
        covered_s = 0.0
        for one in self._bins[direction]:
            part = min(end_s, one.start_s + BIN_S) - max(start_s, one.start_s)
            if part > 0:
                covered_s += part
                yield one, part / BIN_S
        if covered_s < (end_s - start_s) * 0.999:
            raise ValueError(f"the log covers {covered_s:.3f} s of the {end_s - start_s:.3f} s asked for")
