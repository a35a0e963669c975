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


@pytest.mark.parametrize(
    ("floor_bps", "rtt_s", "expected"),
    [
        (8e6, 0.005, 1),
        (8e6, 0.04, 1),
        (8e6, 0.07, 6),
        (8e6, 0.58, floor.MAX_STREAMS),
        (1e6, 0.58, 6),
        (100e3, 0.58, 1),
        (1e9, 0.2, floor.MAX_STREAMS),
    ],
)
def test_as_many_connections_as_fill_a_long_line_with_their_first_flights(
    floor_bps: float, rtt_s: float, expected: int
) -> None:
    assert floor.streams(floor_bps, rtt_s) == expected


@pytest.mark.parametrize("floor_bps", [100e3, 8e6, 20e6, 1e9])
@pytest.mark.parametrize("streams", [1, 2, 7, floor.MAX_STREAMS])
def test_several_connections_cost_no_more_than_one(floor_bps: float, streams: int) -> None:
    assert floor.budget_bytes(floor_bps, streams) <= floor.budget_bytes(floor_bps)
    assert floor.piece_bytes(floor_bps, streams) % floor.FULL_PACKET_BYTES == 0
    assert floor.stream_pace_bps(floor_bps, streams, 1.0) <= floor.pace_bps(floor_bps)
    assert floor.stream_pace_bps(floor_bps, streams, 1.0) * streams == pytest.approx(floor.pace_bps(floor_bps))
