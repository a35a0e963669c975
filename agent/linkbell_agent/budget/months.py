"""The month a byte is billed in: from one billing day to the next, in the school's time zone. Pure."""

from datetime import UTC, datetime, timedelta, tzinfo

from linkbell_agent.slim import dataclass

_DAY_S = 86_400.0
_LAST_YEAR = 9000
"""A clock that says a later one is wrong, and near the year 9999 there is no next month to compute."""


@dataclass(frozen=True, slots=True)
class Period:
    """One billing month, in UTC; ``key`` is the year and month it begins in, and sorts by time."""

    key: str
    start: datetime
    end: datetime

    @property
    def days(self) -> int:
        """How many days it has."""
        return round((self.end - self.start).total_seconds() / _DAY_S)

    def day(self, now: datetime) -> int:
        """Return which of its days ``now`` is in, from 0."""
        return min(self.days - 1, max(0, int((now - self.start).total_seconds() // _DAY_S)))

    def left(self, now: datetime) -> float:
        """Return the share of it that is still to come, 0 to 1."""
        return min(1.0, max(0.0, (self.end - now) / (self.end - self.start)))


@dataclass(frozen=True, slots=True)
class Calendar:
    """How months are cut. ``billing_day`` is 1 to 28: every month has those."""

    zone: tzinfo = UTC
    billing_day: int = 1

    def period(self, now: datetime) -> Period:
        """Return the billing month that contains ``now``."""
        local = min(now, datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)).astimezone(self.zone)
        months = local.year * 12 + local.month - 1 - (local.day < self.billing_day)
        year, month = divmod(months, 12)
        return Period(f"{year:04}-{month + 1:02}", self._begin(months), self._begin(months + 1))

    def _begin(self, months: int) -> datetime:
        year, month = divmod(months, 12)
        return datetime(year, month + 1, self.billing_day, tzinfo=self.zone).astimezone(UTC)


def zone_named(name: str) -> tzinfo:
    """Return the time zone, UTC if this box does not know it: routers have no list of them."""
    if name == "UTC":
        return UTC
    import zoneinfo  # late: it costs memory, and boxes in UTC have no use for it

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def since(start: datetime, seconds: float) -> datetime:
    """Return the moment ``seconds`` after ``start``, stopping short of the end of all calendars."""
    return start + timedelta(seconds=min(seconds, _DAY_S * 36_500))
