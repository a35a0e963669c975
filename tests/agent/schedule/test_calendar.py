"""When a school is open: zones, daylight saving time both ways, evening schools, weekends of all kinds, days off."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.schedule.calendar import ALWAYS_OPEN, SchoolCalendar, find_zone, read_ranges, week_of

ALMATY, BERLIN, LORD_HOWE, CAIRO = "Asia/Almaty", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo"


def school(
    zone: str = "UTC", weekdays: str = "mon-sun", hours: str = "08:00-18:00", holidays: str = "", terms: str = ""
) -> SchoolCalendar:
    found = find_zone(zone)
    assert found is not None
    return SchoolCalendar(found, week_of(weekdays, hours), read_ranges(holidays.split()), read_ranges(terms.split()))


def spans(calendar: SchoolCalendar, day: str) -> list[str]:
    """Return the open spans of a day as ``31 22:00-01 04:00``, in UTC."""
    return [f"{span.start:%d %H:%M}-{span.end:%d %H:%M}" for span in calendar.open_spans(date.fromisoformat(day))]


@pytest.mark.parametrize(
    ("zone", "hours", "day", "expected"),
    [
        pytest.param("UTC", "08:00-18:00", "2026-03-02", ["02 08:00-02 18:00"], id="UTC"),
        pytest.param(ALMATY, "08:00-18:00", "2026-03-02", ["02 03:00-02 13:00"], id="Kazakhstan has one zone, UTC+5"),
        pytest.param(
            ALMATY, "08:00-13:00, 14:00-19:30", "2026-03-02", ["02 03:00-02 08:00", "02 09:00-02 14:30"], id="shifts"
        ),
        pytest.param(BERLIN, "08:00-18:00", "2026-03-28", ["28 07:00-28 17:00"], id="the day before summer time"),
        pytest.param(BERLIN, "08:00-18:00", "2026-03-29", ["29 06:00-29 16:00"], id="the day of summer time"),
        pytest.param(BERLIN, "08:00-18:00", "2026-10-25", ["25 07:00-25 17:00"], id="the day of winter time"),
        pytest.param(BERLIN, "00:00-24:00", "2026-03-29", ["28 23:00-29 22:00"], id="a day of 23 hours"),
        pytest.param(BERLIN, "00:00-24:00", "2026-10-25", ["24 22:00-25 23:00"], id="a day of 25 hours"),
        pytest.param(BERLIN, "02:30-08:00", "2026-03-29", ["29 01:30-29 06:00"], id="opens in the missing hour"),
        pytest.param(BERLIN, "02:30-03:00", "2026-03-29", [], id="hours that do not happen"),
        pytest.param(
            BERLIN, "01:00-02:30, 03:00-05:00", "2026-03-29", ["29 00:00-29 01:30", "29 01:30-29 03:00"], id="x"
        ),
        pytest.param(BERLIN, "02:30-08:00", "2026-10-25", ["25 00:30-25 07:00"], id="opens at the first of two"),
        pytest.param(BERLIN, "18:00-02:30", "2026-10-24", ["24 16:00-25 00:30"], id="closes at the first of two"),
        pytest.param(BERLIN, "18:00-02:30", "2026-03-28", ["28 17:00-29 01:30"], id="closes in the missing hour"),
        pytest.param(LORD_HOWE, "02:15-08:00", "2026-10-04", ["03 15:45-03 21:00"], id="half an hour is missing"),
        pytest.param(LORD_HOWE, "01:45-08:00", "2026-04-05", ["04 14:45-04 21:30"], id="half an hour comes twice"),
        pytest.param(LORD_HOWE, "00:00-24:00", "2026-04-05", ["04 13:00-05 13:30"], id="a day of 24.5 hours"),
        pytest.param(
            "UTC", "18:00-01:30", "2028-02-28", ["28 18:00-29 01:30"], id="an evening school, into a leap day"
        ),
        pytest.param("UTC", "18:00-01:30", "2028-02-29", ["29 18:00-01 01:30"], id="an evening school, on a leap day"),
        pytest.param("UTC", "08:00-18:00; sat 09:00-12:00", "2026-03-07", ["07 09:00-07 12:00"], id="saturdays differ"),
    ],
)
def test_hours_are_the_schools_own_wall_clock(zone: str, hours: str, day: str, expected: list[str]) -> None:
    assert spans(school(zone, hours=hours), day) == expected


@pytest.mark.parametrize(
    ("weekdays", "closed"),
    [
        ("mon-fri", "sat sun"),
        ("mon-sat", "sun"),
        ("sun-thu", "fri sat"),
        ("sat-wed", "thu fri"),
        ("mon,wed", "tue thu"),
    ],
)
def test_weekends_differ_from_country_to_country(weekdays: str, closed: str) -> None:
    calendar = school(weekdays=weekdays)
    monday = date(2026, 3, 2)
    shut = {
        f"{day:%a}".lower()
        for day in (monday + timedelta(days=ahead) for ahead in range(7))
        if not calendar.open_spans(day)
    }
    assert set(closed.split()) <= shut
    assert ("fri" in shut) == ("fri" in closed or weekdays == "mon,wed")


@pytest.mark.parametrize(
    ("day", "is_school_day"),
    [
        ("2026-08-31", False),
        ("2026-09-01", True),
        ("2026-10-26", False),
        ("2026-11-01", False),
        ("2026-11-02", True),
        ("2026-12-16", False),
        ("2026-12-31", True),
        ("2027-01-01", False),
    ],
)
def test_holidays_and_terms_include_both_their_ends(day: str, is_school_day: bool) -> None:
    calendar = school(holidays="2026-10-26/2026-11-01 2026-12-16", terms="2026-09-01/2026-12-31")
    assert calendar.is_school_day(date.fromisoformat(day)) is is_school_day
    assert bool(calendar.open_spans(date.fromisoformat(day))) is is_school_day


def test_the_night_of_the_last_school_day_belongs_to_it() -> None:
    calendar = school(weekdays="mon-fri", hours="18:00-01:00")
    assert calendar.is_open(datetime(2026, 3, 7, 0, 59, tzinfo=UTC)), "Saturday by the clock, Friday's evening"
    assert not calendar.is_open(datetime(2026, 3, 7, 1, 0, tzinfo=UTC))
    assert not calendar.is_open(datetime(2026, 3, 7, 18, 30, tzinfo=UTC))


def test_by_default_schools_are_open_on_weekdays_from_eight_to_six() -> None:
    usual = SchoolCalendar()
    assert [usual.is_open(datetime(2026, 3, 2, hour, tzinfo=UTC)) for hour in (7, 8, 17, 18)] == [
        False,
        True,
        True,
        False,
    ]
    assert not usual.is_open(datetime(2026, 3, 7, 12, tzinfo=UTC))


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from([ALMATY, BERLIN, LORD_HOWE, CAIRO, "America/Sao_Paulo", "Pacific/Chatham"]),
)
def test_open_is_what_the_wall_clock_of_the_school_says(now: datetime, zone: str) -> None:
    calendar = school(zone, weekdays="mon-fri")
    local = now.astimezone(calendar.zone)
    assert calendar.is_open(now) == (local.weekday() < 5 and 8 <= local.hour < 18)


@given(st.dates(date(2026, 1, 1), date(2037, 12, 30)), st.sampled_from([ALMATY, BERLIN, LORD_HOWE, CAIRO]))
def test_one_day_follows_the_other_without_a_gap(day: date, zone: str) -> None:
    calendar = school(zone, hours="00:00-24:00")
    assert calendar.whole_day(day).end == calendar.whole_day(day + timedelta(days=1)).start
    assert calendar.open_spans(day) == (calendar.whole_day(day),)


@pytest.mark.parametrize("name", ["Mars/Olympus", "Asia", "../etc/passwd", "/etc/passwd", "", "a\0b", "tzdata.zi"])
def test_a_name_that_is_no_zone_is_none(name: str) -> None:
    assert find_zone(name) is None


def test_always_is_always() -> None:
    assert ALWAYS_OPEN.is_open(datetime(2026, 3, 8, 3, tzinfo=UTC))
