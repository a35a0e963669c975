"""What was spent in which month, and what time it is for sure. Pure.

**Book time** decides the month: the last time that could be trusted, and the time this box has been up since. A clock
that is not synchronised moves it by nothing else, so a box that starts in 1970, or in ten years, opens no new month.

- Forward by trusted time, a new month begins with what was spent since the last trusted time: nobody knows which of
  the two months that was.
- A clock that was trusted and jumps within one boot contradicts itself, and is not trusted for three days.
- After that, or ahead by more than a year, a jump takes all that was spent along.
- Back, everything spent in later months is added to the month that is entered again.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from linkbell_agent.budget.months import Calendar, Period, since
from linkbell_agent.slim import dataclass

STEP = timedelta(days=1)
"""A clock that is more than this away from where it should be has been set."""

DOUBT_S = 3 * 86_400.0
"""For so long a clock that contradicts itself is not trusted; whoever set it wrong has noticed by then."""

FAR = timedelta(days=400)
"""No box is switched off for longer and then goes on in the same ledger."""

KEPT_MONTHS = 6

DAMAGED_MARGIN = 0.1
"""Of the budget: a first test may run ahead of the pace by so much."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All that is known of the time at one moment. ``trusted``: the clock is synchronised, or the collector said so."""

    wall: datetime
    trusted: bool
    boot_id: str
    boottime_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """One uplink's. Bytes per month and kind, ``months`` never empty; the last of them is the present one.

    ``unsure`` are those, per month, that were spent since the last trusted time. ``presumed`` is the share of a
    month's budget that counts as spent because nobody knows; ``history`` says what came before this ledger
    (``kept``, ``none``, ``lost``). ``typical_bytes`` is what tests of a kind lately cost, ``last_day`` the day of the
    month on which the last one ran.
    """

    seen: Reading
    months: Mapping[str, Mapping[str, int]]
    unsure: Mapping[str, int] = field(default_factory=dict)
    presumed: Mapping[str, float] = field(default_factory=dict)
    history: str = "kept"
    typical_bytes: Mapping[str, float] = field(default_factory=dict)
    last_day: Mapping[str, str] = field(default_factory=dict)
    doubt_since_s: float | None = None
    """Boot-time clock at which a trusted clock was first found to contradict itself."""

    @property
    def key(self) -> str:
        """The present month."""
        return max(self.months)

    @property
    def used(self) -> Mapping[str, int]:
        """Bytes spent in the present month, by kind."""
        return self.months[self.key]

    @property
    def unsure_bytes(self) -> int:
        """What was spent since the last trusted time and may all be of the month that it really is.

        Book time never runs faster than time, so the real month touches no more than two of its months.
        """
        return sum(self.unsure[key] for key in sorted(self.unsure)[-2:])


def begin(reading: Reading, calendar: Calendar, *, lost: bool) -> Ledger:
    """Return a ledger for a line nothing is known of; ``lost`` if there was one that cannot be read any more."""
    key = calendar.period(reading.wall).key
    fresh = Ledger(reading, {key: {}}, presumed={key: 1.0} if lost else {}, history="lost" if lost else "none")
    return _presume(fresh, calendar)


def observe(ledger: Ledger, reading: Reading, calendar: Calendar) -> Ledger:
    """Return the ledger at ``reading``: in the month that it is by all that is known."""
    book = _book_time(ledger.seen, reading)
    doubt_since_s = _doubt_since_s(ledger, reading, book)
    is_doubted = doubt_since_s is not None and reading.boottime_s - doubt_since_s < DOUBT_S
    if not reading.trusted or is_doubted:
        now = replace(reading, wall=book, trusted=False)
        key = calendar.period(book).key
        months = ledger.months if key <= ledger.key else {**ledger.months, key: {}}
        return replace(ledger, seen=now, months=months, doubt_since_s=doubt_since_s)
    fresh = reading.wall - book <= FAR and doubt_since_s is None
    months, presumed = _enter(ledger, calendar.period(reading.wall).key, fresh=fresh)
    kept = replace(ledger, seen=reading, months=months, presumed=presumed, unsure={}, doubt_since_s=None)
    return _presume(kept, calendar)


def charge(ledger: Ledger, kind: str, size_bytes: int, key: str | None = None) -> Ledger:
    """Return the ledger with ``size_bytes`` more (or fewer) spent in the month ``key``, if that is still known."""
    if key is None or key not in ledger.months:
        key = ledger.key
    uses = ledger.months[key]
    months = {**ledger.months, key: {**uses, kind: max(0, uses.get(kind, 0) + size_bytes)}}
    if ledger.seen.trusted:
        return replace(ledger, months=months)
    unsure = {**ledger.unsure, key: max(0, ledger.unsure.get(key, 0) + size_bytes)}
    return replace(ledger, months=months, unsure=unsure)


def mark_day(ledger: Ledger, kind: str, period: Period) -> Ledger:
    """Return the ledger with a test of ``kind`` on the present day."""
    return replace(ledger, last_day={**ledger.last_day, kind: day_name(ledger, period)})


def day_name(ledger: Ledger, period: Period) -> str:
    """Return the name of the present day."""
    return f"{period.key}/{period.day(ledger.seen.wall)}"


def learn(ledger: Ledger, kind: str, cost_bytes: int) -> Ledger:
    """Return the ledger with what a test of ``kind`` cost: each new one counts for three tenths."""
    before = ledger.typical_bytes.get(kind)
    mean = cost_bytes if before is None else 0.7 * before + 0.3 * cost_bytes
    return replace(ledger, typical_bytes={**ledger.typical_bytes, kind: mean})


def _doubt_since_s(ledger: Ledger, reading: Reading, book: datetime) -> float | None:
    """Return since when (boot-time clock) a trusted clock contradicts itself, ``None`` if it does not."""
    same_boot = ledger.seen.boot_id == reading.boot_id
    if not reading.trusted:
        return ledger.doubt_since_s if same_boot else None
    was_certain = same_boot and ledger.seen.trusted
    if abs(reading.wall - book) <= STEP or not (was_certain or ledger.doubt_since_s is not None):
        return None
    return ledger.doubt_since_s if same_boot and ledger.doubt_since_s is not None else reading.boottime_s


def _book_time(seen: Reading, reading: Reading) -> datetime:
    same = seen.boot_id == reading.boot_id
    return since(seen.wall, max(0.0, reading.boottime_s - seen.boottime_s) if same else 0.0)


def _enter(ledger: Ledger, key: str, *, fresh: bool) -> tuple[dict[str, Mapping[str, int]], dict[str, float]]:
    """Return months and presumptions with ``key`` the last one."""
    months = {one: uses for one, uses in ledger.months.items() if one <= key}
    presumed = {one: share for one, share in ledger.presumed.items() if one <= key}
    into = dict(months.get(key, {}))
    taken = {one: uses for one, uses in ledger.months.items() if one > key}
    if key > ledger.key and not fresh:
        taken = {ledger.key: ledger.used}
        del months[ledger.key]  # it goes along, and is not to come back a second time
    if key < ledger.key or (key > ledger.key and not fresh):
        presumed[key] = max([ledger.presumed.get(one, 0.0) for one in (*taken, key)])
    for uses in taken.values():
        for kind, size in uses.items():
            into[kind] = into.get(kind, 0) + size
    unknown = sum(size for one, size in ledger.unsure.items() if one != key and one not in taken)
    if unknown:
        into["other"] = into.get("other", 0) + unknown
    months[key] = into
    return {one: months[one] for one in sorted(months)[-KEPT_MONTHS:]}, {
        one: share for one, share in presumed.items() if share and one in months
    }


def _presume(ledger: Ledger, calendar: Calendar) -> Ledger:
    """Once the time is known, say how much of the month's budget a history that is not known may have cost.

    A new box has the rest of the month's share: the one it replaces had the other. A lost ledger counts as if all had
    been spent that its pace allowed, today's included, and a tenth besides.
    """
    if ledger.history == "kept" or not ledger.seen.trusted:
        return ledger
    period = calendar.period(ledger.seen.wall)
    day = period.day(ledger.seen.wall)
    share = day / period.days
    if ledger.history == "lost":
        share = min(1.0, (day + 1) / period.days + DAMAGED_MARGIN)
    return replace(ledger, presumed={period.key: share} if share else {}, history="kept")
