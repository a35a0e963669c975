"""What a line could have carried, from the log that ``linkbed.c`` wrote, and what was done to it meanwhile.

Three things are told apart, each over a stretch of time:

* **Capacity**: what the line carries of anybody's IP packets at its sustained rate.
* **What was left**: what the tested hosts could have carried, which is capacity less what others did put through.
  Others whose packets found the queue full put less through, so a host that pushes is left with more. A measurement is
  held to this (:meth:`Truth.payload_bps`). Others are who ``Way.others`` says, and what goes over ``OTHERS_PORT``.
* **An allowance** above the sustained rate, which depends on use before. What a full line could have carried in a
  stretch is the lesser of its peak rate all the time, and its sustained rate plus what the allowance held when the
  stretch began: no more can come out of a bucket. A reading over just this stretch is held to that, too
  (:meth:`Truth.payload_bps`). What a school has for longer than a moment is the sustained rate
  (:meth:`Truth.sustained_bps`): floors, and what is said of the line as such, are held to it.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from linkbell_wire.words import Direction

_BIN = struct.Struct("=qQdQQQQqqdddQ")  # struct bin of linkbed.c
BIN_S = 0.01

MTU = 1500
HEADER_BYTES = 52
"""IPv4 and TCP with time stamps: what a full packet spends on itself."""

PAYLOAD_SHARE = (MTU - HEADER_BYTES) / MTU


@dataclass(frozen=True)
class Bin:
    """Ten milliseconds of one direction, from ``start_s`` on CLOCK_MONOTONIC.

    ``capacity_bits`` is at the sustained rate, ``peak_bits`` at the rate while an allowance lasts (``None``: as at the
    sustained). ``allowance_bytes`` is what it held as the bin began. What is served, lost and dropped is the tested
    hosts'; queue and wait are everybody's.
    """

    start_s: float
    capacity_bits: float
    served_bytes: int
    lost_bytes: int
    dropped_bytes: int
    queued_bytes: int
    wait_s: float
    late_s: float
    peak_bits: float | None = None
    allowance_bytes: float = 0.0
    others_bytes: float = 0.0
    others_dropped_bytes: int = 0

    @property
    def most_bits(self) -> float:
        """What the bin carries with an allowance, if the line has one."""
        return self.capacity_bits if self.peak_bits is None else self.peak_bits


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
        for start_ns, way, bits, served, lost, dropped, queued, wait_ns, late_ns, *more in _BIN.iter_unpack(
            data[:whole]
        ):
            one = Bin(start_ns / 1e9, bits, served, lost, dropped, queued, wait_ns / 1e9, late_ns / 1e9, *more)
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
        """Return the TCP payload that tested hosts which fill the line would have got through, in bits per second.

        It is what others left, an allowance included. ``delay_s`` is how long what was carried takes to the receiver,
        whose clock the stretch is on. Packets lost on the way count as what they are: carried for nothing.
        """
        start_s, end_s = start_s - delay_s, end_s - delay_s
        parts = list(self._parts(direction, start_s, end_s))
        bits = sum(part * one.capacity_bits for one, part in parts)
        spare_bits = 8 * self.allowance_bytes(direction, start_s)
        bits = min(bits + spare_bits, sum(part * one.most_bits for one, part in parts))
        return self._left_bps(bits, direction, start_s, end_s)

    def sustained_bps(self, direction: Direction, start_s: float, end_s: float, delay_s: float = 0.0) -> float:
        """Return the same without any allowance: what the line is like for longer than a moment."""
        start_s, end_s = start_s - delay_s, end_s - delay_s
        bits = sum(part * one.capacity_bits for one, part in self._parts(direction, start_s, end_s))
        return self._left_bps(bits, direction, start_s, end_s)

    def capacity_bps(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return what the line carries of anybody's IP packets at its sustained rate, in bits per second."""
        bits = sum(part * one.capacity_bits for one, part in self._parts(direction, start_s, end_s))
        return bits / (end_s - start_s)

    def others_bps(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return what others did put through, in bits per second of IP packets."""
        carried = sum(part * one.others_bytes for one, part in self._parts(direction, start_s, end_s))
        return 8 * carried / (end_s - start_s)

    def allowance_bytes(self, direction: Direction, at_s: float) -> float:
        """Return what the allowance held at a moment, 0 without one. Raises :class:`ValueError` before the log."""
        bins = self._bins[direction]
        after = bisect_right(bins, at_s, key=lambda one: one.start_s)
        if not after:
            raise ValueError(f"the log begins after {at_s}")
        here = bins[after - 1].allowance_bytes
        there = bins[after].allowance_bytes if after < len(bins) else here
        return here + (there - here) * min(1.0, (at_s - bins[after - 1].start_s) / BIN_S)

    def loss(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return the share of what the tested hosts got carried that was lost on the way."""
        bins = self.bins(direction, start_s, end_s)
        served = sum(one.served_bytes for one in bins)
        return sum(one.lost_bytes for one in bins) / served if served else 0.0

    def mean_wait_s(self, direction: Direction, start_s: float, end_s: float) -> float:
        """Return how long a bystander's packet had to wait in the queue, on average."""
        bins = self.bins(direction, start_s, end_s)
        return sum(one.wait_s for one in bins) / len(bins)

    def carried_bytes(self, direction: Direction, start_s: float, end_s: float) -> int:
        """Return the bytes of the tested hosts' IP packets carried, lost ones included."""
        return sum(one.served_bytes for one in self.bins(direction, start_s, end_s))

    def latest_s(self, start_s: float, end_s: float) -> float:
        """Return how late the emulator came at most: much more than a millisecond and the run says little."""
        return max(one.late_s for way in Direction for one in self.bins(way, start_s, end_s))

    def _left_bps(self, bits: float, direction: Direction, start_s: float, end_s: float) -> float:
        left_bps = bits / (end_s - start_s) - self.others_bps(direction, start_s, end_s)
        return left_bps * PAYLOAD_SHARE * (1 - self.loss(direction, start_s, end_s))

    def _parts(self, direction: Direction, start_s: float, end_s: float) -> Iterator[tuple[Bin, float]]:
        covered_s = 0.0
        for one in self._bins[direction]:
            part = min(end_s, one.start_s + BIN_S) - max(start_s, one.start_s)
            if part > 0:
                covered_s += part
                yield one, part / BIN_S
        if covered_s < (end_s - start_s) * 0.999:
            raise ValueError(f"the log covers {covered_s:.3f} s of the {end_s - start_s:.3f} s asked for")
