"""How a school's weekdays, hours and days off are written, in configurations and settings alike.

``mon-fri`` are weekdays; ``08:00-18:00`` are hours; ``08:00-13:00, 14:00-19:00; sat 08:00-13:00`` are hours with a
break and a weekday that differs; ``2026-03-21/2026-03-29`` are days, both ends included.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of :meth:`datetime.date.weekday`."""

MAX_DAYS_ENTRIES = 128
"""Most holidays, or terms: a few years' worth."""

DAY_MIN = 24 * 60

Stretch = tuple[int, int]
"""From and to, in minutes after midnight; beyond 1440 it ends on the next day."""

_SPAN = re.compile(r"(\d{1,2}):(\d\d) ?[-–] ?(\d{1,2}):(\d\d)", re.ASCII)
_WITH_DAYS = re.compile(r"([a-z][a-z ,–-]*?) +(?=\d)")


@dataclass(frozen=True, slots=True)
class Hours:
    """``usual`` are a school day's; ``special`` those of weekdays that differ, and are school days too. 0 is Monday."""

    usual: tuple[Stretch, ...] = ()
    special: Mapping[int, tuple[Stretch, ...]] = field(default_factory=dict)

    def of(self, weekday: int) -> tuple[Stretch, ...]:
        """Return the hours of a weekday on which there is school."""
        return self.special.get(weekday, self.usual)


def read_weekdays(text: str) -> frozenset[int]:
    """Read ``mon-fri``, ``sat-thu`` or ``mon,wed,fri``; 0 is Monday. Raises :class:`ValueError` with a sentence."""
    found: set[int] = set()
    for part in text.lower().replace("–", "-").split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start, end = _weekday(first), _weekday(last if dash else first)
        found |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(found)


def _weekday(word: str) -> int:
    if word not in WEEKDAYS:
        raise ValueError(f"{word!r} is no weekday: write them like mon-fri, sun-thu or mon,wed,fri")
    return WEEKDAYS.index(word)


def read_hours(text: str) -> Hours:
    """Read hours. A closing time that is not after the opening is on the next day. Raises :class:`ValueError`."""
    usual: tuple[Stretch, ...] = ()
    special: dict[int, tuple[Stretch, ...]] = {}
    for number, part in enumerate(text.lower().split(";")):
        days = _WITH_DAYS.match(part.strip())
        if days is None and number:
            raise ValueError(f"{part.strip()!r} must say for which weekdays: write it like sat 08:00-13:00")
        stretches = tuple(_stretches(part.strip()[days.end() if days else 0 :]))
        if days is None:
            usual = stretches
        else:
            special |= dict.fromkeys(read_weekdays(days[1]), stretches)
    hours = Hours(usual, special)
    for today in range(7):
        late, early = hours.of(today), hours.of((today + 1) % 7)
        if late and early and late[-1][1] - DAY_MIN > early[0][0]:
            raise ValueError(f"{text!r}: the hours of one day reach into those of the next")
    return hours


def _stretches(text: str) -> Iterator[Stretch]:
    earliest, latest = 0, 2 * DAY_MIN
    for part in text.split(","):
        found = _SPAN.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"{part.strip()!r} are no hours: write them like 08:00-18:00")
        opens, closes = _minutes(found[1], found[2]), _minutes(found[3], found[4])
        if opens == DAY_MIN:
            raise ValueError("24:00 is a closing time only: a day that opens at midnight opens at 00:00")
        closes += DAY_MIN if closes <= opens else 0
        if opens < earliest or closes > latest:
            raise ValueError(f"{text.strip()!r}: write hours in their order, and without overlap")
        yield opens, closes
        earliest, latest = closes, min(latest, opens + DAY_MIN)


def _minutes(hours: str, minutes: str) -> int:
    total = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or total > DAY_MIN:
        raise ValueError(f"{hours}:{minutes} is no time of day: give 00:00 to 24:00")
    return total


def read_days(text: str) -> tuple[date, date]:
    """Read ``2026-03-22`` or ``2026-03-21/2026-03-29``; returns the first and the last day.

    Raises :class:`ValueError` with a sentence.
    """
    first_text, slash, last_text = text.partition("/")
    try:
        first = date.fromisoformat(first_text.strip())
        last = date.fromisoformat(last_text.strip()) if slash else first
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no day there is ({error}): write 2026-03-22, or 2026-03-21/2026-03-29 for several"
        ) from error
    if last < first:
        raise ValueError(f"{text!r} ends before it begins: the first day comes first")
    return first, last


def _held(read: Callable[[str], object]) -> AfterValidator:
    """Return a validator that keeps the text as it was written and refuses what ``read`` does not understand."""

    def hold(text: str) -> str:
        read(text)
        return text

    return AfterValidator(hold)


WeekdaysText = Annotated[str, StringConstraints(max_length=32), _held(read_weekdays)]
HoursText = Annotated[str, StringConstraints(max_length=200), _held(read_hours)]
DaysText = Annotated[str, StringConstraints(max_length=21), _held(read_days)]
