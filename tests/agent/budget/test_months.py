"""Billing months: every moment lies in one, they follow each other without a gap, in whatever time zone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.budget.months import Calendar, zone_named

ZONES = ("UTC", "Asia/Almaty", "America/Bogota", "Pacific/Kiritimati", "Australia/Lord_Howe")
moments = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(8999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, st.sampled_from(ZONES), st.integers(1, 28))
def test_a_moment_lies_in_its_month_and_the_next_begins_where_it_ends(now: datetime, zone: str, day: int) -> None:
    calendar = Calendar(zone_named(zone), day)
    period = calendar.period(now)
    assert period.start <= now < period.end
    assert calendar.period(period.end).start == period.end
    assert calendar.period(period.end).key > period.key
    assert 28 <= period.days <= 31
    assert 0 <= period.day(now) < period.days


@pytest.mark.parametrize(
    ("now", "zone", "day", "key", "start"),
    [
        ("2026-03-31T18:59:59Z", "Asia/Almaty", 1, "2026-03", "2026-02-28T19:00:00Z"),
        ("2026-03-31T19:00:00Z", "Asia/Almaty", 1, "2026-04", "2026-03-31T19:00:00Z"),
        ("2026-03-14T23:00:00Z", "UTC", 15, "2026-02", "2026-02-15T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "UTC", 28, "2025-12", "2025-12-28T00:00:00Z"),
        ("2026-01-01T04:00:00Z", "America/Bogota", 1, "2025-12", "2025-12-01T05:00:00Z"),
    ],
)
def test_months_are_cut_where_the_contract_says(now: str, zone: str, day: int, key: str, start: str) -> None:
    period = Calendar(zone_named(zone), day).period(datetime.fromisoformat(now))
    assert (period.key, period.start) == (key, datetime.fromisoformat(start))


def test_a_clock_beyond_all_calendars_is_still_in_some_month() -> None:
    assert Calendar(zone_named("Asia/Almaty")).period(datetime.max.replace(tzinfo=UTC)).key == "9000-01"


def test_a_zone_nobody_knows_is_utc() -> None:
    assert zone_named("Mars/Olympus").utcoffset(datetime(2026, 1, 1, tzinfo=UTC)) == timedelta()
    assert zone_named("../../etc/passwd").utcoffset(datetime(2026, 1, 1, tzinfo=UTC)) == timedelta()
