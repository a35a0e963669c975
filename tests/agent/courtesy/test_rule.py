"""When a line counts as in use by others."""

import pytest

from linkbell_agent.courtesy.rule import Busy, Manners, Rates, busy
from linkbell_wire.words import Direction

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
BOTH = (DOWN, UP)
FAST, SLOW, UNKNOWN = Rates(20e6, 8e6), Rates(1e6, 0.5e6), Rates()


@pytest.mark.parametrize(
    ("others", "speed", "ways", "expected"),
    [
        (Rates(0.0, 0.0), FAST, BOTH, None),
        (Rates(2.0e6, 0.8e6), FAST, BOTH, None),
        (Rates(2.1e6, 0.0), FAST, BOTH, Busy(2.1e6, 2e6)),
        (Rates(2.1e6, 1.6e6), FAST, BOTH, Busy(1.6e6, 0.8e6)),
        (Rates(0.0, 1.6e6), FAST, (DOWN,), None),
        (Rates(256e3, 256e3), SLOW, BOTH, None),
        (Rates(257e3, 0.0), SLOW, BOTH, Busy(257e3, 256e3)),
        (Rates(257e3, 0.0), UNKNOWN, BOTH, Busy(257e3, 256e3)),
        (Rates(None, 300e3), UNKNOWN, BOTH, Busy(300e3, 256e3)),
        (UNKNOWN, FAST, BOTH, None),
        (Rates(9e9, None), FAST, (UP,), None),
    ],
)
def test_others_use_the_line(others: Rates, speed: Rates, ways: tuple[Direction, ...], expected: Busy | None) -> None:
    assert busy(others, speed, Manners(), ways) == expected


def test_both_bounds_can_be_set() -> None:
    manners = Manners(busy_share=0.5, busy_bps=1000)
    assert busy(Rates(9e6, None), FAST, manners, BOTH) is None
    assert busy(Rates(1001, None), UNKNOWN, manners, BOTH) == Busy(1001, 1000)
