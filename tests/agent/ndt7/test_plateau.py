"""The stop rule, on lines whose every byte is computed: no network, no clock."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.ndt7.plateau import WINDOW_SEGMENTS, Plateau, interpolate, is_rising, low_at_first
from linkbell_agent.ndt7.rules import Sample
from linkbell_wire.words import Stop

TICK_S = 0.01
SEGMENT = 1448
Rate = Callable[[float], float]
"""Bits per second at a moment."""


def run(rate: Rate, rtt_s: float, seconds: float = 12.0) -> tuple[Plateau, Stop | None, float]:
    """Feed the rule whole segments at ``rate``; return it, why it stopped and when."""
    rule, carried = Plateau(rtt_s), 0.0
    for tick in range(round(seconds / TICK_S)):
        moment_s = tick * TICK_S
        stop = rule(Sample(moment_s, carried // SEGMENT * SEGMENT))
        if stop is not None:
            return rule, stop, moment_s
        carried += rate(moment_s) / 8 * TICK_S
    return rule, None, seconds


def ramp(full_bps: float, rtt_s: float, doublings: float = 5.0) -> Rate:
    """A connection that doubles each round trip until the line is full."""
    return lambda moment_s: min(full_bps, full_bps * 2.0 ** min(0.0, math.floor(moment_s / rtt_s) - doublings))


@pytest.mark.parametrize("mbit", [0.5, 2, 8, 40, 300])
@pytest.mark.parametrize("rtt_s", [0.005, 0.06, 0.6])
def test_a_steady_line_is_read_to_half_a_percent_whatever_its_speed_and_distance(mbit: float, rtt_s: float) -> None:
    rule, stop, _ = run(ramp(mbit * 1e6, rtt_s), rtt_s, 30.0)
    assert stop is Stop.STABLE
    assert rule.estimate is not None
    assert rule.estimate.bps == pytest.approx(mbit * 1e6, rel=0.005)
    assert rule.estimate.low_bps <= mbit * 1e6 <= rule.estimate.high_bps


@pytest.mark.parametrize(("rtt_s", "limit_s"), [(0.005, 1.1), (0.04, 1.2), (0.08, 1.5), (0.6, 8.0)])
def test_a_fast_steady_line_takes_little_time(rtt_s: float, limit_s: float) -> None:
    _, _, ended_s = run(ramp(20e6, rtt_s), rtt_s)
    assert ended_s <= limit_s


def test_a_slow_line_gets_the_time_for_enough_packets() -> None:
    rule, _, _ = run(lambda _: 0.5e6, 0.04, 30.0)
    assert rule.estimate is not None
    carried = rule.estimate.bps / 8 * (rule.estimate.end_s - rule.estimate.start_s)
    assert carried >= WINDOW_SEGMENTS * SEGMENT


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 2.9])
def test_slow_start_on_a_satellite_is_never_taken_for_the_line(seconds: float) -> None:
    rule, stop, _ = run(ramp(20e6, 0.6), 0.6, seconds)
    assert stop is None
    assert rule.estimate is None


def test_the_ramp_is_no_part_of_the_window() -> None:
    rule, _, _ = run(ramp(20e6, 0.6), 0.6)
    assert rule.estimate is not None
    assert rule.estimate.start_s >= 2.9


def test_a_pause_half_way_up_is_no_plateau() -> None:
    rise = ramp(50e6, 0.1)
    rule, stop, _ = run(lambda moment_s: rise(moment_s) if not 0.25 <= moment_s < 0.5 else rise(0.2), 0.1)
    assert stop is Stop.STABLE
    assert rule.estimate is not None
    assert rule.estimate.bps == pytest.approx(50e6, rel=0.01)


def test_a_speed_that_rises_by_half_after_all_starts_the_window_anew() -> None:
    rule, _, _ = run(lambda moment_s: 10e6 if moment_s < 0.5 else 20e6, 0.05)
    assert rule.estimate is not None
    assert rule.estimate.bps == pytest.approx(20e6, rel=0.01)
    assert rule.estimate.start_s >= 0.45


@pytest.mark.parametrize("per_rtt", [0.01, 0.02, 0.05])
def test_a_sender_that_is_still_finding_the_line_is_not_stable_and_has_no_upper_bound(per_rtt: float) -> None:
    """Cubic and Reno after an early end of slow start, at a fifth of a line of 50 Mbit/s."""
    rule, stop, _ = run(lambda moment_s: min(50e6, 10e6 * (1 + per_rtt) ** (moment_s / 0.1)), 0.1, 8.0)
    assert rule.estimate is not None
    if stop is None:
        assert math.isinf(rule.estimate.high_bps)
        latest_bps = min(50e6, 10e6 * (1 + per_rtt) ** 80)
        assert rule.estimate.bps == pytest.approx(latest_bps, rel=0.15)
    else:
        assert rule.estimate.bps == pytest.approx(50e6, rel=0.08)  # the end of the rise is in the window


@pytest.mark.parametrize(("burst_mbit", "mbit", "bucket_bytes"), [(100, 20, 3_750_000), (20, 8, 1_000_000)])
def test_a_burst_beyond_what_the_line_carries_is_not_the_line(
    burst_mbit: float, mbit: float, bucket_bytes: int
) -> None:
    burst_s = bucket_bytes * 8 / (burst_mbit - mbit) / 1e6
    rule, _, _ = run(lambda moment_s: (burst_mbit if moment_s < burst_s else mbit) * 1e6, 0.05)
    assert rule.estimate is not None
    assert rule.estimate.bps == pytest.approx(mbit * 1e6, rel=0.03)


@pytest.mark.parametrize(
    ("rates", "answer"),
    [
        ((1.0,) * 8, False),
        ((0.0,) * 8, False),
        ([1 + 0.01 * n for n in range(8)], True),
        ([1 - 0.01 * n for n in range(8)], False),
        ([1 + 0.001 * n for n in range(8)], False),
        ((1.0, 1.1, 0.9, 1.2, 1.0, 1.3, 1.1, 1.4), False),
    ],
)
def test_only_an_even_rise_is_one(rates: tuple[float, ...], answer: bool) -> None:
    assert is_rising(rates) is answer


@pytest.mark.parametrize(
    ("rates", "left_out"),
    [
        ((90.0, 100, 101, 99, 100, 101, 99, 100), 1),
        ((100.0, 90, 101, 99, 100, 101, 99, 100), 2),
        ((100.0, 101, 90, 99, 100, 101, 99, 100), 0),
        ((97.5, 98, 101, 99, 100, 101, 99, 100), 0),
        ((90.0, 100, 110, 92, 100, 108, 95, 100), 0),
        ((110.0, 100, 101, 99, 100, 101, 99, 100), 0),
        ((0.0, 0, 0, 0, 0, 0, 0, 0), 0),
    ],
)
def test_only_a_block_at_first_below_what_the_others_agree_on_is_left_out(
    rates: tuple[float, ...], left_out: int
) -> None:
    assert low_at_first(rates) == left_out


@pytest.mark.parametrize("full_for_s", [0.45, 0.6])
def test_a_pause_of_the_sender_on_a_line_that_was_just_full_is_no_part_of_the_window(full_for_s: float) -> None:
    rtt_s, full_bps = 0.58, 3e6
    climb, full_s = ramp(full_bps, rtt_s), 5 * rtt_s
    pause_s = full_s + full_for_s

    def rate(moment_s: float) -> float:
        return 0.3 * full_bps if pause_s <= moment_s < pause_s + 0.15 else climb(moment_s)

    rule, stop, _ = run(rate, rtt_s, 30.0)
    assert stop is Stop.STABLE
    assert rule.estimate is not None
    assert rule.estimate.start_s >= pause_s
    assert rule.estimate.bps == pytest.approx(full_bps, rel=0.005)


def test_a_line_that_varies_by_itself_ends_with_wide_bounds() -> None:
    dice = random.Random(1)
    steps = [dice.uniform(0.5, 1.5) for _ in range(200)]
    rule, stop, ended_s = run(lambda moment_s: 20e6 * steps[int(moment_s / 0.1)], 0.05)
    assert stop is Stop.VARYING
    assert ended_s < 3
    assert rule.estimate is not None
    assert rule.estimate.high_bps / rule.estimate.low_bps > 1.1


def test_a_dead_line_goes_on_until_the_caps() -> None:
    rule, stop, _ = run(lambda _: 0.0, 0.05)
    assert stop is None
    assert rule.estimate is None


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1e7)), max_size=200),
    st.floats(0, 2),
)
def test_whatever_arrives_the_rule_answers_and_its_bounds_hold_its_estimate(
    steps: list[tuple[float, float]], rtt_s: float
) -> None:
    rule, moment_s, carried = Plateau(rtt_s), 0.0, 0.0
    for wait_s, more in steps:
        moment_s, carried = moment_s + wait_s, carried + more
        if rule(Sample(moment_s, carried)) is not None:
            break
    if rule.estimate is not None:
        assert 0 <= rule.estimate.low_bps <= rule.estimate.bps <= rule.estimate.high_bps
        assert rule.estimate.start_s < rule.estimate.end_s <= moment_s


@pytest.mark.parametrize(("moment", "value"), [(-1.0, 0.0), (0.0, 0.0), (0.5, 5.0), (1.0, 10.0), (9.0, 10.0)])
def test_interpolation_is_flat_outside_its_points(moment: float, value: float) -> None:
    assert interpolate([0.0, 1.0], [0.0, 10.0], moment) == value
