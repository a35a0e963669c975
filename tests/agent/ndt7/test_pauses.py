"""What is left out of a window, and what is not: a sender's pauses, never a line's."""

from collections.abc import Callable

import pytest

from linkbell_agent.ndt7.pauses import MOST
from linkbell_agent.ndt7.plateau import Plateau
from linkbell_agent.ndt7.rules import Sample

TICK_S = 0.01
RTT_S = 0.05
FULL_BPS = 100e6
DIP_S = (0.5, 0.6)


def read(rate: Callable[[float], float], is_queued: Callable[[float], bool | None]) -> Plateau:
    """Feed samples until the rule stops, two seconds at most."""
    rule, carried = Plateau(RTT_S), 0.0
    for tick in range(200):
        moment_s = tick * TICK_S
        if rule(Sample(moment_s, carried, is_queued(moment_s))) is not None:
            break
        carried += rate(moment_s) / 8 * TICK_S
    return rule


def dip(moment_s: float) -> float:
    return FULL_BPS * (0.2 if DIP_S[0] <= moment_s < DIP_S[1] else 1.0)


def in_dip(moment_s: float) -> bool:
    return DIP_S[0] < moment_s <= DIP_S[1] + TICK_S / 2


def test_a_pause_without_a_queue_is_the_senders() -> None:
    estimate = read(dip, lambda at: not in_dip(at)).estimate
    assert estimate is not None
    assert estimate.bps == pytest.approx(FULL_BPS, rel=0.01)
    assert estimate.start_s < DIP_S[0] < DIP_S[1] < estimate.end_s


@pytest.mark.parametrize("is_queued", [True, None])
def test_a_dip_with_a_queue_or_of_which_nothing_is_known_is_the_lines(is_queued: bool | None) -> None:
    estimate = read(dip, lambda at: is_queued).estimate
    assert estimate is not None
    assert estimate.bps < 0.95 * FULL_BPS


def test_a_gap_in_which_nothing_comes_is_the_lines() -> None:
    def gap(moment_s: float) -> float:
        return 0.0 if DIP_S[0] <= moment_s < DIP_S[1] else FULL_BPS

    estimate = read(gap, lambda at: not in_dip(at)).estimate
    assert estimate is not None
    assert estimate.bps < 0.95 * FULL_BPS


def test_a_small_dip_is_no_pause() -> None:
    def sag(moment_s: float) -> float:
        return FULL_BPS * (0.9 if DIP_S[0] <= moment_s else 1.0)

    estimate = read(sag, lambda at: False).estimate
    assert estimate is not None
    assert estimate.bps < 0.97 * FULL_BPS


def test_a_sender_that_pauses_most_of_the_time_is_not_made_fast() -> None:
    def stutter(moment_s: float) -> float:
        return FULL_BPS if moment_s % 0.1 < 0.03 else 0.05 * FULL_BPS

    estimate = read(stutter, lambda at: False).estimate
    assert estimate is None or estimate.bps < FULL_BPS * (0.36 + MOST)
