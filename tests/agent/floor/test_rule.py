"""The floor check's rule on arrivals made by arithmetic: what it says, when, and how sure it is."""

import random
import struct
from collections.abc import Callable

import pytest

from linkbell_agent.floor.curve import Arrivals, Curve, countable
from linkbell_agent.floor.rule import PACKET_BYTES, Decision, FloorRule, State
from linkbell_wire.floor import budget_bytes
from linkbell_wire.ndt7.tcp_info import parse

FLOOR_BPS = 8e6
PACE_BPS = 9.2e6
BITS = PACKET_BYTES * 8

Rate = Callable[[float], float]


def steady(bps: float) -> Rate:
    return lambda at: bps


def ramp(rtt_s: float, line_bps: float) -> Rate:
    """Ten packets in the first round trip, twice as many in each that follows, until line or pace is reached."""
    return lambda at: min(line_bps, PACE_BPS, 10 * BITS / rtt_s * 2 ** (at // rtt_s))


def run(
    rate: Rate,
    *,
    rtt_s: float = 0.04,
    jitter_s: float = 0.0,
    seed: int = 1,
    floor_bps: float = FLOOR_BPS,
    can_fail: bool = True,
) -> Decision:
    """Arrivals at ``rate``, sampled every 20 ms, judged every 60 ms, until the rule knows or the budget is spent."""
    dice = random.Random(seed)
    rule, curve, carried, now_s = FloorRule(floor_bps, rtt_s), Curve(), 0.0, 0.0
    delays = [dice.random() * jitter_s for _ in range(2000)]
    tick = 0
    while True:
        tick += 1
        carried += sum(rate(now_s + step * 0.001) for step in range(20)) * 0.001 / BITS
        now_s += 0.02
        late = delays[tick] * rate(now_s) / BITS
        capped = carried * PACKET_BYTES >= budget_bytes(floor_bps) or now_s >= 15
        curve.add(now_s, float(int(carried - late)))
        if capped or tick % 3 == 0:
            decision = rule.decide(curve, BITS, capped=capped, can_fail=can_fail)
            if decision.state is not State.GO_ON:
                return decision


@pytest.mark.parametrize("rtt_s", [0.01, 0.04, 0.2, 0.58])
@pytest.mark.parametrize(
    ("line_bps", "expected"),
    [
        (1e6, State.FAILED),
        (4e6, State.FAILED),
        (6.8e6, State.FAILED),
        (7.34e6, State.FAILED),
        (7.6e6, State.FAILED),
        (7.92e6, State.FAILED),
        (8.11e6, State.PASSED),
        (8.4e6, State.PASSED),
        (9.2e6, State.PASSED),
    ],
)
def test_a_line_is_told_from_its_floor_whatever_the_round_trip(line_bps: float, expected: State, rtt_s: float) -> None:
    decision = run(ramp(rtt_s, line_bps), rtt_s=rtt_s)
    assert decision.state is expected
    assert decision.bps == pytest.approx(line_bps, rel=0.01)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("line_bps", "expected"), [(7.6e6, State.FAILED), (8.4e6, State.PASSED)])
def test_jitter_hardly_moves_the_answer(line_bps: float, expected: State, seed: int) -> None:
    decision = run(ramp(0.07, line_bps), rtt_s=0.07, jitter_s=0.01, seed=seed)
    assert decision.state is expected
    assert decision.bps == pytest.approx(line_bps, rel=0.02)


@pytest.mark.parametrize("bps", [9.2e6, 4e6])
def test_far_from_the_floor_the_answer_is_sure_within_a_second(bps: float) -> None:
    decision = run(ramp(0.04, bps))
    assert decision.sure
    assert decision.end_s < 1.0


def test_on_the_floor_the_budget_decides() -> None:
    decision = run(ramp(0.04, FLOOR_BPS))
    assert not decision.sure
    assert decision.end_s > 1.7
    assert decision.low_bps is not None
    assert decision.high_bps is not None
    assert decision.low_bps <= FLOOR_BPS * 1.002
    assert decision.high_bps >= FLOOR_BPS * 0.998


def test_a_sender_that_is_still_speeding_up_is_no_slow_line() -> None:
    decision = run(lambda at: 1e6 * 1.9 ** (at / 0.58), rtt_s=0.58, floor_bps=80e6)
    assert decision.state in (State.TOO_LITTLE, State.PASSED)


def test_a_line_that_goes_silent_is_not_called_slow() -> None:
    rule, curve = FloorRule(FLOOR_BPS, 0.04), Curve()
    for tick in range(100):
        now_s = tick * 0.02
        curve.add(now_s, min(now_s, 0.5) * PACE_BPS * 0.8 / BITS)
        if now_s > 0.56:
            assert rule.decide(curve, BITS).state is State.GO_ON or now_s < 0.8


def test_a_gap_of_a_hundred_milliseconds_does_not_fail_a_fast_line() -> None:
    decision = run(lambda at: 0.0 if 0.2 <= at < 0.3 else PACE_BPS)
    assert decision.state is State.PASSED


def test_the_busiest_stretch_keeps_a_pausing_sender_from_a_sure_failure() -> None:
    decision = run(lambda at: PACE_BPS if at % 1.0 < 0.5 else 0.3e6)
    assert not (decision.sure and decision.state is State.FAILED)
    assert decision.busiest_bps == pytest.approx(PACE_BPS, rel=0.05)


def test_without_a_sign_of_a_full_line_a_failure_waits_for_the_budget_to_be_spent() -> None:
    stalled = run(lambda at: 0.6e6 if at < 3.0 else PACE_BPS, rtt_s=0.58)
    assert stalled.state is State.FAILED
    patient = run(lambda at: 0.6e6 if at < 3.0 else PACE_BPS, rtt_s=0.58, can_fail=False)
    assert not patient.sure
    assert patient.busiest_bps == pytest.approx(PACE_BPS, rel=0.01)
    slow = run(steady(5e6), can_fail=False)
    assert slow.state is State.FAILED
    assert not slow.sure


@pytest.mark.parametrize("floor_bps", [1e6, 8e6, 50e6])
@pytest.mark.parametrize("burst_s", [0.3, 0.36, 0.38, 0.4])
def test_a_burst_allowance_that_is_used_up_is_no_sure_pass(burst_s: float, floor_bps: float) -> None:
    decision = run(lambda at: floor_bps * (1.15 if at < burst_s - 1e-9 else 0.5), floor_bps=floor_bps)
    assert not (decision.sure and decision.state is State.PASSED)


def test_hardly_anything_is_too_little() -> None:
    rule, curve = FloorRule(FLOOR_BPS, 0.04), Curve()
    assert rule.decide(curve, BITS).state is State.GO_ON
    assert rule.decide(curve, BITS, capped=True).state is State.TOO_LITTLE
    for tick in range(5):
        curve.add(tick * 0.02, tick * 400.0)
    assert rule.decide(curve, BITS, capped=True).state is State.TOO_LITTLE


@pytest.mark.parametrize("floor_bps", [100e3, 1e6, 50e6, 1e9])
def test_any_floor_can_be_checked(floor_bps: float) -> None:
    scale = floor_bps / FLOOR_BPS
    assert run(steady(9e6 * scale), floor_bps=floor_bps).state is State.PASSED
    assert run(steady(7e6 * scale), floor_bps=floor_bps).state is State.FAILED


def test_packets_behind_a_lost_one_count_when_they_arrive() -> None:
    arrivals = Arrivals()
    for count in range(1, 101):
        in_order = count * 1448 if count < 50 else 49 * 1448
        arrivals.add(count * 0.01, count, in_order)
    assert arrivals.total_bytes == pytest.approx(100 * 1448)


def test_tiny_packets_count_for_no_more_than_there_is_room_for() -> None:
    """Forty full ones and then thousands of a few bytes: a slow line would pass for a fast one."""
    arrivals, told = Arrivals(), Arrivals()
    for count in range(1, 41):
        arrivals.add(count * 0.01, count, count * 1448, 131_072)
        told.add(count * 0.01, count, count * 1448)
    for count in range(1, 101):
        arrivals.add(0.4 + count * 0.01, 40 + count * 50, 40 * 1448 + count * 50 * 10, 131_072)
        told.add(0.4 + count * 0.01, 40 + count * 50, 40 * 1448 + count * 50 * 10)
    assert arrivals.total_bytes == pytest.approx(40 * 1448 + 50_000 + 131_072)
    assert told.total_bytes == pytest.approx(5040 * 1448)  # what they would be taken for


def test_bundles_larger_than_any_packet_are_counted_in_bytes() -> None:
    arrivals = Arrivals()
    for count in range(1, 40):
        arrivals.add(count * 0.01, count, count * 60_000)
    assert arrivals.best == (arrivals.in_order, 1.0)
    assert arrivals.total_bytes == 39 * 60_000


@pytest.mark.parametrize(("most_bytes", "packets"), [(1448, 28), (8948, 28), (32_768, None), (65_483, None)])
def test_packets_that_hold_whatever_lies_ready_are_not_counted(most_bytes: int, packets: int | None) -> None:
    """Ten of one message and eighteen of five, as at a low floor on loopback: their mean is no packet's size."""
    info = parse(struct.pack("=16xI84x", most_bytes))
    arrivals = Arrivals()
    for count in range(29):
        arrivals.add(count * 0.06, countable(info, count), min(count, 10) * 1028 + max(0, count - 10) * 5140)
    assert countable(info, 28) == packets
    assert (arrivals.best[0] is arrivals.in_order) is (packets is None)


def test_a_count_never_falls_and_time_never_stands_still() -> None:
    curve = Curve()
    for at, count in [(0.0, 0), (0.1, 10), (0.1, 12), (0.05, 13), (0.2, 5), (0.3, 20)]:
        curve.add(at, count)
    assert curve.times_s == [0.0, 0.1, 0.2, 0.3]
    assert curve.counts == [0, 13, 13, 20]
    assert curve.last_arrival_s == 0.3
    assert curve.at(0.25) == pytest.approx(16.5)


def test_a_beginning_in_which_nothing_came_is_no_end_of_a_ramp() -> None:
    decision = run(lambda at: 6.8e6 if at > 0.4 else 0.0, rtt_s=0.07)
    assert decision.state is State.FAILED
    assert decision.bps == pytest.approx(6.8e6, rel=0.01)
    assert decision.start_s > 0.35


@pytest.mark.parametrize("seed", range(10))
def test_a_short_window_is_not_preferred_for_what_scatters(seed: int) -> None:
    dice = random.Random(seed)
    rates = [7.6e6 * (1 + dice.uniform(-0.1, 0.1)) for _ in range(1000)]
    decision = run(lambda at: rates[int(at / 0.02)] if at > 0.58 else 0.0, rtt_s=0.58)
    assert decision.state is State.FAILED
    assert decision.bps == pytest.approx(7.6e6, rel=0.02)
    assert decision.end_s - decision.start_s > 0.6
