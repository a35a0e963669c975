"""Live state: the newest of everything, per school, in memory. A cache of the store, never a second truth.

Records may be applied in any order and any number of times: every reading is guarded by its own time, so late records
never move it backwards, and the state after a restart equals the state before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from linkbell_collector import labels, loss
from linkbell_collector.domain import Agent, AgentReport, DatedRecord, School, TimeQuality, Wanted
from linkbell_collector.lifetimes import Horizon
from linkbell_wire import (
    AnyRecord,
    CheckRecord,
    DnsRecord,
    EventRecord,
    Failure,
    FailureCode,
    HttpRecord,
    Operation,
    PingRecord,
    RecordKind,
    SpeedRecord,
)
from linkbell_wire.words import Direction, EventName

MAX_SERIES_PER_SCHOOL = 512
"""More uplinks and targets than any school has; a box that invents names stops here, and the refusals are counted."""

ROUNDS_OF_PATIENCE = 3

LIVE_KINDS = (RecordKind.PING, RecordKind.DNS, RecordKind.HTTP, RecordKind.SPEED, RecordKind.CHECK, RecordKind.EVENT)
"""Of events only those are held that say how a month's data stands."""


class PingReading(NamedTuple):
    """Round trips in seconds. Without a single reply they are ``None``, and ``failure`` is the commonest loss."""

    at_us: int
    rtt_s: float | None
    jitter_s: float | None
    loss_ratio: float | None
    failure: Failure | None


class FetchReading(NamedTuple):
    """A DNS look-up or an HTTP fetch; ``duration_s`` is ``None`` where it failed."""

    at_us: int
    duration_s: float | None
    failure: Failure | None


class SpeedReading(NamedTuple):
    """The last direction of a speed test that gave a speed, in bits per second."""

    at_us: int
    bps: float
    rtt_loaded_s: float | None


class Attempt(NamedTuple):
    """The last try, successful (``failure`` is ``None``) or not."""

    at_us: int
    failure: Failure | None


class CheckReading(NamedTuple):
    """The last floor check that found out."""

    at_us: int
    passed: bool


class DataReading(NamedTuple):
    """How a month's data of an uplink stands, in bytes; ``budget_bytes`` is ``None`` without a budget."""

    at_us: int
    used_bytes: int
    budget_bytes: int | None


Reading = DataReading | PingReading | FetchReading | SpeedReading | CheckReading


@dataclass(slots=True, eq=False)
class Slot:
    """One series with its label text ready. ``target`` is the direction for speeds and checks.

    ``line`` is the label text of school and uplink alone, for metrics whose name says the direction.
    """

    owner: "SchoolLive"
    uplink: str
    target: str
    labels: str
    line: str
    reading: Reading | None = None
    attempt: Attempt | None = None

    def is_recent(self, at_us: int, horizon: Horizon) -> bool:
        """Tell whether a ping, look-up or fetch counts as current: three rounds of its school's may be missing."""
        return at_us >= horizon.reading_us or at_us >= horizon.now_us - self.owner.patience_us

    @property
    def newest_us(self) -> int:
        """Time of whatever is newest here."""
        newest = (self.reading.at_us if self.reading else 0, self.attempt.at_us if self.attempt else 0)
        return max(newest)


@dataclass(slots=True, eq=False)
class AgentLive:
    """What an agent last said of itself. ``lost`` counts records gone unexplained."""

    owner: "SchoolLive"
    labels: str
    info_labels: str
    version: str
    report_us: int
    clock_offset_s: float
    lost: int
    spooled: int


_NO_REPLY = {code: Failure(operation=Operation.RECEIVE, code=code) for code in FailureCode}

SlotKey = tuple[str, str, str]
"""School, uplink and target."""


@dataclass(slots=True, eq=False)
class SchoolLive:
    """A school, its label texts, its agents that are shown, and the keys of its slots."""

    school: School
    labels: str
    info_labels: str
    patience_us: int = 0
    last_report_us: int = 0
    agents: dict[str, AgentLive] = field(default_factory=dict)
    keys: set[tuple[RecordKind, SlotKey]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment, for readers in other threads: readings are replaced whole, never changed."""

    schools: list[SchoolLive]
    agents: list[AgentLive]
    slots: Mapping[RecordKind, list[Slot]]


class LiveState:
    """The newest reading of every series of every approved school. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._schools: dict[str, SchoolLive] = {}
        self._slots: dict[RecordKind, dict[SlotKey, Slot]] = {kind: {} for kind in LIVE_KINDS}
        self.refused_series = 0

    @property
    def school_count(self) -> int:
        """Schools known."""
        return len(self._schools)

    @property
    def series_count(self) -> int:
        """Series held."""
        return sum(len(slots) for slots in self._slots.values())

    def snapshot(self) -> Snapshot:
        """Return all there is, by copying lists of references: a few milliseconds for a million series."""
        schools = list(self._schools.values())
        agents = [agent for school in schools for agent in school.agents.values()]
        return Snapshot(schools, agents, {kind: list(slots.values()) for kind, slots in self._slots.items()})

    def set_schools(self, schools: Iterable[School]) -> None:
        """Take the approved schools: new ones appear, gone ones leave, changed ones are described anew."""
        wanted = {school.id: school for school in schools}
        for gone in self._schools.keys() - wanted.keys():
            self.forget(gone)
            del self._schools[gone]
        for school in wanted.values():
            known = self._schools.get(school.id)
            if known is None:
                known = self._schools[school.id] = SchoolLive(school, labels.of_school(school), "")
            elif known.school == school:
                continue
            known.school, known.info_labels = school, labels.of_school_info(school)
            known.patience_us = _patience_us(school)

    def forget(self, school_id: str) -> None:
        """Drop what is known of a school, before it is rebuilt from other agents; one that is gone is forgotten."""
        school = self._schools.get(school_id)
        if school is None:
            return
        for kind, key in school.keys:
            del self._slots[kind][key]
        school.keys.clear()
        school.agents.clear()
        school.last_report_us = 0

    def expire(self, since_us: int) -> None:
        """Drop series whose newest reading is older than ``since_us``."""
        for kind, slots in self._slots.items():
            for key in [key for key, slot in slots.items() if slot.newest_us < since_us]:
                slots.pop(key).owner.keys.discard((kind, key))

    def report(self, agent: Agent, report: AgentReport, account: loss.Account) -> None:
        """Take what an agent says of itself; an older report than the known one changes nothing.

        ``account`` is what the store has counted, newer than that of ``agent``.
        """
        school = self._schools.get(agent.school)
        if school is None:
            return
        school.last_report_us = max(school.last_report_us, report.received_us)
        known = school.agents.get(agent.id)
        if known is not None and known.report_us > report.received_us:
            return
        if known is not None and known.version == report.version:
            text, info = known.labels, known.info_labels
        else:
            text, info = labels.of_agent(agent), labels.of_agent_info(agent, report.version)
        lost = loss.records_lost(account, spooled=report.spooled)
        school.agents[agent.id] = AgentLive(
            school, text, info, report.version, report.received_us, report.clock_offset_s, lost, report.spooled
        )

    def apply(self, school_id: str, dated: DatedRecord) -> None:
        """Take one record that is on disk. One of an unsynchronised earlier boot says nothing about now."""
        record, at_us, quality = dated
        school = self._schools.get(school_id)
        if school is None or quality is TimeQuality.UNSYNCED:
            return
        if isinstance(record, PingRecord):
            self._replace(school, RecordKind.PING, record.uplink, record.target, _ping(record, at_us))
        elif isinstance(record, DnsRecord):
            reading = FetchReading(at_us, record.duration_s, record.failure)
            self._replace(school, RecordKind.DNS, record.uplink, record.target, reading)
        elif isinstance(record, HttpRecord):
            reading = FetchReading(at_us, record.duration_s, record.failure)
            self._replace(school, RecordKind.HTTP, record.uplink, record.target, reading)
        elif isinstance(record, SpeedRecord):
            self._apply_speed(school, record, at_us)
        elif isinstance(record, CheckRecord):
            self._apply_check(school, record, at_us)
        elif isinstance(record, EventRecord) and (data := _data_use(record, at_us)) is not None:
            self._replace(school, RecordKind.EVENT, record.uplink, record.event.value, data)

    def _apply_speed(self, school: SchoolLive, record: SpeedRecord, at_us: int) -> None:
        for direction, result in ((Direction.DOWNLOAD, record.download), (Direction.UPLOAD, record.upload)):
            failure = result.failure if result is not None else record.failure
            if result is None and failure is None:
                continue
            slot = self._slot(school, RecordKind.SPEED, record.uplink, direction.value)
            if slot is None:
                continue
            _try(slot, Attempt(at_us, failure))
            if result is not None and result.bps is not None:
                _renew(slot, SpeedReading(at_us, result.bps, result.rtt_loaded_s))

    def _apply_check(self, school: SchoolLive, record: CheckRecord, at_us: int) -> None:
        slot = self._slot(school, RecordKind.CHECK, record.uplink, record.direction.value)
        if slot is None:
            return
        _try(slot, Attempt(at_us, record.failure))
        if record.passed is not None:
            _renew(slot, CheckReading(at_us, record.passed))

    def _replace(self, school: SchoolLive, kind: RecordKind, uplink: str, target: str, reading: Reading) -> None:
        slot = self._slot(school, kind, uplink, target)
        if slot is not None:
            _renew(slot, reading)

    def _slot(self, school: SchoolLive, kind: RecordKind, uplink: str, target: str) -> Slot | None:
        key = (school.school.id, uplink, target)
        slots = self._slots[kind]
        slot = slots.get(key)
        if slot is None:
            if len(school.keys) >= MAX_SERIES_PER_SCHOOL:
                self.refused_series += 1
                return None
            name = "direction" if kind in (RecordKind.SPEED, RecordKind.CHECK) else "target"
            line = (("school", school.school.id), ("uplink", uplink))
            slot = Slot(school, uplink, target, labels.text(*line, (name, target)), labels.text(*line))
            slots[key] = slot
            school.keys.add((kind, key))
        return slot


def settles(record: AnyRecord) -> bool:
    """Tell whether no older record of its series can add anything to live state."""
    if isinstance(record, SpeedRecord):
        return all(result is not None and result.bps is not None for result in (record.download, record.upload))
    if isinstance(record, EventRecord) and record.event is EventName.DATA_USE:
        return _data_use(record, 0) is not None
    return not isinstance(record, CheckRecord) or record.passed is not None


WANTED = Wanted(kinds=tuple(kind.value for kind in LIVE_KINDS), settles=settles, at_most=500)
"""What live state is rebuilt from: the newest record of each series, and for speeds back to the last success."""


def _patience_us(school: School) -> int:
    """Return how long a reading lasts at least: three of the school's own rounds."""
    interval_s = school.wishes.ping and school.wishes.ping.interval_s
    return round(ROUNDS_OF_PATIENCE * (interval_s or 0) * 1e6)


def _renew(slot: Slot, reading: Reading) -> None:
    if slot.reading is None or reading.at_us >= slot.reading.at_us:
        slot.reading = reading


def _try(slot: Slot, attempt: Attempt) -> None:
    if slot.attempt is None or attempt.at_us >= slot.attempt.at_us:
        slot.attempt = attempt


def _data_use(record: EventRecord, at_us: int) -> DataReading | None:
    """Read how the month's data stands; ``None`` of any other event, or without a number of bytes used."""
    if record.event is not EventName.DATA_USE:
        return None
    used, budget = (_bytes(record.details.get(name)) for name in ("used_bytes", "budget_bytes"))
    return None if used is None else DataReading(at_us, used, budget)


def _bytes(value: str | bool | float | None) -> int | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and value is not None and float(value) >= 0 else None


def _ping(record: PingRecord, at_us: int) -> PingReading:
    failure = record.failure
    if failure is None and record.failures and not record.received:
        commonest: FailureCode = max(record.failures, key=record.failures.__getitem__)
        failure = _NO_REPLY[commonest]
    # Not 1 - received / sent, which turns one lost of ten into 0.09999999999999998.
    loss_ratio = (record.sent - record.received) / record.sent if record.sent else None
    return PingReading(at_us, record.rtt_mean_s, record.jitter_s, loss_ratio, failure)
