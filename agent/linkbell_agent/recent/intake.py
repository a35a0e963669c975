"""Records into the history. Pure: a record says when it was."""

from collections.abc import Sequence

from linkbell_agent.recent.history import History
from linkbell_agent.recent.stretch import Check, Event, Last, Skip, Speed, Verdict
from linkbell_wire.records import (
    NO_SUCH_NAME,
    CheckRecord,
    DnsRecord,
    EventRecord,
    HttpRecord,
    PingRecord,
    Record,
    SkipRecord,
    SpeedRecord,
    VerdictRecord,
)
from linkbell_wire.words import NeighbourState

MAX_EVIDENCE = 24


class Intake:
    """Feeds one history. Records of another boot than the history's are passed over.

    ``others`` are the box's uplinks besides the first; each has a history of its own, and what happened to the agent
    is in all of them.
    """

    def __init__(self, history: History, others: Sequence[str] = ()) -> None:
        self.history = history
        history.others = {name: history.others.get(name) or History(history.boot_id) for name in others}
        self._others = [Intake(one) for one in history.others.values()]
        self._by_uplink = dict(zip(others, self._others, strict=True))

    def add(self, record: Record) -> None:
        """Take one record in."""
        if record.boot_id != self.history.boot_id or _asks_for_a_lie(record):
            return
        for other in self._whose(record):
            other.take(record)

    def _whose(self, record: Record) -> Sequence["Intake"]:
        """Return what a record goes into: that of its uplink, and all of them if it is of the agent."""
        if isinstance(record, EventRecord):
            return (self, *self._others)
        return (self._by_uplink.get(record.uplink, self),)

    def take(self, record: Record) -> None:
        """Take in one record that belongs here."""
        self.history.offset_s = record.at.timestamp() - record.boottime_s
        present, at = self.history.present, record.boottime_s
        if isinstance(record, PingRecord):
            self._repeated(record, "ping", record.host, _ping(record))
        elif isinstance(record, DnsRecord):
            self._repeated(record, "dns", record.resolver or record.name, _look_up(record))
        elif isinstance(record, HttpRecord):
            self._repeated(record, "http", record.url, _fetch(record))
        elif isinstance(record, SpeedRecord):
            present.speeds.append(_speed(record))
        elif isinstance(record, CheckRecord):
            present.checks.append(_check(record))
        elif isinstance(record, VerdictRecord):
            present.verdicts.append(Verdict(at, record.verdict.value))
            self.history.evidence = [
                (one.layer.value, one.target, one.up, None if one.failure is None else one.failure.code.value)
                for one in record.evidence[:MAX_EVIDENCE]
            ]
        elif isinstance(record, SkipRecord):
            present.skips.append(Skip(at, record.skipped, record.reason.value))
        elif isinstance(record, EventRecord):
            present.events.append(Event(at, record.event.value))

    def _repeated(self, record: PingRecord | DnsRecord | HttpRecord, kind: str, host: str, last: Last) -> None:
        track = self.history.present.track(kind, record.target, record.layer.value, host)
        track.minutes.put(int(record.boottime_s // 60), last.rtt_s, last.loss_ratio)
        track.last = last


def _asks_for_a_lie(record: Record) -> bool:
    """Say whether a look-up only tries whether the name server is honest: that is in the verdict, and no track."""
    return isinstance(record, DnsRecord) and record.name == NO_SUCH_NAME


def _ping(record: PingRecord) -> Last:
    code = None if record.failure is None else record.failure.code.value
    if code is None and record.failures and not record.received:
        code = max(record.failures, key=lambda one: record.failures[one]).value
    # A gateway may ignore pings and still be there, which its hardware address shows: nothing of it is lost then.
    if not record.received and record.neighbour is NeighbourState.ANSWERS:
        return Last(record.boottime_s, True, None, None, None)
    answers = record.received > 0 if record.sent or record.failure is not None else None
    return Last(record.boottime_s, answers, record.rtt_mean_s, record.loss_ratio, code)


def _look_up(record: DnsRecord) -> Last:
    failed = record.failure is not None
    code = None if record.failure is None else record.failure.code.value
    return Last(record.boottime_s, not failed, record.duration_s, float(failed), code)


def _fetch(record: HttpRecord) -> Last:
    failed = record.failure is not None
    code = None if record.failure is None else record.failure.code.value
    return Last(record.boottime_s, not failed, None if failed else record.duration_s, float(failed), code)


def _speed(record: SpeedRecord) -> Speed:
    down, up = record.download, record.upload
    failures = [part.failure for part in (record, down, up) if part is not None and part.failure is not None]
    loaded = [part.rtt_loaded_s for part in (down, up) if part is not None and part.rtt_loaded_s is not None]
    return Speed(
        at=record.boottime_s,
        download_bps=None if down is None else down.bps,
        upload_bps=None if up is None else up.bps,
        failure=failures[0].code.value if failures else None,
        server=record.server,
        engine=record.engine.value,
        trigger=record.trigger.value,
        rtt_idle_s=record.rtt_idle_s,
        rtt_loaded_s=max(loaded, default=None),
        limited_by=record.limited_by.value,
        cost_bytes=record.cost_bytes,
    )


def _check(record: CheckRecord) -> Check:
    return Check(
        at=record.boottime_s,
        direction=record.direction.value,
        passed=record.passed,
        bps=record.bps,
        floor_bps=record.floor_bps,
        failure=None if record.failure is None else record.failure.code.value,
    )
