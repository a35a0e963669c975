"""Other people's traffic: what a network port counted, less what was ours. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from linkbell_agent.slim import dataclass
from linkbell_agent.watch.latency import Window
from linkbell_wire.words import Direction

TCP_HEADER_BYTES = 32
"""With time stamps, as nearly all systems have them."""

UNSURE = 0.005
"""Of our own payload: frame headers, TLS, selective acknowledgements. Less than this is not called other people's."""

IMPLAUSIBLE = 0.9
"""A port that counted less than this much of our own payload does not count in time, or not everything."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A port's counters at one moment; bytes include what the device adds to each packet."""

    at_s: float
    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int

    def way(self, direction: Direction) -> tuple[int, int]:
        """Return bytes and packets of one direction, seen from the school."""
        if direction is Direction.DOWNLOAD:
            return self.rx_bytes, self.rx_packets
        return self.tx_bytes, self.tx_packets


@dataclass(frozen=True, slots=True)
class Flow:
    """What went one way in ``window``."""

    window: Window
    bytes: float
    packets: float


def flow(readings: Sequence[Counted], direction: Direction, window: Window | None = None) -> Flow | None:
    """Return what went ``direction`` in ``window`` (default: all the time there is).

    Between two readings traffic counts as even. ``None`` if the readings do not cover the window, or counters went
    back: they wrapped, or it is another device by now.
    """
    if len(readings) < 2 or any(_went_back(*pair) for pair in pairwise(readings)):
        return None
    window = window or Window(readings[0].at_s, readings[-1].at_s)
    if window.length_s <= 0 or window.start_s < readings[0].at_s or window.end_s > readings[-1].at_s:
        return None
    start, end = (_at(readings, direction, moment) for moment in (window.start_s, window.end_s))
    return Flow(window, end[0] - start[0], end[1] - start[1])


def others_bps(seen: Flow | None, own_bytes: float, header_bytes: int, unsure_bytes: float) -> float | None:
    """Return other people's payload in bits per second: all there was, less headers, less ``own_bytes`` of payload.

    ``header_bytes`` is what each packet spends on itself. It is taken off every packet counted, whoever sent it: where
    the kernel or the network card puts many packets together, port and formula both count one header for them all.
    Up to ``unsure_bytes`` more are taken for ours.
    """
    if seen is None or seen.bytes < IMPLAUSIBLE * own_bytes:
        return None
    payload = seen.bytes - seen.packets * header_bytes
    return round(max(0.0, payload - own_bytes - unsure_bytes) * 8 / seen.window.length_s, 1)


def rate_bps(readings: Sequence[Counted], direction: Direction, over_s: float) -> float | None:
    """Return the port's rate of about the last ``over_s`` seconds, ``None`` if it is not known yet."""
    last = readings[-1] if readings else None
    first = next((one for one in reversed(readings) if last is not None and last.at_s - one.at_s >= over_s), None)
    if first is None or last is None or _went_back(first, last):
        return None
    return (last.way(direction)[0] - first.way(direction)[0]) * 8 / (last.at_s - first.at_s)


def _went_back(before: Counted, after: Counted) -> bool:
    return (
        after.at_s < before.at_s
        or after.rx_bytes < before.rx_bytes
        or after.tx_bytes < before.tx_bytes
        or after.rx_packets < before.rx_packets
        or after.tx_packets < before.tx_packets
    )


def _at(readings: Sequence[Counted], direction: Direction, moment_s: float) -> tuple[float, float]:
    """Return bytes and packets at a moment between the first and the last reading."""
    after = next(index for index, one in enumerate(readings) if one.at_s >= moment_s)
    if after == 0 or readings[after].at_s == moment_s:
        return readings[after].way(direction)
    low, high = readings[after - 1], readings[after]
    part = (moment_s - low.at_s) / (high.at_s - low.at_s)
    (low_bytes, low_packets), (high_bytes, high_packets) = low.way(direction), high.way(direction)
    return low_bytes + part * (high_bytes - low_bytes), low_packets + part * (high_packets - low_packets)
