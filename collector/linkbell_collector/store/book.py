"""What ingest remembers and decides between two commits: which records are new, what they change. Pure.

A store first asks what is ``unknown`` of the deliveries of a transaction and reads that, then has each settled here,
and at last writes the :class:`Changes`. Whoever rolls back, or finds that somebody else has written, must
:meth:`Book.forget`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from linkbell_collector import loss
from linkbell_collector.domain import (
    AgentReport,
    DatedRecord,
    Delivery,
    Settled,
    TimeQuality,
    series_target,
)
from linkbell_collector.store import rollups, settled
from linkbell_collector.store.rollups import Gathered, Sums
from linkbell_wire import AnyRecord, SpeedRecord

MAX_REMEMBERED = 200_000
"""Streams, series, chunks or agents kept in memory; beyond it all are forgotten and read again."""

StreamKey = tuple[int, str]
"""Agent and the stream's UUID as text."""

SeriesKey = tuple[int, str, str, str]
"""Agent, kind, uplink, target."""

Number = tuple[int, int]
"""A stream's id and a sequence number in it, or a chunk of it."""


@dataclass(slots=True)
class Stream:
    """One stream. ``settled`` counts distinct numbers; chunks before ``whole`` are settled whole and have no row."""

    id: int
    max_seq: int
    settled: int
    whole: int

    @property
    def missing(self) -> int:
        """Gaps below the highest number."""
        return loss.missing_in_stream(self.max_seq, self.settled)


@dataclass(slots=True)
class AgentCounts:
    """What is counted of an agent over its life, and its newest report."""

    missing: int
    refused: int
    dropped: loss.Counted
    rejected: loss.Counted
    report: AgentReport | None = None

    @property
    def account(self) -> loss.Account:
        """The counts as loss is told from."""
        return loss.Account(self.missing, self.refused, self.dropped.total, self.rejected.total)

    def take(self, report: AgentReport) -> None:
        """Count what the agent says of itself."""
        self.report = report
        self.dropped = self.dropped.then(report.dropped)
        self.rejected = self.rejected.then(report.rejected)

    def row(self, key: int) -> tuple[object, ...]:
        """Return what is written of it, the key last."""
        report = self.report
        assert report is not None
        return (
            report.version,
            report.spooled,
            report.dropped,
            report.rejected,
            report.clock_offset_s,
            report.received_us,
            self.missing,
            self.refused,
            self.dropped.before,
            self.rejected.before,
            key,
        )


RecordRow = tuple[int, int, int, int, int, int, str]
"""A row of ``records``, as ``RECORD_COLUMNS`` names them. A plain tuple: there is one for every record."""

RECORD_COLUMNS = ("stream", "seq", "series", "at_us", "received_us", "clock", "body")


class RefusalRow(NamedTuple):
    """A row of ``refusals``."""

    stream: int
    seq: int
    received_us: int
    code: str
    detail: str


@dataclass(slots=True)
class Changes:
    """What one transaction has to write."""

    records: list[RecordRow] = field(default_factory=list)
    refusals: dict[Number, RefusalRow] = field(default_factory=dict)
    no_refusals: list[Number] = field(default_factory=list)
    """Refused once, and stored now."""
    streams: dict[int, Stream] = field(default_factory=dict)
    chunks: dict[Number, int] = field(default_factory=dict)
    no_chunks: list[Number] = field(default_factory=list)
    """Those that are settled whole."""
    agents: dict[int, AgentCounts] = field(default_factory=dict)
    sums: dict[Number, Gathered] = field(default_factory=dict)
    """By series and quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What has to be read (streams and series: made if need be) before deliveries can be settled."""

    agents: set[int]
    streams: set[StreamKey]
    series: set[SeriesKey]


class Book:
    """See the head of this module."""

    def __init__(self) -> None:
        self.agents: dict[int, AgentCounts] = {}
        self.streams: dict[StreamKey, Stream] = {}
        self.series: dict[SeriesKey, int] = {}
        self.chunks: dict[Number, int] = {}
        self.refused: set[Number] = set()
        """Refused numbers, as far as the deliveries of this transaction ask for them."""
        self._changes = Changes()
        self._looked_up: tuple[Delivery, list[int]] | None = None
        """The series of the records of the delivery that is settled next."""

    def unknown(self, deliveries: Iterable[Delivery]) -> Unknown:
        """Return which agents, streams and series of ``deliveries`` are not in memory."""
        found = Unknown(set(), set(), set())
        for delivery in deliveries:
            if delivery.agent not in self.agents:
                found.agents.add(delivery.agent)
            stream = (delivery.agent, str(delivery.stream))
            if stream not in self.streams:
                found.streams.add(stream)
            found.series.update(_series_of(delivery) - self.series.keys())
        return found

    def at_hand(self, delivery: Delivery) -> bool:
        """Tell whether nothing has to be read for ``delivery``: the usual batch of an agent that goes on."""
        stream = self.streams.get((delivery.agent, str(delivery.stream)))
        if stream is None or delivery.agent not in self.agents or delivery.refused or not delivery.records:
            return False
        first = min([record.seq for record, _, _ in delivery.records])
        chunk, top = settled.chunk_of(first), settled.chunk_of(stream.max_seq)
        if first <= stream.max_seq or (chunk <= top and (stream.id, chunk) not in self.chunks):
            return False
        agent, ids = delivery.agent, self.series
        try:
            found = [ids[agent, record.kind, record.uplink, series_target(record)] for record, _, _ in delivery.records]
        except KeyError:
            return False
        if any(record.kind == "speed" for record, _, _ in delivery.records):
            return False  # its directions are series as well
        self._looked_up = (delivery, found)
        return True

    def unknown_chunks(self, deliveries: Iterable[Delivery]) -> set[Number]:
        """Return which chunks of known streams are not in memory and may have a row."""
        found: set[Number] = set()
        for delivery in deliveries:
            stream = self.streams[delivery.agent, str(delivery.stream)]
            top = settled.chunk_of(max(stream.max_seq, 0))
            for chunk in settled.chunks_of(_numbers(delivery)):
                if stream.whole <= chunk <= top and (stream.id, chunk) not in self.chunks:
                    found.add((stream.id, chunk))
        return found

    def doubtful(self, deliveries: Iterable[Delivery]) -> set[Number]:
        """Return the numbers of which it matters whether they were refused before; rarely any."""
        found: set[Number] = set()
        for delivery in deliveries:
            stream = self.streams[delivery.agent, str(delivery.stream)]
            found.update((stream.id, seq) for seq in _refused(delivery))
            found.update(
                (stream.id, dated.record.seq)
                for dated in delivery.records
                if dated.record.seq <= stream.max_seq and self._is_settled(stream, dated.record.seq)
            )
        return found

    def settle(self, delivery: Delivery, bodies: Sequence[str]) -> Settled:
        """Take what is new of ``delivery``, whose records as JSON are ``bodies``."""
        agent = self.agents[delivery.agent]
        stream = self.streams[delivery.agent, str(delivery.stream)]
        missing_before = stream.missing
        new = self._take_records(stream, delivery, bodies)
        if delivery.refused:
            agent.refused += self._take_refusals(stream, delivery)
        agent.missing = min(loss.MAX_MISSING, max(0, agent.missing + stream.missing - missing_before))
        agent.take(delivery.report)
        self._changes.streams[stream.id] = stream
        self._changes.agents[delivery.agent] = agent
        return Settled(new, len(delivery.records) - len(new), agent.account)

    def take_changes(self) -> Changes:
        """Return what has to be written, once; from now on a new transaction gathers."""
        changes, self._changes = self._changes, Changes()
        self.refused.clear()
        if max(len(self.agents), len(self.streams), len(self.series), len(self.chunks)) > MAX_REMEMBERED:
            self.forget()
        return changes

    def forget(self) -> None:
        """Read everything anew: a transaction was rolled back, or another process has written."""
        self.agents.clear()
        self.streams.clear()
        self.series.clear()
        self.chunks.clear()
        self.refused.clear()
        self._changes = Changes()

    def _take_records(self, stream: Stream, delivery: Delivery, bodies: Sequence[str]) -> list[DatedRecord]:
        seqs = [dated.record.seq for dated in delivery.records]
        if not seqs:
            return []
        pairs = list(zip(delivery.records, bodies, strict=True))
        if min(seqs) <= stream.max_seq:
            self._looked_up = None  # an earlier delivery of this group may have brought some of the same
            pairs = [pair for pair in pairs if self._is_new(stream, pair[0].record.seq)]
            seqs = [dated.record.seq for dated, _ in pairs]
        self._add_rows(stream, delivery, pairs)
        self._mark(stream, seqs)
        return [dated for dated, _ in pairs]

    def _add_rows(self, stream: Stream, delivery: Delivery, pairs: Sequence[tuple[DatedRecord, str]]) -> None:
        """Gather the rows and the sums. Runs for every record there is: no calls that can be saved."""
        agent, received_us, stream_id = delivery.agent, delivery.report.received_us, stream.id
        rows, sums, zone = self._changes.records, self._changes.sums, delivery.zone
        for ((record, at_us, quality), body), series in zip(pairs, self._series_of(delivery, pairs), strict=True):
            kind = record.kind
            rows.append((stream_id, record.seq, series, at_us, received_us, quality.value, body))
            if quality is TimeQuality.UNSYNCED:
                continue  # nobody knows which hour it belongs to
            if kind == "speed" and self._sum_directions(agent, record, at_us, zone):
                continue
            number = (series, at_us // rollups.QUARTER_US)
            gathered = sums.get(number)
            if gathered is None:
                gathered = sums[number] = Gathered(*number, zone, Sums())
            if kind == "ping":
                rollups.add_ping(gathered.sums, record)  # type: ignore[arg-type]
            else:
                rollups.add_record(gathered.sums, record)

    def _series_of(self, delivery: Delivery, pairs: Sequence[tuple[DatedRecord, str]]) -> list[int]:
        """Return the series of each record, looked up already for a delivery that was all at hand."""
        looked_up, self._looked_up = self._looked_up, None
        if looked_up is not None and looked_up[0] is delivery:
            return looked_up[1]
        agent, ids = delivery.agent, self.series
        return [ids[agent, record.kind, record.uplink, series_target(record)] for (record, _, _), _ in pairs]

    def _sum_directions(self, agent: int, record: AnyRecord, at_us: int, zone: str) -> bool:
        """Add the directions of a speed test, and return whether it has any."""
        assert isinstance(record, SpeedRecord)
        quarter = at_us // rollups.QUARTER_US
        for direction, result in rollups.directions(record):
            series = self.series[agent, record.kind, record.uplink, direction]
            key = (series, quarter)
            gathered = self._changes.sums.setdefault(key, Gathered(series, quarter, zone, Sums()))
            rollups.add_direction(gathered.sums, result)
        return record.download is not None or record.upload is not None

    def _take_refusals(self, stream: Stream, delivery: Delivery) -> int:
        """Keep which numbers were refused, each once, so that they are no gaps. Return how many refusals are new.

        All of this batch count, as the agent counts them: a number may be refused twice, or stored as well.
        """
        received_us = delivery.report.received_us
        new = [refusal for refusal in delivery.refused if (stream.id, refusal.seq) not in self.refused]
        for refusal in new:
            assert refusal.seq is not None
            row = RefusalRow(stream.id, refusal.seq, received_us, refusal.code, refusal.detail)
            self._changes.refusals.setdefault((stream.id, refusal.seq), row)
            self.refused.add((stream.id, refusal.seq))
        self._mark(stream, [seq for seq in sorted(set(_refused(delivery))) if not self._is_settled(stream, seq)])
        return len(new)

    def _is_new(self, stream: Stream, seq: int) -> bool:
        """Tell whether a record with this number is to be stored; one that was refused may be good by now."""
        if not self._is_settled(stream, seq):
            return True
        number = (stream.id, seq)
        if number not in self.refused:
            return False
        self.refused.discard(number)
        if self._changes.refusals.pop(number, None) is None:
            self._changes.no_refusals.append(number)
        return True

    def _is_settled(self, stream: Stream, seq: int) -> bool:
        chunk = settled.chunk_of(seq)
        return chunk < stream.whole or bool(self.chunks.get((stream.id, chunk), 0) & settled.bit_of(seq))

    def _mark(self, stream: Stream, seqs: Sequence[int]) -> None:
        """Mark numbers, of which some may be marked already, as settled."""
        if not seqs:
            return
        for chunk, bits in settled.bits_by_chunk(seqs).items():
            if chunk < stream.whole:
                continue
            before = self.chunks.get((stream.id, chunk), 0)
            after = before | bits
            stream.settled += (after ^ before).bit_count()
            self.chunks[stream.id, chunk] = after
            if after == settled.WHOLE and chunk == stream.whole:
                self._close(stream, chunk)
            else:
                self._changes.chunks[stream.id, chunk] = after
        stream.max_seq = max(stream.max_seq, *seqs)

    def _close(self, stream: Stream, chunk: int) -> None:
        """Forget the rows of chunks that are settled whole from the start of the stream on."""
        while self.chunks.get((stream.id, chunk)) == settled.WHOLE:
            del self.chunks[stream.id, chunk]
            self._changes.chunks.pop((stream.id, chunk), None)
            self._changes.no_chunks.append((stream.id, chunk))
            chunk += 1
        stream.whole = chunk


def _series_of(delivery: Delivery) -> set[SeriesKey]:
    """Return the series of the records of ``delivery``, and those of the directions of its speed tests."""
    agent = delivery.agent
    found: set[SeriesKey] = {
        (agent, record.kind, record.uplink, series_target(record)) for record, _, _ in delivery.records
    }
    if any(kind == "speed" for _, kind, _, _ in found):
        for record, _, _ in delivery.records:
            if isinstance(record, SpeedRecord):
                found.update((agent, record.kind, record.uplink, way) for way, _ in rollups.directions(record))
    return found


def _refused(delivery: Delivery) -> list[int]:
    return [refusal.seq for refusal in delivery.refused if refusal.seq is not None]


def _numbers(delivery: Delivery) -> list[int]:
    return [dated.record.seq for dated in delivery.records] + _refused(delivery)
