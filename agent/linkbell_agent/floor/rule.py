"""When a floor check knows its answer. Pure: samples of arrivals in, ``go on``, ``passed`` or ``failed`` out.

The sender is paced a little above the floor, so what arrives is the smaller of pace and line. Once the sender has come
up to speed, which takes round trips and not milliseconds, the slope of the arrivals is held against the floor: far off
it the answer is sure after a few hundred milliseconds, near it the check runs to its cap and takes the best estimate.
"""

from dataclasses import replace
from enum import StrEnum

from linkbell_agent.floor.curve import STUDENT_95, Curve, Slope
from linkbell_agent.slim import dataclass
from linkbell_wire import floor

PACKET_BYTES = 1448
"""Payload of a usual packet."""

PLATEAU = 0.8
"""The ramp is over where a round trip first carried this much of what one carries now: doubling has stopped."""

SETTLED_ROUNDS = 2.0
"""So many round trips after the ramp's end it is certain that this was its end."""

SLACK_ROUNDS = 1.5
"""The ramp ends somewhere within its last round trip and a half; the steepest window tells where."""

STEPS = 8
CERTAIN = 2.0
"""Windows are compared by their slopes less so many standard errors."""

LEAST_ROUND_S = 0.04
LEAST_ROUND_PACKETS = 20
"""A shorter round, or one of fewer packets, says nothing of growth."""

LEAST_PASS_S, LEAST_FAIL_S = 0.4, 0.5
LATEST_S, LATEST_PACKETS = 0.06, 8
"""The latest so many seconds and packets must have come at the floor too: a line's burst allowance may be used up."""

LEAST_FAIL_ROUNDS = 3.0
LEAST_BYTES = 40 * PACKET_BYTES
LEAST_FAIL_BYTES = 12 * PACKET_BYTES

SURE = 3.5
"""Standard errors between slope and floor: the question is asked anew at every sample, so twice the usual distance."""

SURE_RATIO = 0.004
"""And this part of the floor besides: clocks, headers and rounding are not more exact than that."""

LEAST_RESULT_S = 0.25
"""A shorter window is no result, whatever the cap says."""

GROWTH = 1.2
"""Half a round trip that brought so many times what the one before did: the sender was still speeding up."""

SILENCE_S = 0.3
"""While nothing has arrived for this long, no line is called slow: it may be gone, and that is another answer."""


class State(StrEnum):
    """What the rule says."""

    GO_ON = "go_on"
    PASSED = "passed"
    FAILED = "failed"
    TOO_LITTLE = "too_little"
    """The cap is reached and what arrived is no measure of anything."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer so far: payload rate in bits per second, its 95 % bounds, and whether it is sure or merely the best.

    ``start_s`` to ``end_s`` is the window the rate speaks of.
    """

    state: State
    bps: float | None = None
    low_bps: float | None = None
    high_bps: float | None = None
    busiest_bps: float | None = None
    """The rate of the busiest 0.4 s: the line has carried that much, whatever the sender did the rest of the time."""
    sure: bool = False
    start_s: float = 0.0
    end_s: float = 0.0


GO_ON = Decision(State.GO_ON)


class FloorRule:
    """One check's rule, asked again and again with all samples so far."""

    def __init__(self, floor_bps: float, rtt_s: float) -> None:
        self._floor_bps = floor_bps
        slow_s = LEAST_ROUND_PACKETS * PACKET_BYTES * 8 / floor_bps
        self._round_s = max(rtt_s * 1.05, LEAST_ROUND_S, slow_s)
        self._ramp_end_s: float | None = None

    def decide(self, arrivals: Curve, unit_bits: float, *, capped: bool = False, can_fail: bool = True) -> Decision:
        """Say what ``arrivals`` mean, each ``unit_bits`` of payload; ``capped``: there will be no more.

        ``can_fail`` says whether anything shows that the line, and not the sender, keeps the rate down. Without it
        no failure is sure: after a lost packet TCP sends no faster for a round trip, on a satellite line for long.
        """
        view = _View(arrivals, unit_bits, arrivals.last_arrival_s if capped else arrivals.last_s)
        ramp_end_s, settled = self._find_ramp_end(view)
        window = self._steepest(view, ramp_end_s)
        if window is None:
            return Decision(State.TOO_LITTLE) if capped else GO_ON
        decision = self._decision(view, window, settled and can_fail)
        if decision.sure:
            return decision
        if not capped:
            return GO_ON
        too_short = view.now_s - decision.start_s < LEAST_RESULT_S
        growing = decision.state is State.FAILED and not settled and self._is_growing(view)
        return replace(decision, state=State.TOO_LITTLE) if too_short or growing else decision

    def _find_ramp_end(self, view: "_View") -> tuple[float, bool]:
        """Return where the ramp ended, and whether that is certain by now; once it is, it stays."""
        if self._ramp_end_s is not None:
            return self._ramp_end_s, True
        span_s = self._round_s
        level = PLATEAU * min(view.mean_bps(view.now_s - span_s, view.now_s), floor.pace_bps(self._floor_bps))
        if level <= 0:  # nothing has come, or nothing comes any more
            return view.now_s, False
        moments = (at for at in view.arrivals.times_s if view.mean_bps(at - span_s, at) >= level)
        ramp_end_s = next(moments, view.now_s)
        if view.now_s - ramp_end_s < SETTLED_ROUNDS * span_s:
            return ramp_end_s, False
        self._ramp_end_s = ramp_end_s
        return ramp_end_s, True

    def _steepest(self, view: "_View", ramp_end_s: float) -> tuple[float, Slope] | None:
        """Return the start and the slope of the steepest window that begins about the ramp's end and ends now.

        Steepest by what is certain of it: of windows after the ramp the short ones scatter, and one of them is always
        steeper than the line.
        """
        earliest_s = ramp_end_s - self._round_s / 2
        latest_s = max(earliest_s, min(ramp_end_s + SLACK_ROUNDS * self._round_s, view.now_s - LEAST_PASS_S))
        best: tuple[float, Slope] | None = None
        for number in range(STEPS + 1):
            start_s = max(0.0, earliest_s + (latest_s - earliest_s) * number / STEPS)
            slope = view.arrivals.slope(start_s, view.now_s)
            if slope is not None and (best is None or _certain_per_s(slope) > _certain_per_s(best[1])):
                best = (start_s, slope)
        return best

    def _decision(self, view: "_View", window: tuple[float, Slope], can_fail: bool) -> Decision:
        start_s, slope = window
        bps, error_bps = slope.per_s * view.unit_bits, slope.error_per_s * view.unit_bits
        passed = bps >= self._floor_bps
        far = abs(bps - self._floor_bps) >= SURE * error_bps + SURE_RATIO * self._floor_bps
        busiest_bps = view.arrivals.steepest_per_s(LEAST_PASS_S, start_s, view.now_s) * view.unit_bits
        suffices = self._suffices_to_pass if passed else self._suffices_to_fail
        return Decision(
            State.PASSED if passed else State.FAILED,
            bps=bps,
            low_bps=max(0.0, bps - STUDENT_95 * error_bps),
            high_bps=bps + STUDENT_95 * error_bps,
            busiest_bps=busiest_bps,
            sure=far and suffices(view, start_s) and (passed or (can_fail and busiest_bps < self._floor_bps)),
            start_s=start_s,
            end_s=view.now_s,
        )

    def _suffices_to_pass(self, view: "_View", start_s: float) -> bool:
        """What has arrived was carried: a short stretch proves it, once it is more than a burst and does not fall."""
        latest_s = max(LATEST_S, LATEST_PACKETS * PACKET_BYTES * 8 / self._floor_bps)
        lasts = view.mean_bps(view.now_s - latest_s, view.now_s) >= self._floor_bps
        return lasts and view.now_s - start_s >= LEAST_PASS_S and view.bytes_since(start_s) >= LEAST_BYTES

    def _suffices_to_fail(self, view: "_View", start_s: float) -> bool:
        """What has not arrived may not have been sent: the sender gets several round trips to show what it can do."""
        long_enough = view.now_s - start_s >= max(LEAST_FAIL_S, LEAST_FAIL_ROUNDS * self._round_s)
        alive = view.now_s - view.arrivals.last_arrival_s < SILENCE_S
        return long_enough and alive and view.bytes_since(start_s) >= LEAST_FAIL_BYTES

    def _is_growing(self, view: "_View") -> bool:
        half_s = self._round_s / 2
        before_bps = view.mean_bps(view.now_s - 2 * half_s, view.now_s - half_s)
        return view.mean_bps(view.now_s - half_s, view.now_s) > GROWTH * before_bps


def _certain_per_s(slope: Slope) -> float:
    return slope.per_s - CERTAIN * slope.error_per_s


@dataclass(frozen=True, slots=True)
class _View:
    """The arrivals up to one moment, in bits."""

    arrivals: Curve
    unit_bits: float
    now_s: float

    def mean_bps(self, start_s: float, end_s: float) -> float:
        return self.arrivals.mean_per_s(start_s, end_s) * self.unit_bits

    def bytes_since(self, start_s: float) -> float:
        return (self.arrivals.at(self.now_s) - self.arrivals.at(start_s)) * self.unit_bits / 8
