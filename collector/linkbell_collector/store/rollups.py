"""Sums per series and hour or day, from which long charts are drawn. Pure.

All are whole numbers (microseconds, bits per second, bytes), so that they come out the same in whatever order records
arrive; adding a record to them at its commit, once, is all it takes to be right when data is late.

| column | what |
|---|---|
| count | records |
| failures | those that are a failure, or a ping without any reply |
| sent, received | packets of pings |
| measured, total | how many values were measured, and their sum; for pings each reply counts |
| low, high | smallest and largest value |
| passed | floor checks that were passed; ``measured - passed`` were not |
| bytes | payload of speed tests and checks |

The value is the round trip of a ping, the duration of a look-up or fetch (microseconds), the speed of a direction
(series of target ``download`` and ``upload``) or of a check (bits per second).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from linkbell_wire import AnyRecord, CheckRecord, DnsRecord, HttpRecord, PingRecord, SpeedRecord
from linkbell_wire.records import SpeedResult

QUARTER_US = 900_000_000
"""Records are gathered by quarters of an hour: every time zone's days begin at one."""

HOUR_US = 3_600_000_000
_QUARTERS_OF_AN_HOUR = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CAP = 2**36
"""No single value counts for more (68 Gbit/s, 68 GB, 19 hours): no box can make a sum overflow."""


@dataclass(slots=True)
class Sums:
    """See the table above."""

    count: int = 0
    failures: int = 0
    sent: int = 0
    received: int = 0
    measured: int = 0
    total: int = 0
    low: int | None = None
    high: int | None = None
    passed: int = 0
    bytes: int = 0

    def add(self, other: "Sums") -> None:
        """Add what another part of the same time holds."""
        self.count += other.count
        self.failures += other.failures
        self.sent += other.sent
        self.received += other.received
        self.measured += other.measured
        self.total += other.total
        if other.low is not None and (self.low is None or other.low < self.low):
            self.low = other.low
        if other.high is not None and (self.high is None or other.high > self.high):
            self.high = other.high
        self.passed += other.passed
        self.bytes += other.bytes

    def value(self, measured: float) -> None:
        """Add one value."""
        value = min(int(measured + 0.5), CAP)
        self.measured += 1
        self.total += value
        if self.low is None or value < self.low:
            self.low = value
        if self.high is None or value > self.high:
            self.high = value

    def row(self) -> tuple[int | None, ...]:
        """Return the columns."""
        return (
            self.count,
            self.failures,
            self.sent,
            self.received,
            self.measured,
            self.total,
            self.low,
            self.high,
            self.passed,
            self.bytes,
        )


COLUMNS = tuple(Sums.__dataclass_fields__)
"""Names of the columns, in order."""

Add = Callable[[Sums, Any], None]


def add_ping(sums: Sums, record: PingRecord) -> None:
    """Add a ping. The commonest record by far, so this is written out."""
    received = record.received
    sums.count += 1
    sums.sent += record.sent
    if not received:
        sums.failures += 1
        return
    sums.received += received
    sums.measured += received
    # The wire holds that a ping with a reply has all three.
    total = int(record.rtt_mean_s * 1e6 + 0.5) * received  # type: ignore[operator]
    sums.total += min(CAP, total)
    low, high = int(record.rtt_min_s * 1e6 + 0.5), int(record.rtt_max_s * 1e6 + 0.5)  # type: ignore[operator]
    if sums.low is None or low < sums.low:
        sums.low = low
    if sums.high is None or high > sums.high:
        sums.high = high


def _add_duration(sums: Sums, record: DnsRecord | HttpRecord) -> None:
    sums.count += 1
    sums.failures += record.failure is not None
    if record.failure is None and record.duration_s is not None:
        sums.value(record.duration_s * 1e6)


def _add_check(sums: Sums, record: CheckRecord) -> None:
    sums.count += 1
    sums.bytes += min(record.bytes, CAP)
    if record.passed is None or record.bps is None:
        sums.failures += 1
        return
    sums.value(record.bps)
    sums.passed += record.passed


def add_direction(sums: Sums, result: SpeedResult) -> None:
    """Add one direction of a speed test."""
    sums.count += 1
    sums.bytes += min(result.bytes, CAP)
    if result.bps is None:
        sums.failures += 1
        return
    sums.value(result.bps)


def _add_any(sums: Sums, record: AnyRecord) -> None:
    sums.count += 1
    sums.failures += getattr(record, "failure", None) is not None


_ADD: dict[str, Add] = {"ping": add_ping, "dns": _add_duration, "http": _add_duration, "check": _add_check}


def add_record(sums: Sums, record: AnyRecord) -> None:
    """Add a record to the sums of its own series."""
    _ADD.get(record.kind, _add_any)(sums, record)


def directions(record: SpeedRecord) -> Iterator[tuple[str, SpeedResult]]:
    """Yield the directions of a speed test: each is a series of sums of its own."""
    if record.download is not None:
        yield "download", record.download
    if record.upload is not None:
        yield "upload", record.upload


@dataclass(frozen=True, slots=True)
class Gathered:
    """Sums of one series in one quarter of an hour, and the time zone of its school."""

    series: int
    quarter: int
    zone: str
    sums: Sums


Rows = dict[tuple[int, int], Sums]
"""By series and time."""


def by_hour(gathered: Iterable[Gathered], oldest_us: int) -> Rows:
    """Return the sums per series and start of an hour in UTC; hours before ``oldest_us`` are kept no more."""
    found: Rows = {}
    for item in gathered:
        start_us = item.quarter // _QUARTERS_OF_AN_HOUR * HOUR_US
        if start_us >= oldest_us:
            _put(found, (item.series, start_us), item.sums)
    return found


def by_day(gathered: Iterable[Gathered]) -> Rows:
    """Return the sums per series and day of its school, counted from 1970-01-01."""
    found: Rows = {}
    for item in gathered:
        _put(found, (item.series, local_day(item.zone, item.quarter)), item.sums)
    return found


def _put(found: Rows, key: tuple[int, int], sums: Sums) -> None:
    """Add ``sums``, which are not changed: most hours of a commit are made of one quarter."""
    before = found.get(key)
    if before is None:
        found[key] = sums
        return
    both = replace(before)
    both.add(sums)
    found[key] = both


@lru_cache(16_384)
def local_day(zone: str, quarter: int) -> int:
    """Return the day at ``zone``, in days since 1970-01-01, of a quarter of an hour, counted from 1970 in UTC."""
    local = (_EPOCH + timedelta(minutes=15 * quarter)).astimezone(_zone(zone))
    return (local.date() - _EPOCH.date()).days


@lru_cache(512)
def _zone(name: str) -> ZoneInfo | Any:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC  # a zone this machine does not know: the days are then those of UTC


@dataclass(frozen=True, slots=True)
class HistoryWanted:
    """Which sums: of a school, of these kinds of record, from ``first`` on and before ``end``.

    In microseconds since 1970 for hours; in days since 1970-01-01, of the school's own, for days.
    """

    school: str
    kinds: Sequence[str]
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class SeriesSums:
    """The sums of one series in one hour or day (``at``: as in :class:`HistoryWanted`)."""

    agent: str
    kind: str
    uplink: str
    target: str
    at: int
    sums: Sums
