"""When a school is open: its time zone, weekdays, hours, holidays and terms.

Hours are the school's own wall clock, so they move in UTC with daylight saving time. A wall time that a change skips is
taken at the offset before the change, one that comes twice is the first (RFC 5545, 3.3.5). Hours past midnight belong
to the day on which they begin.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from linkbell_agent.slim import dataclass
from linkbell_wire.calendar import DAY_MIN, Stretch, read_days, read_hours, read_weekdays

ONE_DAY = timedelta(days=1)

Days = tuple[date, date]
"""The first and the last."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in UTC; ``end`` is no part of it."""

    start: datetime
    end: datetime


Week = tuple[tuple[Stretch, ...], ...]
"""The hours of each weekday, Monday first; none on a day that is not a school day."""


def week_of(weekdays: str, hours: str) -> Week:
    """Return the week that the two texts say. Raises :class:`ValueError` for what cannot be read."""
    days, read = read_weekdays(weekdays), read_hours(hours)
    return tuple(read.of(day) if day in days or day in read.special else () for day in range(7))


USUAL_WEEK = week_of("mon-fri", "08:00-18:00")


@dataclass(frozen=True, slots=True)
class SchoolCalendar:
    """When one school is open. Without ``terms`` it always is term."""

    zone: tzinfo = UTC
    week: Week = USUAL_WEEK
    holidays: tuple[Days, ...] = ()
    terms: tuple[Days, ...] = ()

    def local_date(self, now: datetime) -> date:
        """Return the date at the school."""
        return now.astimezone(self.zone).date()

    def is_school_day(self, day: date) -> bool:
        """Say whether the school opens on ``day``."""
        in_term = not self.terms or _within(day, self.terms)
        return in_term and bool(self.week[day.weekday()]) and not _within(day, self.holidays)

    def open_spans(self, day: date) -> tuple[Span, ...]:
        """Return when the school is open, of the hours that begin on ``day``, in order and in UTC."""
        if not self.is_school_day(day):
            return ()
        spans: list[Span] = []
        for span in (self._span(day, stretch) for stretch in self.week[day.weekday()]):
            # A wall time that was skipped lies after later ones.
            start = max(span.start, spans[-1].end) if spans else span.start
            if start < span.end:
                spans.append(Span(start, span.end))
        return tuple(spans)

    def is_open(self, now: datetime) -> bool:
        """Say whether the school is open at ``now``."""
        today = self.local_date(now)
        spans = (*self.open_spans(today - ONE_DAY), *self.open_spans(today))
        return any(span.start <= now < span.end for span in spans)

    def whole_day(self, day: date) -> Span:
        """Return ``day`` from midnight to midnight at the school."""
        return self._span(day, (0, DAY_MIN))

    def _span(self, day: date, stretch: Stretch) -> Span:
        return Span(*(self._instant(day, minutes) for minutes in stretch))

    def _instant(self, day: date, minutes: int) -> datetime:
        wall = datetime.combine(day, time(), self.zone) + timedelta(minutes=minutes)
        return wall.astimezone(UTC)


ALWAYS_OPEN = SchoolCalendar(week=week_of("mon-sun", "00:00-24:00"))


def _within(day: date, ranges: tuple[Days, ...]) -> bool:
    return any(first <= day <= last for first, last in ranges)


def read_ranges(texts: Iterable[str]) -> tuple[Days, ...]:
    """Return the days that ``texts`` say. Raises :class:`ValueError` for what cannot be read."""
    return tuple(read_days(text) for text in texts)


def find_zone(name: str) -> tzinfo | None:
    """Return the time zone of that IANA name, None if this box knows none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder, a file that is no zone, a name that is no path
        return None


def known_zones() -> set[str]:
    """Return the names of all time zones this box knows, for telling people what they may have meant."""
    return available_timezones()
