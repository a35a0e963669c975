"""What a check of a floor sends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_wire import floor


@given(st.floats(floor.MIN_FLOOR_BPS, floor.MAX_FLOOR_BPS))
def test_the_budget_fits_into_the_time_at_any_floor(floor_bps: float) -> None:
    assert floor.can_be_checked(floor_bps)
    assert floor.budget_bytes(floor_bps) * 8 / floor_bps < floor.MAX_DURATION_S
    assert 1 << 10 <= floor.message_bytes(floor_bps) <= 1 << 18


def test_a_check_of_eight_megabits_stays_below_two_megabytes_with_all_headers() -> None:
    assert floor.budget_bytes(8e6) * 1500 / 1448 < 1.95e6


@pytest.mark.parametrize("floor_bps", [0.0, 99_999.0, 1.1e9, float("inf"), float("nan")])
def test_other_floors_cannot_be_checked(floor_bps: float) -> None:
    assert not floor.can_be_checked(floor_bps)
