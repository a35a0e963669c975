"""Slots: a day's open time in equal parts, one test in each, at a moment of this agent's own.

Time comes in as an argument. Moments are drawn from a hash of the agent's id, the uplink, the kind and the slot, whose
name has the date in it, so that a fleet spreads evenly over each slot and no two thousand schools test on the hour.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from linkbell_agent.retry import LONGEST_WAIT_IN_SLOT_S, MAX_ATTEMPTS_IN_SLOT, wait_in_slot_s
from linkbell_agent.schedule.calendar import ALWAYS_OPEN, ONE_DAY, SchoolCalendar, Span
from linkbell_agent.schedule.done import MAX_PARTS, Done
from linkbell_agent.schedule.draw import fraction
from linkbell_agent.slim import dataclass

HORIZON_DAYS = 400
"""How far ahead an open day is looked for: over the longest holidays."""

OLDEST = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = datetime(2100, 1, 1, tzinfo=UTC)
"""This program is no older, and no clock that says so is right."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What has slots of its own."""

    SPEED = "speed"
    CHECK_DOWNLOAD = "check-download"
    CHECK_UPLOAD = "check-upload"


@dataclass(frozen=True, slots=True)
class Slot:
    """One part of a day. ``pieces`` are several where a break lies in it.

    ``is_closed`` is a whole day without school, in which nothing is measured.
    """

    day: str
    index: int
    of: int
    pieces: tuple[Span, ...]
    is_closed: bool = False

    @property
    def key(self) -> str:
        """Its name, for good."""
        return f"{self.day}/{self.index}of{self.of}"

    @property
    def start(self) -> datetime:
        """When it begins."""
        return self.pieces[0].start

    @property
    def end(self) -> datetime:
        """When it is over."""
        return self.pieces[-1].end

    def moment(self, share: float, since: datetime) -> datetime:
        """Return the moment at ``share`` (0 to under 1) of what is left of it at ``since``, breaks left out."""
        left = [Span(max(piece.start, since), piece.end) for piece in self.pieces if piece.end > since]
        ahead = share * sum((piece.end - piece.start for piece in left), timedelta())
        for piece in left:
            if ahead < piece.end - piece.start:
                return piece.start + ahead
            ahead -= piece.end - piece.start
        return self.end


@dataclass(frozen=True, slots=True)
class Timetable:
    """How often something is measured while the school is open: ``per_day`` times, or every ``interval_s``.

    ``says_closed`` makes one slot of each closed day, in which it is recorded that nothing is measured.
    """

    kind: Kind
    calendar: SchoolCalendar
    per_day: int | None = None
    interval_s: float | None = None
    says_closed: bool = True

    def parts(self, open_time: timedelta) -> int:
        """Return into how many slots a day with so much open time is cut."""
        if self.per_day is not None:
            return self.per_day
        assert self.interval_s is not None
        return min(MAX_PARTS, max(1, round(open_time.total_seconds() / self.interval_s)))


@dataclass(frozen=True, slots=True)
class Present:
    """Now, on the axis that slots are laid on. ``axis`` is empty for the wall clock, else names the boot."""

    now: datetime
    axis: str = ""


def present(wall: datetime, boottime_s: float, boot_id: str) -> Present:
    """Return now by the wall clock, or by the time since boot where that clock is plainly wrong.

    A box whose clock battery is dead and that has no time server yet measures nevertheless: round the clock, since
    nobody can tell when the school is open.
    """
    if OLDEST <= wall < NEWEST:
        return Present(wall)
    return Present(_EPOCH + timedelta(seconds=boottime_s), f"boot {boot_id[:8]} ")


@dataclass(frozen=True, slots=True)
class Due:
    """What comes next: ``moment`` is on the axis of the :class:`Present` it was asked with."""

    moment: datetime
    slot: Slot
    attempt: int


@dataclass(frozen=True, slots=True)
class Agenda:
    """The timetable of one kind on one uplink of one agent. ``seed`` is the agent's id."""

    seed: str
    uplink: str
    timetable: Timetable

    def next_due(self, at: Present, done: Done, previous: Due | None = None) -> Due | None:
        """Return what is due next, a past moment if it is due now; None if nothing is for more than a year.

        A slot whose moment went by while the box was off is served at a random moment of what is left of it, one that
        is over never. ``previous`` is the last answer: a moment once drawn stays while its slot does.
        """
        timetable, today = self._laid_on(at)
        for ahead in range(-1, HORIZON_DAYS):
            for slot in slots_of(timetable, today + ahead * ONE_DAY, at.axis):
                attempt = done.attempts_in(slot).count + 1
                if slot.end <= at.now or done.is_served(slot) or attempt > MAX_ATTEMPTS_IN_SLOT:
                    continue
                if previous is not None and (previous.slot, previous.attempt) == (slot, attempt):
                    return previous
                moment = self._draw(slot, at.now, done)
                if moment < slot.end:
                    return Due(moment, slot, attempt)
        return None

    def gone_by(self, at: Present, done: Done) -> tuple[Slot, ...]:
        """Return the slots of today and yesterday that are over, without a result, and not known to be missed yet."""
        timetable, today = self._laid_on(at)
        slots = (*slots_of(timetable, today - ONE_DAY, at.axis), *slots_of(timetable, today, at.axis))
        over = (slot for slot in slots if slot.end <= at.now and not slot.is_closed)
        return tuple(slot for slot in over if not done.is_served(slot) and not done.is_missed(slot))

    def current(self, at: Present) -> Slot | None:
        """Return the slot of this moment, None while the school is closed."""
        timetable, today = self._laid_on(at)
        slots = (*slots_of(timetable, today - ONE_DAY, at.axis), *slots_of(timetable, today, at.axis))
        return next((slot for slot in slots if not slot.is_closed and slot.start <= at.now < slot.end), None)

    def again(self, slot: Slot, now: datetime, attempts: int, asked_s: float | None = None) -> datetime | None:
        """Return when to try again after ``attempts`` failures, None if nothing but giving up is left.

        ``asked_s`` is for how long the server asked to be left alone.
        """
        if attempts >= MAX_ATTEMPTS_IN_SLOT:
            return None
        wait_s = wait_in_slot_s(attempts, fraction(f"{self._name}/{slot.key}/again/{attempts}"), asked_s)
        moment = now + timedelta(seconds=wait_s)
        return moment if moment < slot.end else None

    def _draw(self, slot: Slot, now: datetime, done: Done) -> datetime:
        tried = done.attempts_in(slot)
        if tried.count:
            # Without an end the attempt was cut off, by the power perhaps; a time far ahead was set by another clock.
            latest = now + timedelta(seconds=LONGEST_WAIT_IN_SLOT_S)
            again = tried.again if tried.again is not None and tried.again <= latest else None
            return again or self.again(slot, now, tried.count) or slot.end
        share = fraction(f"{self._name}/{slot.key}")
        moment = slot.moment(share, slot.start)
        return moment if moment >= now else slot.moment(fraction(f"{self._name}/{slot.key}/late"), now)

    @property
    def _name(self) -> str:
        return f"{self.seed}/{self.uplink}/{self.timetable.kind}"

    def _laid_on(self, at: Present) -> tuple[Timetable, date]:
        timetable = replace(self.timetable, calendar=ALWAYS_OPEN) if at.axis else self.timetable
        return timetable, timetable.calendar.local_date(at.now)


@lru_cache(maxsize=8)
def slots_of(timetable: Timetable, day: date, axis: str = "") -> tuple[Slot, ...]:
    """Return the slots of ``day``, in order: those of its hours, which may end on the next day."""
    calendar, name = timetable.calendar, f"{axis}{day.isoformat()}"
    if not calendar.is_school_day(day):
        closed = Slot(f"{name} closed", 0, 1, (calendar.whole_day(day),), is_closed=True)
        return (closed,) if timetable.says_closed else ()
    spans = calendar.open_spans(day)
    if not spans:
        return ()
    of = timetable.parts(_length(spans))
    return tuple(Slot(name, index, of, pieces) for index, pieces in enumerate(_cut(spans, of)))


def _cut(spans: tuple[Span, ...], of: int) -> Iterator[tuple[Span, ...]]:
    """Yield ``of`` parts of equal length, each of one span or of several."""
    total = _length(spans)
    for index in range(of):
        yield tuple(_between(spans, total * index // of, total * (index + 1) // of))


def _between(spans: tuple[Span, ...], first: timedelta, last: timedelta) -> Iterator[Span]:
    """Yield what lies from ``first`` to ``last`` of open time."""
    before = timedelta()
    for span in spans:
        length = span.end - span.start
        start, end = max(first - before, timedelta()), min(last - before, length)
        if start < end:
            yield Span(span.start + start, span.start + end)
        before += length


def _length(spans: Iterable[Span]) -> timedelta:
    return sum((span.end - span.start for span in spans), timedelta())
