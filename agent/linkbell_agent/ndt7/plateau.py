"""When a test has seen enough. Pure: what has arrived by when goes in, go on or stop with an estimate comes out.

A connection speeds up round trip by round trip until the line is full; from then on the line sets the pace. So:

1. The ramp is counted in round trips, never in milliseconds: on a satellite line each doubling takes 0.6 s. It is over
   when three rounds in a row have grown by less than a quarter over the fastest before (BBR's own test for a full pipe,
   Cardwell et al., "BBR: congestion-based congestion control", ACM Queue 14(5), 2016).
2. The window that counts begins where the line was first full, and grows until it is long enough in seconds, in round
   trips and in packets, and its blocks agree (standard error of their mean).
3. A line that varies by itself never agrees. After some more round trips the window holds as much as it is worth, and
   ``low`` and ``high`` say how far its parts lie apart.
4. Should the speed rise by half after all, the ramp was not over, and everything so far is forgotten. Should it fall by
   a third for three rounds, the line gave a burst beyond what it carries (a token bucket): it begins at the fall.
5. A speed that rises steadily through the window is a sender that is still finding the line, as TCP without BBR does
   after an early end of its slow start. The test goes on; if a cap ends it, there is no upper bound.
6. A first or second block below what all others agree on is no part of the window: the line was not full yet.
7. Where the sender paused on a full line, as it does after an overshoot, the clock stands still:
   :mod:`linkbell_agent.ndt7.pauses`.

Numbers are measured on emulated lines: ``docs/measurement.md``.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

from linkbell_agent import averages
from linkbell_agent.ndt7.pauses import Pauses
from linkbell_agent.ndt7.rules import Estimate, Sample
from linkbell_agent.slim import dataclass
from linkbell_wire.words import Stop

GROWTH = 1.25
FLAT_ROUNDS = 3

ROUND_RTTS = 1.1
LEAST_ROUND_S = 0.1
"""Shorter rounds would be shorter than the bursts in which radio links and busy machines deliver."""
ROUND_SEGMENTS = 16
LONGEST_ROUND_S = 2.0
"""A round has at least this many segments, or a few packets more or less would look like growth; but it ends."""

FULL = 0.95
"""A block that reaches this share of the plateau is part of it."""

BLOCKS = 8
"""The window is cut into so many blocks of equal length to see how far they agree."""

WINDOW_SEGMENTS = 250
"""A window of fewer would be wrong by more than half a percent for a packet at each end."""

RESTART = 1.5

RISE = 0.02
RISE_SCATTER = 0.015
RISE_FIT = 0.9
"""A rise by more than this share over the window, its blocks on one straight line but for this scatter (a share too),
which explains this much of their variance. Lines that vary by themselves do not vary so evenly."""


EARLY = 2
LOW_START = 0.03
LOW_SCATTER = 0.02
"""One of so many blocks at first that is lower than the others by more than this share, and by three times the scatter
of the others, which is below this share of them."""


@dataclass(frozen=True, slots=True)
class Enough:
    """A window of this length is enough if its standard error is below ``error`` (relative; ``None``: whatever)."""

    least_s: float
    rtts: float
    error: float | None
    stop: Stop


ENOUGH = (
    Enough(0.7, 4, 0.005, Stop.STABLE),
    Enough(0.75, 5, 0.02, Stop.STABLE),
    Enough(0.77, 6, None, Stop.VARYING),
)


class Plateau:
    """Call it with each sample in order; it returns why to stop, ``None`` to go on. ``estimate`` is then what counts.

    ``rtt_s`` is the round trip of the unloaded line to the server itself, ``segment_bytes`` what one packet carries.
    """

    def __init__(self, rtt_s: float, segment_bytes: int = 1448) -> None:
        self._rtt_s = rtt_s
        self._segment_bytes = segment_bytes
        self._times: list[float] = []
        self._bytes: list[float] = []
        self._rounds: list[tuple[float, float]] = []
        """Where each round ended, and its rate."""
        self._fastest = 0.0
        self._flat = 0
        self._start_s: float | None = None
        self._not_before_s = 0.0
        self._fallen = 0
        self._level = 0.0
        self._is_rising = False
        self._pauses = Pauses()
        self._length_s = 0.0
        """Of the window, without pauses."""
        self.estimate: Estimate | None = None

    def __call__(self, sample: Sample) -> Stop | None:
        """Take what has arrived by now, in bytes; decide."""
        sample = self._pauses.leave_out(sample, self._level if self._start_s is not None else self._fastest)
        if self._bytes and sample.bytes <= self._bytes[-1]:
            return None  # nothing new: a window ends where something arrived
        self._times.append(sample.elapsed_s)
        self._bytes.append(sample.bytes)
        if not self._end_round():
            return None
        if self._start_s is None:
            self._look_for_plateau()
        if self._start_s is None:
            return None
        self._measure(self._start_s)
        return self._enough()

    # The ramp

    def _end_round(self) -> bool:
        """End the round if it is long enough. After the ramp every block of one is looked at."""
        start_s = self._rounds[-1][0] if self._rounds else self._times[0]
        length_s = self._times[-1] - start_s
        arrived = self._bytes[-1] - self._at(start_s)
        whole = (
            length_s >= max(LEAST_ROUND_S, ROUND_RTTS * self._rtt_s) and arrived >= ROUND_SEGMENTS * self._segment_bytes
        )
        if not (whole or length_s >= max(LONGEST_ROUND_S, 2 * self._rtt_s)):
            return self._start_s is not None
        rate = arrived / length_s
        self._rounds.append((self._times[-1], rate))
        self._note_growth(rate)
        return True

    def _note_growth(self, rate: float) -> None:
        if self._start_s is not None:
            self._fallen = self._fallen + 1 if rate * RESTART < self._level else 0
            if self._fallen >= FLAT_ROUNDS:
                self._forget(self._rounds[-FLAT_ROUNDS][0])
            elif rate > RESTART * self._level:
                self._forget(self._rounds[-2][0])
        self._flat = self._flat + 1 if rate < GROWTH * self._fastest else 0
        self._fastest = max(self._fastest, rate)

    def _forget(self, not_before_s: float) -> None:
        """Begin anew: the line was not what it seemed before this moment."""
        self._start_s, self.estimate, self._fallen = None, None, 0
        self._not_before_s = not_before_s

    def _look_for_plateau(self) -> None:
        if self._flat < FLAT_ROUNDS:
            return
        flat = self._rounds[-FLAT_ROUNDS:]
        self._level = averages.median(rate for _, rate in flat)
        before = len(self._rounds) - FLAT_ROUNDS - 1
        earliest_s = self._rounds[before - 1][0] if before > 0 else self._times[0]
        self._start_s = self._first_full(max(earliest_s, self._not_before_s), flat[0][0])

    def _first_full(self, earliest_s: float, latest_s: float) -> float:
        """Return where within these bounds the line was first full for two blocks in a row."""
        block_s = max(LEAST_ROUND_S / 2, self._rtt_s / 4, ROUND_SEGMENTS * self._segment_bytes / self._level / 2)
        start_s = earliest_s
        while start_s < latest_s:
            first, second = (self._rate(start_s + part * block_s, start_s + (part + 1) * block_s) for part in (0, 1))
            if first >= FULL * self._level and second >= FULL * self._level:
                return start_s
            start_s += block_s / 2
        return latest_s

    # The window

    def _measure(self, start_s: float) -> None:
        first = min(bisect_left(self._times, start_s), len(self._times) - 2)
        start_s, end_s = self._times[first], self._times[-1]
        length_s = end_s - start_s
        if length_s <= 0:
            return
        rates = self._block_rates(start_s, end_s)
        low = low_at_first(rates) if length_s >= self._least_s(ENOUGH[0]) else 0
        if low:
            self._start_s = start_s + low * length_s / BLOCKS
            self._measure(self._start_s)
            return
        self._is_rising = is_rising(rates)
        arrived = self._bytes[-1] - self._bytes[first]
        margin = max(2 * _standard_error(rates), self._segment_bytes / arrived)
        bps = arrived * 8 / length_s
        high_bps = math.inf if self._is_rising else bps * (1 + margin)
        window = (interpolate(self._pauses.kept_s, self._pauses.times, moment) for moment in (start_s, end_s))
        self.estimate = Estimate(bps, bps * max(0.0, 1 - margin), high_bps, *window)
        self._length_s = length_s
        if self._is_rising:  # the older part only holds the speed back
            self._start_s = max(start_s, end_s - self._least_s(ENOUGH[0]))

    def _block_rates(self, start_s: float, end_s: float) -> list[float]:
        block_s = (end_s - start_s) / BLOCKS
        return [self._rate(start_s + part * block_s, start_s + (part + 1) * block_s) for part in range(BLOCKS)]

    def _least_s(self, enough: Enough) -> float:
        return max(enough.least_s, enough.rtts * self._rtt_s)

    def _enough(self) -> Stop | None:
        estimate = self.estimate
        if estimate is None:
            return None
        length_s = self._length_s
        if length_s * estimate.bps < WINDOW_SEGMENTS * self._segment_bytes * 8:
            return None
        if self._is_rising or self._fallen:
            return None  # it is about to be known better
        error = (estimate.high_bps - estimate.bps) / estimate.bps / 2
        for enough in ENOUGH:
            if length_s < self._least_s(enough):
                return None
            if enough.error is None or error <= enough.error:
                return enough.stop
        return None

    # Looking up

    def _rate(self, start_s: float, end_s: float) -> float:
        return (self._at(end_s) - self._at(start_s)) / (end_s - start_s)

    def _at(self, moment_s: float) -> float:
        """Return the bytes that had arrived by then, evenly between two samples."""
        return interpolate(self._times, self._bytes, moment_s)


def _standard_error(rates: Sequence[float]) -> float:
    """Return the standard error of the mean, relative to it."""
    mean = averages.mean(rates)
    return averages.deviation(rates) / mean / math.sqrt(len(rates)) if mean > 0 else 1.0


def is_rising(rates: Sequence[float]) -> bool:
    """Whether the rates, of equal lengths of time in a row, rise steadily: see :data:`RISE`."""
    mean, spread = averages.mean(rates), averages.deviation(rates, of_sample=False)
    if mean <= 0 or spread <= 0:
        return False
    steps = range(len(rates))
    slope = averages.slope(rates)
    explained = min(1.0, (slope * averages.deviation(steps, of_sample=False) / spread) ** 2)
    scatter = spread * math.sqrt(1 - explained) / mean
    return slope * len(rates) / mean > RISE and explained > RISE_FIT and scatter < RISE_SCATTER


def low_at_first(rates: Sequence[float]) -> int:
    """Return how many of the rates, of equal lengths of time in a row, are to be left out: none, the first, or two.

    A first or second one below all that the others agree on is of a line that was not full yet: the sender paused once
    more, or still had to find it.
    """
    rest = rates[EARLY:]
    mean, spread = averages.mean(rest), averages.deviation(rest)
    if spread >= LOW_SCATTER * mean:
        return 0
    limit = mean - max(LOW_START * mean, 3 * spread)
    return max((place + 1 for place in range(EARLY) if rates[place] < limit), default=0)


def interpolate(times: Sequence[float], values: Sequence[float], moment: float) -> float:
    """Return the value at ``moment`` on the line through the points, flat outside of them. ``times`` must rise."""
    after = bisect_left(times, moment)
    if after == 0:
        return values[0]
    if after == len(times):
        return values[-1]
    part = (moment - times[after - 1]) / (times[after] - times[after - 1])
    return values[after - 1] + part * (values[after] - values[after - 1])
