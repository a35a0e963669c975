"""How long to wait: spread over the whole interval, bounded, and never negative."""

import random

import pytest

from linkbell_agent.retry import LONGEST_RETRY_AFTER_S, Backoff, retry_after_s


def test_the_ceiling_doubles_up_to_its_bound_and_waits_fill_the_interval() -> None:
    draws = [[], [], [], []]  # type: list[list[float]]
    for seed in range(400):
        backoff = Backoff(random.Random(seed), first_s=1, longest_s=4)
        for column in draws:
            column.append(backoff.next_wait_s())
    for column, ceiling in zip(draws, (1, 2, 4, 4), strict=True):
        assert 0 <= min(column) < 0.05 * ceiling
        assert 0.95 * ceiling < max(column) <= ceiling


def test_a_very_long_outage_does_not_overflow() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(5000):
        assert backoff.next_wait_s() <= 300


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("12", 12.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("inf", LONGEST_RETRY_AFTER_S),
        ("999999", LONGEST_RETRY_AFTER_S),
        ("soon", None),
        ("Mon, 02 Mar 2026 04:01:00 GMT", 60.0),
        ("Mon, 02 Mar 2026 03:00:00 GMT", 0.0),
        ("Mon, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, now_unix_s=1772424000.0) == expected
