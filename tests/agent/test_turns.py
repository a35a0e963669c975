"""Whose turn it is: a table, and two promises that hold whatever waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.turns import HISTORY_PER_LIVE, Lane, Waiting, whose_turn

TABLE = [
    (Waiting(live=0, urgent=False, on_disk=0), 0, None),
    (Waiting(live=0, urgent=False, on_disk=0), HISTORY_PER_LIVE, None),
    (Waiting(live=5, urgent=False, on_disk=0), 0, Lane.LIVE),
    (Waiting(live=5, urgent=False, on_disk=9), HISTORY_PER_LIVE, Lane.LIVE),
    (Waiting(live=5, urgent=False, on_disk=9), 0, Lane.VALUED),
    (Waiting(live=5, urgent=False, on_disk=9), 1, Lane.HISTORY),
    (Waiting(live=5, urgent=False, on_disk=9), 2, Lane.HISTORY),
    (Waiting(live=5, urgent=True, on_disk=9), 1, Lane.LIVE),
    (Waiting(live=0, urgent=False, on_disk=9), HISTORY_PER_LIVE, Lane.NEWEST),
    (Waiting(live=0, urgent=False, on_disk=9), HISTORY_PER_LIVE + 1, Lane.HISTORY),
    (Waiting(live=0, urgent=False, on_disk=9), 2 * HISTORY_PER_LIVE, Lane.VALUED),
]


@pytest.mark.parametrize(("waiting", "since_live", "expected"), TABLE)
def test_the_lane(waiting: Waiting, since_live: int, expected: Lane | None) -> None:
    assert whose_turn(waiting, since_live) is expected


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 10))
def test_while_both_wait_neither_starves(live: int, on_disk: int, since_live: int) -> None:
    taken: list[Lane] = []
    for _ in range(2 * (HISTORY_PER_LIVE + 1)):
        # What is new keeps coming, so does what is on disk: only the order decides.
        lane = whose_turn(Waiting(live + 1, False, on_disk + 1), since_live)
        assert lane is not None
        taken.append(lane)
        since_live = 0 if lane is Lane.LIVE else since_live + 1
    assert taken.count(Lane.LIVE) >= 1
    assert taken.count(Lane.HISTORY) >= HISTORY_PER_LIVE - 1
    assert taken.count(Lane.VALUED) >= 1


@given(st.integers(0, 50), st.booleans(), st.integers(0, 50), st.integers(0, 10))
def test_something_goes_exactly_if_something_waits(live: int, urgent: bool, on_disk: int, since_live: int) -> None:
    lane = whose_turn(Waiting(live, urgent and live > 0, on_disk), since_live)
    assert (lane is None) == (live + on_disk == 0)
    assert lane is not Lane.LIVE or live > 0
    assert lane in (Lane.LIVE, None) or on_disk > 0
