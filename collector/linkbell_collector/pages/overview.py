"""What the first page shows, decided from a snapshot of live state. Pure; no queries at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from linkbell_collector.clock import from_us
from linkbell_collector.lifetimes import Horizon
from linkbell_collector.live import PingReading, SchoolLive, Slot, Snapshot, SpeedReading
from linkbell_collector.pages.failure_words import in_words
from linkbell_wire import RecordKind
from linkbell_wire.words import Direction

PAGE_SIZE = 200
LOSS_BAD = 0.05
LOSS_MODERATE = 0.01


class Grade(IntEnum):
    """How good something is. The order is that of the page: what needs somebody comes first."""

    BAD = 0
    MODERATE = 1
    UNKNOWN = 2
    GOOD = 3


MARKS = {
    Grade.GOOD: ("good", "●"),
    Grade.MODERATE: ("moderate", "▲"),
    Grade.BAD: ("bad", "■"),
    Grade.UNKNOWN: ("unknown", "◌"),
}
"""Word and shape beside every colour: one reader in twelve cannot tell red from green."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell: the text, how good it is, why, and whether a newer try failed or it is old."""

    text: str
    grade: Grade
    note: str = ""

    @property
    def word(self) -> str:
        """The word of the grade, also its CSS class."""
        return MARKS[self.grade][0]

    @property
    def shape(self) -> str:
        """The shape of the grade."""
        return MARKS[self.grade][1]


@dataclass(frozen=True, slots=True)
class Row:
    """One school."""

    id: str
    title: str
    place: str
    state: Figure
    download: Figure
    upload: Figure
    rtt: Figure
    loss: Figure
    failure: str
    failure_note: str
    reported_ago: str
    reported_at: str
    versions: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Tile:
    """How many schools are in a state."""

    count: int
    label: str
    grade: Grade

    @property
    def word(self) -> str:
        """The word of the grade, also its CSS class."""
        return MARKS[self.grade][0]

    @property
    def shape(self) -> str:
        """The shape of the grade."""
        return MARKS[self.grade][1]


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole page. ``rows`` is one page of ``found`` schools."""

    rows: list[Row]
    tiles: list[Tile]
    schools: int
    found: int
    page: int
    pages: int
    query: str
    pending: int
    now: str
    simulated: int
    """How many of the schools are simulated."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the reader asked for."""

    query: str = ""
    page: int = 1
    pending: int = 0


def overview(snapshot: Snapshot, horizon: Horizon, question: Question) -> Overview:
    """Return the page: schools that need somebody first, then by name."""
    slots = _by_school(snapshot)
    rows = [_row(school, slots.get(school.school.id, _NO_SLOTS), horizon) for school in snapshot.schools]
    needle = question.query.casefold()
    found = [row for row in rows if needle in f"{row.id} {row.title} {row.place}".casefold()]
    found.sort(key=lambda row: (row.state.grade, row.title.casefold(), row.id))
    pages = max(1, -(-len(found) // PAGE_SIZE))
    page = min(max(1, question.page), pages)
    return Overview(
        rows=found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
        tiles=_tiles(rows),
        schools=len(rows),
        found=len(found),
        page=page,
        pages=pages,
        query=question.query,
        pending=question.pending,
        now=exact(horizon.now_us),
        simulated=sum(row.simulated for row in rows),
    )


def ago(then_us: int, now_us: int) -> str:
    """Return how long ago in words, coarse enough to be read at a glance."""
    seconds = max(0, (now_us - then_us) // 1_000_000)
    if seconds < 60:
        return "just now"
    for limit, size, name in ((3600, 60, "min"), (172_800, 3600, "h"), (10**12, 86_400, "days")):
        if seconds < limit:
            return f"{seconds // size} {name} ago"
    return "long ago"


def exact(moment_us: int) -> str:
    """Return a time in UTC, to the second."""
    moment: datetime = from_us(moment_us)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


_Slots = dict[RecordKind, list[Slot]]
_NO_SLOTS: _Slots = {}


def _by_school(snapshot: Snapshot) -> dict[str, _Slots]:
    grouped: dict[str, _Slots] = {}
    for kind, slots in snapshot.slots.items():
        for slot in slots:
            grouped.setdefault(slot.owner.school.id, {}).setdefault(kind, []).append(slot)
    return grouped


def _row(live: SchoolLive, slots: _Slots, horizon: Horizon) -> Row:
    school = live.school
    speeds = slots.get(RecordKind.SPEED, [])
    download = _speed(speeds, Direction.DOWNLOAD, school.download_floor_bps, horizon)
    upload = _speed(speeds, Direction.UPLOAD, school.upload_floor_bps, horizon)
    pings = slots.get(RecordKind.PING, [])
    rtt, loss = _pings(pings, horizon)
    failure, failure_note = _failures(slots, horizon)
    reported = live.last_report_us > 0
    return Row(
        id=school.id,
        title=school.title,
        place=" · ".join(part for part in (school.region, school.district) if part),
        state=_state(live, (download, upload, loss, _reach(pings, horizon)), horizon),
        download=download,
        upload=upload,
        rtt=rtt,
        loss=loss,
        failure=failure,
        failure_note=failure_note,
        reported_ago=ago(live.last_report_us, horizon.now_us) if reported else "never",
        reported_at=exact(live.last_report_us) if reported else "",
        versions=", ".join(sorted({agent.version for agent in live.agents.values()})),
        simulated=school.simulated,
    )


def _state(live: SchoolLive, figures: Iterable[Figure], horizon: Horizon) -> Figure:
    """Return the school's state in a word: silence first, for everything else is then old."""
    if live.last_report_us == 0:
        return Figure("never reported", Grade.UNKNOWN)
    if live.last_report_us < horizon.silent_us:
        return Figure("silent", Grade.BAD)
    grades = {figure.grade for figure in figures}
    if Grade.BAD in grades:
        return Figure("trouble", Grade.BAD)
    if Grade.MODERATE in grades:
        return Figure("watch", Grade.MODERATE)
    if Grade.GOOD in grades:
        return Figure("fine", Grade.GOOD)
    return Figure("no results yet", Grade.UNKNOWN)


def _speed(slots: Iterable[Slot], direction: Direction, floor_bps: float | None, horizon: Horizon) -> Figure:
    """Show the newest success of any uplink against the floor, and say if a newer try failed."""
    of_direction = [slot for slot in slots if slot.target == direction]
    measured = [(slot.reading, slot) for slot in of_direction if isinstance(slot.reading, SpeedReading)]
    tried = any(slot.attempt is not None and slot.attempt.failure is not None for slot in of_direction)
    if not measured:
        return Figure("–", Grade.BAD if tried else Grade.UNKNOWN, "test failed" if tried else "not measured yet")
    reading, slot = max(measured, key=lambda pair: pair[0].at_us)
    failed = slot.attempt is not None and slot.attempt.failure is not None
    note = f"{ago(reading.at_us, horizon.now_us)}, newest test failed" if failed else ago(reading.at_us, horizon.now_us)
    grade = Grade.UNKNOWN if reading.at_us < horizon.speed_us else _against(reading.bps, floor_bps)
    if failed and grade is not Grade.BAD:
        grade = Grade.MODERATE  # the number may be good; that it could not be confirmed is not
    return Figure(_mbps(reading.bps), grade, note)


def _against(bps: float, floor_bps: float | None) -> Grade:
    """Grade a speed: below the floor bad, less than a quarter above it moderate."""
    if floor_bps is None:
        return Grade.UNKNOWN
    if bps < floor_bps:
        return Grade.BAD
    return Grade.MODERATE if bps < 1.25 * floor_bps else Grade.GOOD


def _mbps(bps: float) -> str:
    rate = bps / 1e6
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"


def _pings(slots: Iterable[Slot], horizon: Horizon) -> tuple[Figure, Figure]:
    """Show the farthest target that answers, and the worst loss with the name of its target."""
    current = [
        (slot.reading, slot.target)
        for slot in slots
        if isinstance(slot.reading, PingReading) and slot.is_recent(slot.reading.at_us, horizon)
    ]
    answered = [(reading.rtt_s, target) for reading, target in current if reading.rtt_s is not None]
    sent = [(reading.loss_ratio, target) for reading, target in current if reading.loss_ratio is not None]
    rtt, loss = Figure("–", Grade.UNKNOWN, "no current ping"), Figure("–", Grade.UNKNOWN, "no current ping")
    if answered:
        rtt_s, target = max(answered)
        rtt = Figure(f"{rtt_s * 1e3:.0f}" if rtt_s >= 0.01 else f"{rtt_s * 1e3:.1f}", Grade.UNKNOWN, target)
    if sent:
        ratio, target = max(sent)
        grade = Grade.BAD if ratio >= LOSS_BAD else Grade.MODERATE if ratio >= LOSS_MODERATE else Grade.GOOD
        loss = Figure(f"{ratio * 100:.0f}", grade, target if ratio else "all targets")
    return rtt, loss


def _reach(slots: Iterable[Slot], horizon: Horizon) -> Figure:
    """Say whether every target answered: one that could not even be asked has no loss to show."""
    pings = [(slot, slot.reading) for slot in slots if isinstance(slot.reading, PingReading)]
    if any(reading.rtt_s is None for slot, reading in pings if slot.is_recent(reading.at_us, horizon)):
        return Figure("not all answer", Grade.BAD)
    return Figure("", Grade.UNKNOWN)


def _failures(slots: _Slots, horizon: Horizon) -> tuple[str, str]:
    """Return the newest result that is a failure, in words; and when that was, with what else fails now."""
    failed: list[tuple[int, str, str]] = []
    for kind, of_kind in slots.items():
        for slot in of_kind:
            outcome = slot.attempt if kind in (RecordKind.SPEED, RecordKind.CHECK) else slot.reading
            failure = getattr(outcome, "failure", None)
            if outcome is not None and failure is not None and outcome.at_us >= horizon.speed_us:
                # Packets that were sent and lost were lost at no stage of ours.
                lost = isinstance(outcome, PingReading) and outcome.loss_ratio is not None
                failed.append((outcome.at_us, _what(kind, slot.target), in_words(failure, stage=not lost)))
    if not failed:
        return "", ""
    (at_us, what, words), *others = sorted(failed, reverse=True)
    also = f"; also {', '.join(sorted(other for _, other, _ in others))}" if others else ""
    return f"{what}: {words}", f"{ago(at_us, horizon.now_us)}{also}"


def _what(kind: RecordKind, target: str) -> str:
    """Return what was being measured."""
    if kind is RecordKind.SPEED:
        return f"{target} test"
    return f"floor check, {target}" if kind is RecordKind.CHECK else f"{kind.value} {target}"


def _tiles(rows: list[Row]) -> list[Tile]:
    def count(*texts: str) -> int:
        return sum(row.state.text in texts for row in rows)

    return [
        Tile(count("fine"), "fine", Grade.GOOD),
        Tile(count("watch"), "to watch", Grade.MODERATE),
        Tile(count("trouble"), "in trouble", Grade.BAD),
        Tile(count("silent"), "silent", Grade.BAD),
        Tile(count("never reported", "no results yet"), "no results yet", Grade.UNKNOWN),
    ]
