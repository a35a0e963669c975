"""How much had arrived by when, and how steep that is. Pure.

Arrivals are counted in packets by the receiver's kernel, retransmitted and out-of-order ones included: payload in order
stands still behind every lost packet, and what stands still is no measure of a line.
"""

import math
from bisect import bisect_left, bisect_right

from linkbell_agent.slim import dataclass
from linkbell_wire import floor
from linkbell_wire.ndt7.tcp_info import TcpInfo

BLOCKS = 8
"""A window's slopes are compared among so many equal parts of it."""

STUDENT_95 = 2.36
"""Student's t for 95 % on both sides and BLOCKS - 1 degrees of freedom."""

LEAST_PACKETS = 20


@dataclass(frozen=True, slots=True)
class Slope:
    """Arrivals a second over one window, and the standard error of that."""

    per_s: float
    error_per_s: float


class Curve:
    """Samples in order of time: seconds since the check began, and a count that never falls."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.counts: list[float] = []

    def add(self, elapsed_s: float, arrived: float) -> None:
        """Add one sample; one that is not later than the last takes its place."""
        if self.counts:
            arrived = max(arrived, self.counts[-1])
            if elapsed_s <= self.times_s[-1]:
                self.counts[-1] = arrived
                return
        self.times_s.append(elapsed_s)
        self.counts.append(arrived)

    @property
    def last_s(self) -> float:
        """When the last sample was taken, 0 without any."""
        return self.times_s[-1] if self.times_s else 0.0

    @property
    def last_arrival_s(self) -> float:
        """When the count last rose, 0 if it never did."""
        if not self.counts:
            return 0.0
        return self.times_s[bisect_left(self.counts, self.counts[-1])] if self.counts[-1] > 0 else 0.0

    def at(self, elapsed_s: float) -> float:
        """Return the count at a moment, on straight lines between samples."""
        after = bisect_left(self.times_s, elapsed_s)
        if after == 0:
            return self.counts[0] if self.counts else 0.0
        if after == len(self.times_s):
            return self.counts[-1]
        t0, t1 = self.times_s[after - 1], self.times_s[after]
        c0, c1 = self.counts[after - 1], self.counts[after]
        return c0 + (c1 - c0) * (elapsed_s - t0) / (t1 - t0)

    def mean_per_s(self, start_s: float, end_s: float) -> float:
        """Return arrivals a second between two moments."""
        return (self.at(end_s) - self.at(start_s)) / (end_s - start_s) if end_s > start_s else 0.0

    def steepest_per_s(self, length_s: float, start_s: float, end_s: float) -> float:
        """Return the most arrivals a second over any stretch of ``length_s`` within a window, 0 if none fits."""
        first, last = bisect_left(self.times_s, start_s + length_s), bisect_right(self.times_s, end_s)
        return max((self.mean_per_s(at - length_s, at) for at in self.times_s[first:last]), default=0.0)

    def slope(self, start_s: float, end_s: float) -> Slope | None:
        """Return the least-squares slope of a window, ``None`` with fewer than two samples a block.

        Least squares looks at all samples: jitter that moves the first and the last packet hardly moves the slope. Its
        error is taken from the scatter of the blocks' own rates, which has all kinds of unsteadiness in it.
        """
        first, last = bisect_left(self.times_s, start_s), bisect_right(self.times_s, end_s)
        count = last - first
        if count < 2 * BLOCKS:
            return None
        times, counts = self.times_s[first:last], self.counts[first:last]
        mean_t, mean_c = sum(times) / count, sum(counts) / count
        spread = sum((t - mean_t) ** 2 for t in times)
        per_s = sum((t - mean_t) * (c - mean_c) for t, c in zip(times, counts, strict=True)) / spread
        return Slope(per_s, self._error(times[0], times[-1]))

    def _error(self, start_s: float, end_s: float) -> float:
        step_s = (end_s - start_s) / BLOCKS
        edges = [self.at(start_s + step_s * number) for number in range(BLOCKS + 1)]
        rates = [(edges[number + 1] - edges[number]) / step_s for number in range(BLOCKS)]
        mean = sum(rates) / BLOCKS
        variance = sum((rate - mean) ** 2 for rate in rates) / (BLOCKS - 1)
        return math.sqrt(variance / BLOCKS)


def countable(info: TcpInfo, packets: int | None) -> int | None:
    """Return a connection's count of packets, or ``None`` if they are not of one size.

    They are where a packet holds so little that the sender fills it. On the loopback interface and its like one holds
    whatever lies ready: the first ten, which the kernel does not pace, a message or two, later ones several times that.
    """
    return packets if info.send_mss_bytes <= floor.LARGEST_PACKET_BYTES else None


class Arrivals:
    """One end's count of what arrived at the receiver, in packets and in bytes in order.

    Packets are exact under loss, if all are of one size; on the loopback interface and its like they are not.
    """

    def __init__(self) -> None:
        self.packets = Curve()
        self.in_order = Curve()
        self._packet_bytes = 0.0
        self._bundled = False

    def add(
        self, elapsed_s: float, packets: int | None, in_order_bytes: float, could_wait_bytes: float = math.inf
    ) -> None:
        """Add one sample; ``packets`` is ``None`` where the kernel does not count them, or :func:`countable` says so.

        Of packets no more are counted than what is in order and ``could_wait_bytes`` more: tiny ones stand for full
        ones otherwise.
        """
        self.in_order.add(elapsed_s, in_order_bytes)
        if packets is None:
            return
        most = (in_order_bytes + could_wait_bytes) / self._packet_bytes if self._packet_bytes else math.inf
        self.packets.add(elapsed_s, min(packets, most))
        self._bundled = self._bundled or in_order_bytes > floor.LARGEST_PACKET_BYTES * max(packets, 1)
        if packets >= LEAST_PACKETS:
            # What waits behind a lost packet makes the ratio smaller for a while: the largest seen is the true one.
            self._packet_bytes = max(self._packet_bytes, in_order_bytes / packets)

    @property
    def best(self) -> tuple[Curve, float]:
        """The count to go by, and how many bytes one of it stands for."""
        if self._packet_bytes and not self._bundled:
            return self.packets, self._packet_bytes
        return self.in_order, 1.0

    @property
    def total_bytes(self) -> float:
        """What has arrived so far."""
        curve, unit_bytes = self.best
        return curve.counts[-1] * unit_bytes if curve.counts else 0.0
