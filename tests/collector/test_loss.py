"""The accounting of lost records, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.loss import MAX_MISSING, Account, Counted, missing_in_stream, newly_settled, records_lost

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
    account = {name: count for name, count in facts.items() if name != "spooled"}
    assert records_lost(Account(**account), spooled=facts.get("spooled", 0)) == lost


BATCHES = {
    "every number is new": (([0, 1], [2], set()), 3),
    "a number that is stored and refused in one batch is one number": (([0, 1], [1], set()), 2),
    "a number refused twice is one number": (([], [3, 3], set()), 1),
    "what was settled before is not settled again": (([4, 5], [6], {5, 6}), 1),
    "an empty batch settles nothing": (([], [], set()), 0),
}


@pytest.mark.parametrize(("batch", "count"), BATCHES.values(), ids=BATCHES.keys())
def test_a_number_is_settled_once(batch: tuple[list[int], list[int], set[int]], count: int) -> None:
    assert newly_settled(*batch) == count


REPORTS = {
    "nothing reported": ([], 0),
    "a counter that grows": ([3, 10, 10], 10),
    "a counter that starts anew keeps what it had": ([10, 0], 10),
    "and goes on from there": ([10, 0, 4], 14),
    "even if it is soon past its old value": ([10, 2, 12], 22),
    "twice": ([10, 1, 5, 0, 2], 17),
    "a nonsensical number does not overflow": ([2**53 - 1, 1, 0], 2**53 - 1),
}


@pytest.mark.parametrize(("reports", "total"), REPORTS.values(), ids=REPORTS.keys())
def test_a_counter_that_starts_anew_loses_nothing(reports: list[int], total: int) -> None:
    counted = Counted()
    for reported in reports:
        counted = counted.then(reported)
    assert counted.total == total


@given(st.lists(st.integers(0, 10**6)))
def test_a_counter_never_falls_whatever_is_reported(reports: list[int]) -> None:
    counted = Counted()
    for reported in reports:
        counted, before = counted.then(reported), counted.total
        assert counted.total >= before


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts, counts)
def test_loss_is_never_negative_and_never_more_than_what_is_missing(
    missing: int, refused: int, spooled: int, dropped: int, rejected: int
) -> None:
    lost = records_lost(Account(missing, refused, dropped, rejected), spooled=spooled)
    assert 0 <= lost <= missing
