"""The one place where this package reads the wall clock and the monotonic clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What the collector asks of a clock; tests give one that stands still."""

    def now_us(self) -> int:
        """Return the wall clock, in microseconds since 1970 (UTC)."""

    def monotonic_s(self) -> float:
        """Return seconds of a clock that never steps, for durations."""


class SystemClock:
    """The clock of this machine."""

    def now_us(self) -> int:
        """Return the wall clock, in microseconds since 1970 (UTC)."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Return seconds of a clock that never steps, for durations."""
        return time.monotonic()


def to_us(moment: datetime) -> int:
    """Return an aware ``moment`` in microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    """Return microseconds since 1970 as a UTC ``datetime``."""
    return _EPOCH + timedelta(microseconds=moment_us)
