"""Moments of speed tests: one in each slot, spread over a fleet, the same however often asked."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.schedule import next_moment, phase, slot_at

moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2199, 12, 1), timezones=st.just(UTC))  # noqa: DTZ001
rates = st.integers(1, 288)


@given(moments, rates)
def test_a_slot_contains_the_moment_it_was_asked_for(now: datetime, per_day: int) -> None:
    slot = slot_at(now, per_day)
    assert slot.start <= now < slot.end
    assert slot.start.date() == now.date()


@given(moments, rates, st.text(max_size=10))
def test_the_next_moment_is_never_past_and_within_this_slot_or_the_next(now: datetime, per_day: int, seed: str) -> None:
    moment = next_moment(now, per_day, seed, done=None)
    assert now <= moment <= slot_at(now, per_day).end
    later = next_moment(now, per_day, seed, done=slot_at(now, per_day).key)
    assert slot_at(now, per_day).end <= later


def test_the_moment_of_a_slot_is_the_same_at_each_asking_before_it() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    moment = next_moment(start, 3, "agent-1", None)
    assert next_moment(start + (moment - start) / 2, 3, "agent-1", None) == moment


def test_a_served_slot_is_not_served_again() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    done = slot_at(start, 3).key
    assert next_moment(start, 3, "agent-1", done) >= datetime(2026, 3, 2, 8, tzinfo=UTC)


def test_a_fleet_spreads_over_the_slot() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    fleet = 10_000
    minutes = Counter(
        (next_moment(start, 3, f"agent-{number}", None) - start) // timedelta(minutes=1) for number in range(fleet)
    )
    mean = fleet / 480
    assert len(minutes) == 480
    assert max(minutes.values()) <= 2.2 * mean


def test_phases_fill_the_interval() -> None:
    phases = [phase(f"agent-{number}", 60.0) for number in range(1000)]
    assert 0 <= min(phases) < 1
    assert 59 < max(phases) < 60
