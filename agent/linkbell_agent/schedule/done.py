"""What was served of the slots of the last days: small, serialisable, and true whichever way the clock jumps.

Each slot is a bit, not a mark that moves on: a clock that ran ahead for an hour and was set back neither repeats a
slot nor loses those between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from linkbell_agent.slim import dataclass

DAYS_KEPT = 6
"""Days of the calendar and of boots without a clock, those last touched."""

MAX_PARTS = 1440
"""Of a day: nothing is measured more often than once a minute, and a file that says otherwise is not believed."""


class Part(Protocol):
    """What is asked of a slot here: which part of which day it is."""

    @property
    def day(self) -> str:
        """The day, by its date or otherwise; a name."""

    @property
    def index(self) -> int:
        """Which of the day's parts, from 0."""

    @property
    def of(self) -> int:
        """Into how many parts the day is cut."""

    @property
    def key(self) -> str:
        """Its name, for good."""


@dataclass(frozen=True, slots=True)
class DayDone:
    """One day: into how many parts it was cut, and a bit for each that was served, and for each known to be missed."""

    of: int
    served: int = 0
    missed: int = 0

    def cut_into(self, of: int) -> "DayDone":
        """Return the same with the day cut anew: a part is served if that in which it begins was."""
        if of == self.of:
            return self
        return DayDone(of, _recut(self.served, self.of, of), _recut(self.missed, self.of, of))


def _recut(bits: int, old: int, new: int) -> int:
    return sum(1 << part for part in range(new) if bits >> (part * old // new) & 1)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often the slot ``key`` was begun, and when it is to be tried again; None while the last try has no end."""

    key: str
    count: int
    again: datetime | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was served of one kind on one uplink. ``ever`` says whether it was measured at all, at any time."""

    days: tuple[tuple[str, DayDone], ...] = ()
    attempts: Attempts | None = None
    ever: bool = False

    def is_served(self, part: Part) -> bool:
        """Say whether that slot has its result."""
        return bool(self._day(part).served >> part.index & 1)

    def is_missed(self, part: Part) -> bool:
        """Say whether it is known already that the slot went by."""
        return bool(self._day(part).missed >> part.index & 1)

    def attempts_in(self, part: Part) -> Attempts:
        """Return what was tried in that slot."""
        tried = self.attempts
        return tried if tried is not None and tried.key == part.key else Attempts(part.key, 0)

    def begun(self, part: Part) -> "Done":
        """Return this with one more attempt begun: kept before the test starts, or a crash would repeat it for ever."""
        return replace(self, attempts=Attempts(part.key, self.attempts_in(part).count + 1), ever=True)

    def to_try_again(self, part: Part, again: datetime) -> "Done":
        """Return this with the attempt ended, and another due."""
        return replace(self, attempts=Attempts(part.key, self.attempts_in(part).count, again))

    def served(self, part: Part) -> "Done":
        """Return this with the slot served."""
        day = self._day(part)
        return self._with(part.day, replace(day, served=day.served | 1 << part.index))

    def missed(self, parts: Iterable[Part]) -> "Done":
        """Return this with ``parts`` known to have gone by."""
        found = self
        for part in parts:
            day = found._day(part)
            found = found._with(part.day, replace(day, missed=day.missed | 1 << part.index))
        return found

    def _day(self, part: Part) -> DayDone:
        return dict(self.days).get(part.day, DayDone(part.of)).cut_into(part.of)

    def _with(self, name: str, day: DayDone) -> "Done":
        others = tuple(one for one in self.days if one[0] != name)
        return replace(self, days=(*others, (name, day))[-DAYS_KEPT:])


def dump(done: Done) -> dict[str, Any]:
    """Return what JSON can hold."""
    tried = done.attempts
    return {
        "ever": done.ever,
        "days": [[name, day.of, f"{day.served:x}", f"{day.missed:x}"] for name, day in done.days],
        "attempts": None
        if tried is None
        else [tried.key, tried.count, None if tried.again is None else tried.again.isoformat()],
    }


def load(kept: Mapping[str, Any]) -> Done:
    """Return what :func:`dump` made of it. Raises ValueError, TypeError or KeyError for anything else."""
    days = tuple((str(name), _day_from(of, served, missed)) for name, of, served, missed in kept["days"])
    tried = kept["attempts"]
    attempts = None
    if tried is not None:
        key, count, again = tried
        attempts = Attempts(str(key), int(count), None if again is None else datetime.fromisoformat(again))
        if attempts.again is not None and attempts.again.tzinfo is None:
            raise ValueError("a time without its zone")
    return Done(days[-DAYS_KEPT:], attempts, bool(kept["ever"]))


def _day_from(of: Any, served: str, missed: str) -> DayDone:
    if not isinstance(of, int) or not 1 <= of <= MAX_PARTS:
        raise ValueError("no number of parts")
    return DayDone(of, int(served, 16), int(missed, 16))
