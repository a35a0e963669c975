"""One pace and one budget for several connections, by arithmetic."""

import pytest

from linkbell_wire.shared_pace import LEAD_S, MOST_AT_ONCE_S, SharedPace

RATE_BPS = 8e6
PIECE = 2896


def taken(pace: SharedPace, piece: int = PIECE) -> int:
    """Take pieces until none is given."""
    total = 0
    while size := pace.take(piece):
        total += size
    return total


@pytest.mark.parametrize("turn_s", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("piece", [100, PIECE, 100_000])
def test_what_is_given_is_the_rate_however_often_it_is_asked_for(turn_s: float, piece: int) -> None:
    pace = SharedPace(RATE_BPS, 10_000_000, 0.0)
    total = 0
    for turn in range(1, round(2 / turn_s) + 1):
        pace.accrue(turn * turn_s)
        total += taken(pace, piece)
        assert total <= RATE_BPS / 8 * (turn * turn_s) + piece
    assert total == pytest.approx(RATE_BPS / 8 * 2, abs=piece + RATE_BPS / 8 * 0.01)
    assert pace.late_s == 0


def test_a_long_pause_is_not_made_up_for_and_is_remembered() -> None:
    pace = SharedPace(RATE_BPS, 10_000_000, 0.0)
    pace.accrue(1.0)
    assert taken(pace) <= RATE_BPS / 8 * MOST_AT_ONCE_S + PIECE
    assert pace.late_s == pytest.approx(1.0 - MOST_AT_ONCE_S)


def test_what_nobody_could_take_is_forgone_and_no_lateness() -> None:
    pace = SharedPace(RATE_BPS, 10_000_000, 0.0)
    for turn in range(1, 201):
        pace.accrue(turn * 0.005)
    assert taken(pace) <= RATE_BPS / 8 * MOST_AT_ONCE_S + PIECE
    assert pace.late_s == 0


def test_the_budget_ends_it_to_the_byte() -> None:
    pace = SharedPace(RATE_BPS, 10_001, 0.0)
    total = 0
    for turn in range(1, 100):
        pace.accrue(turn * 0.005)
        total += taken(pace)
    assert total == 10_001
    assert pace.is_spent


def test_what_the_kernel_sends_again_comes_off_pace_and_budget() -> None:
    pace = SharedPace(RATE_BPS, 20_000, 0.0)
    pace.charge(5_000)
    pace.accrue(0.02)
    first = taken(pace)
    assert 20_000 - 5_000 - PIECE <= first <= 15_000
    pace.charge(1 << 30)
    pace.accrue(0.05)
    assert (taken(pace), pace.is_spent) == (0, True)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    pace = SharedPace(RATE_BPS, 20_000, 1.0)
    pace.accrue(0.5)
    assert taken(pace) == 0


def test_a_lead_is_handed_over_once_and_outlasts_a_busy_moment() -> None:
    pace = SharedPace(RATE_BPS, 10_000_000, 0.0)
    pace.accrue(0.01)
    before = taken(pace)
    for _ in range(2):
        pace.lead()
    total = before + taken(pace)
    assert total == pytest.approx(RATE_BPS / 8 * (0.01 + LEAD_S), abs=2 * PIECE)
    pace.accrue(0.01 + 0.8 * LEAD_S)
    total += taken(pace)
    assert total == pytest.approx(RATE_BPS / 8 * (0.01 + 1.8 * LEAD_S), abs=2 * PIECE)
    assert pace.late_s == 0
    pace.accrue(0.01 + 3.8 * LEAD_S)
    assert pace.late_s == pytest.approx(2 * LEAD_S)


def test_those_that_can_send_go_faster_for_those_that_cannot() -> None:
    pace = SharedPace(RATE_BPS, 10_000_000, 0.0)
    pace.accrue(0.001)
    assert pace.boost(PIECE) == 1
    for turn in range(1, 100):
        pace.accrue(0.001 + turn * 0.005)
    assert 1.8 < pace.boost(PIECE) <= 2
    taken(pace)
    assert pace.boost(PIECE) == 1
