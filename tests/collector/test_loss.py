"""The accounting of lost records, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.loss import MAX_MISSING, missing_in_stream, records_lost

STREAMS = {
    "nothing was seen": ((-1, 0), 0),
    "all that was handed out is settled": ((9, 10), 0),
    "three numbers below the highest never came": ((9, 7), 3),
    "a number that was refused and later stored is not counted against others": ((9, 11), 0),
    "a nonsensical number does not overflow": ((2**53 - 1, 1), MAX_MISSING),
}


@pytest.mark.parametrize(("stream", "missing"), STREAMS.values(), ids=STREAMS.keys())
def test_gaps_of_a_stream(stream: tuple[int, int], missing: int) -> None:
    assert missing_in_stream(*stream) == missing


LOSSES = {
    "no gap, no loss": ({}, 0),
    "a gap nobody explains is a loss": ({"missing": 3}, 3),
    "records that wait in the spool are not lost": ({"missing": 3, "spooled": 3}, 0),
    "records dropped on purpose were reported, and are not lost here": ({"missing": 5, "dropped": 4}, 1),
    "records we refused by number left no gap": ({"missing": 2, "refused": 7, "rejected": 7}, 2),
    "records refused unreadable left gaps the agent has counted": ({"missing": 2, "refused": 7, "rejected": 9}, 0),
    "an agent that has not yet counted our refusals": ({"missing": 2, "refused": 7, "rejected": 0}, 2),
    "more waits than is missing": ({"missing": 1, "spooled": 500}, 0),
}


@pytest.mark.parametrize(("facts", "lost"), LOSSES.values(), ids=LOSSES.keys())
def test_losses_of_an_agent(facts: dict[str, int], lost: int) -> None:
    nothing = {"missing": 0, "refused": 0, "spooled": 0, "dropped": 0, "rejected": 0}
    assert records_lost(**(nothing | facts)) == lost


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts, counts)
def test_loss_is_never_negative_and_never_more_than_what_is_missing(
    missing: int, refused: int, spooled: int, dropped: int, rejected: int
) -> None:
    lost = records_lost(missing=missing, refused=refused, spooled=spooled, dropped=dropped, rejected=rejected)
    assert 0 <= lost <= missing
