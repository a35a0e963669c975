"""Other people's traffic from a port's counters: what is ours is taken away, and nonsense is no number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.watch import traffic
from linkbell_agent.watch.latency import Window
from linkbell_agent.watch.traffic import Counted, Flow
from linkbell_wire.words import Direction

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
STEADY = [Counted(10 + second / 10, second * 1000, second * 2, second * 100, second) for second in range(11)]


@pytest.mark.parametrize(
    ("direction", "window", "expected"),
    [
        (DOWN, None, (10_000, 20)),
        (UP, None, (1000, 10)),
        (DOWN, Window(10.2, 10.4), (2000, 4)),
        (DOWN, Window(10.25, 10.45), (2000, 4)),  # between two readings traffic counts as even
        (DOWN, Window(10.0, 11.0), (10_000, 20)),
    ],
)
def test_what_went_one_way(direction: Direction, window: Window | None, expected: tuple[float, float]) -> None:
    found = traffic.flow(STEADY, direction, window)
    assert found is not None
    assert (found.bytes, found.packets) == pytest.approx(expected)


def test_counters_that_make_no_sense_are_no_number() -> None:
    went_back = [*STEADY, Counted(11.1, 0, 0, 0, 0)]
    assert traffic.flow(went_back, DOWN) is None
    assert traffic.flow(STEADY[:1], DOWN) is None
    assert traffic.flow([], DOWN) is None
    for outside in (Window(9.9, 10.5), Window(10.5, 11.1), Window(10.5, 10.5), Window(10.6, 10.5)):
        assert traffic.flow(STEADY, DOWN, outside) is None
    assert traffic.others_bps(None, 0, 52, 0) is None


@pytest.mark.parametrize(
    ("count", "packets", "own", "expected"),
    [
        (1_500_000, 1000, 1_448_000, 0.0),  # nobody else
        (1_500_000, 1000, 1_441_000, 0.0),  # what is unsure counts as ours
        (3_000_000, 2000, 1_448_000, (1_448_000 - 7240) * 8),
        (1_464_000, 23, 1_462_804, 0.0),  # a network card that puts packets together counts one header for all
        (52_000, 1000, 0, 0.0),  # nothing but acknowledgements
        (1_200_000, 1000, 1_448_000, None),  # fewer than ours: a port that counts late, or not all
        (0, 0, 0, 0.0),
    ],
)
def test_others_are_what_is_left_when_headers_and_our_own_payload_are_gone(
    count: float, packets: float, own: float, expected: float | None
) -> None:
    seen = Flow(Window(5.0, 6.0), count, packets)
    assert traffic.others_bps(seen, own, 52, traffic.UNSURE * own) == expected


@given(st.floats(0, 1e12), st.floats(0, 1e9), st.floats(0, 1e12))
def test_others_are_never_negative(count: float, packets: float, own: float) -> None:
    found = traffic.others_bps(Flow(Window(0.0, 1.0), count, packets), own, 66, 0.0)
    assert found is None or found >= 0


def test_the_rate_of_the_last_moments() -> None:
    assert traffic.rate_bps(STEADY, DOWN, 0.3) == pytest.approx(80_000)
    assert traffic.rate_bps(STEADY, UP, 0.3) == pytest.approx(8000)
    assert traffic.rate_bps(STEADY[:3], DOWN, 0.3) is None
    assert traffic.rate_bps([], DOWN, 0.3) is None
    assert traffic.rate_bps([STEADY[5], Counted(11.0, 0, 0, 0, 0)], DOWN, 0.3) is None
