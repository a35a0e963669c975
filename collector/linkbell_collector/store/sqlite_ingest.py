"""The hot path of the SQLite store: one delivery into the tables. Runs in the writer's thread only."""

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import sqlalchemy as sa

from linkbell_collector import loss
from linkbell_collector.domain import AgentReport, DatedRecord, Delivery, Settled, series_target
from linkbell_wire import AnyRecord

MAX_REMEMBERED = 200_000
"""Streams, series or agents whose numbers are kept in memory; beyond it all are forgotten and read again."""

ROWS_PER_STATEMENT = 500
"""Rows of one INSERT. sqlite3 lets go of the interpreter's lock at every step of a statement and must win it back from
a busy event loop; row by row, that is nine tenths of the cost of an insert (measured)."""

_INSERT_RECORDS = "INSERT INTO records (stream, seq, series, at_us, received_us, clock, body) VALUES "
_INSERT_REFUSAL = "INSERT INTO refusals (stream, seq, received_us, code, detail) VALUES (?, ?, ?, ?, ?)"
_UPDATE_STREAM = "UPDATE streams SET max_seq = ?, settled = ? WHERE id = ?"
_UPDATE_AGENT = (
    "UPDATE agents SET version = ?, spooled = ?, dropped = ?, rejected = ?, clock_offset_s = ?, report_us = ?, "
    "missing = ?, refused = ?, dropped_before = ?, rejected_before = ? WHERE key = ?"
)
_SELECT_AGENT = (
    "SELECT missing, refused, coalesce(dropped, 0), dropped_before, coalesce(rejected, 0), rejected_before "
    "FROM agents WHERE key = ?"
)

SeriesKey = tuple[int, str, str, str]


@dataclass(slots=True)
class _Stream:
    id: int
    max_seq: int
    settled: int

    @property
    def missing(self) -> int:
        return loss.missing_in_stream(self.max_seq, self.settled)


@dataclass(slots=True)
class _Agent:
    missing: int
    refused: int
    dropped: loss.Counted
    rejected: loss.Counted
    report: AgentReport | None = None

    @property
    def account(self) -> loss.Account:
        return loss.Account(self.missing, self.refused, self.dropped.total, self.rejected.total)

    def take(self, report: AgentReport) -> None:
        self.report = report
        self.dropped = self.dropped.then(report.dropped)
        self.rejected = self.rejected.then(report.rejected)


class _Known(NamedTuple):
    """Which numbers of a delivery were stored or refused before."""

    stored: AbstractSet[int] = frozenset()
    refused: AbstractSet[int] = frozenset()


class SqliteIngest:
    """Puts deliveries into the tables, and remembers the numbers of streams and series between them."""

    def __init__(self) -> None:
        self._streams: dict[tuple[int, str], _Stream] = {}
        self._series: dict[SeriesKey, int] = {}
        self._agents: dict[int, _Agent] = {}
        self._rows: list[tuple[object, ...]] = []
        self._changed_streams: dict[int, _Stream] = {}
        self._changed_agents: dict[int, _Agent] = {}

    def settle(self, connection: sa.Connection, delivery: Delivery, bodies: Sequence[str]) -> Settled:
        """Insert what is new of ``delivery``, whose records as JSON are ``bodies``. The caller commits.

        The rows of a whole transaction are put in together, by :meth:`flush`.
        """
        agent = self._agent(connection, delivery.agent)
        stream = self._stream(connection, delivery.agent, str(delivery.stream))
        missing_before = stream.missing
        known = self._known_numbers(connection, stream, delivery)
        new = self._add_records(connection, stream, delivery, bodies, known.stored)
        refused = self._insert_refusals(connection, stream, delivery, known.refused) if delivery.refused else 0
        seqs = [dated.record.seq for dated in new]
        stream.settled += loss.newly_settled(seqs, _seqs(delivery.refused), known.stored | known.refused)
        stream.max_seq = max(stream.max_seq, *seqs, *_seqs(delivery.refused), -1)
        agent.missing = min(loss.MAX_MISSING, max(0, agent.missing + stream.missing - missing_before))
        agent.refused += refused
        agent.take(delivery.report)
        self._changed_streams[stream.id] = stream
        self._changed_agents[delivery.agent] = agent
        return Settled(new, len(delivery.records) - len(new), agent.account)

    def greet(self, agent: int) -> None:
        """Know nothing of an agent that has just been enrolled: another process may have removed one of its number."""
        if self._agents.pop(agent, None) is not None:
            self._streams = {key: stream for key, stream in self._streams.items() if key[0] != agent}
            self._series = {key: series for key, series in self._series.items() if key[0] != agent}

    def flush(self, connection: sa.Connection) -> None:
        """Write the rows, and the counts of the streams and agents, that this transaction has gathered."""
        self._insert_rows(connection)
        if self._changed_streams:
            connection.exec_driver_sql(
                _UPDATE_STREAM, [(s.max_seq, s.settled, s.id) for s in self._changed_streams.values()]
            )
            self._changed_streams.clear()
        rows = [_agent_row(key, agent) for key, agent in self._changed_agents.items()]
        if rows:
            connection.exec_driver_sql(_UPDATE_AGENT, rows)
            self._changed_agents.clear()
        if max(len(self._streams), len(self._series), len(self._agents)) > MAX_REMEMBERED:
            self.forget()

    def forget(self) -> None:
        """Read everything anew: a transaction was rolled back, or too much is remembered."""
        for remembered in (self._streams, self._series, self._agents, self._changed_streams, self._changed_agents):
            remembered.clear()
        self._rows.clear()

    def _add_records(
        self,
        connection: sa.Connection,
        stream: _Stream,
        delivery: Delivery,
        bodies: Sequence[str],
        known: AbstractSet[int],
    ) -> list[DatedRecord]:
        """Gather the rows of the records that are new, and return those."""
        received_us = delivery.report.received_us
        new: list[DatedRecord] = []
        for dated, body in zip(delivery.records, bodies, strict=True):
            record, at_us, quality = dated
            if known and record.seq in known:
                continue
            new.append(dated)
            series = self._series_id(connection, delivery.agent, record)
            self._rows.append((stream.id, record.seq, series, at_us, received_us, quality.value, body))
        return new

    def _known_numbers(self, connection: sa.Connection, stream: _Stream, delivery: Delivery) -> _Known:
        """Return which numbers were settled already. Those above the highest one seen need no look."""
        numbers = chain((dated.record.seq for dated in delivery.records), _seqs(delivery.refused))
        older = [seq for seq in numbers if seq <= stream.max_seq]
        if not older:
            return _Known()
        self._insert_rows(connection)  # an earlier delivery of this transaction may hold the same records
        return _Known(
            self._known(connection, "records", stream, older), self._known(connection, "refusals", stream, older)
        )

    def _insert_rows(self, connection: sa.Connection) -> None:
        for start in range(0, len(self._rows), ROWS_PER_STATEMENT):
            piece = self._rows[start : start + ROWS_PER_STATEMENT]
            connection.exec_driver_sql(_insert_records(len(piece)), tuple(chain.from_iterable(piece)))
        self._rows.clear()

    def _insert_refusals(
        self, connection: sa.Connection, stream: _Stream, delivery: Delivery, known: AbstractSet[int]
    ) -> int:
        """Keep which numbers were refused, each once, so that they are no gaps. Return how many refusals are new.

        All of this batch count, as the agent counts them: a number may be refused twice, or stored as well.
        """
        received_us = delivery.report.received_us
        new = [refusal for refusal in delivery.refused if refusal.seq not in known]
        rows = {refusal.seq: (stream.id, refusal.seq, received_us, refusal.code, refusal.detail) for refusal in new}
        if rows:
            connection.exec_driver_sql(_INSERT_REFUSAL, list(rows.values()))
        return len(new)

    def _known(self, connection: sa.Connection, table: str, stream: _Stream, seqs: list[int]) -> set[int]:
        query = f"SELECT seq FROM {table} WHERE stream = ? AND seq IN (SELECT value FROM json_each(?))"  # noqa: S608 - table is one of two constants
        return set(connection.exec_driver_sql(query, (stream.id, json.dumps(seqs))).scalars())

    def _agent(self, connection: sa.Connection, key: int) -> _Agent:
        agent = self._agents.get(key)
        if agent is None:
            row = connection.exec_driver_sql(_SELECT_AGENT, (key,)).one()
            missing, refused, *counters = row
            agent = _Agent(missing, refused, loss.Counted(*counters[:2]), loss.Counted(*counters[2:]))
            self._agents[key] = agent
        return agent

    def _stream(self, connection: sa.Connection, agent: int, stream: str) -> _Stream:
        found = self._streams.get((agent, stream))
        if found is None:
            insert = "INSERT INTO streams (agent, stream, max_seq, settled) VALUES (?, ?, -1, 0) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(insert, (agent, stream))
            query = "SELECT id, max_seq, settled FROM streams WHERE agent = ? AND stream = ?"
            found = _Stream(*connection.exec_driver_sql(query, (agent, stream)).one())
            self._streams[agent, stream] = found
        return found

    def _series_id(self, connection: sa.Connection, agent: int, record: AnyRecord) -> int:
        key = (agent, record.kind, record.uplink, series_target(record))
        found = self._series.get(key)
        if found is None:
            insert = "INSERT INTO series (agent, kind, uplink, target) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            connection.exec_driver_sql(insert, key)
            query = "SELECT id FROM series WHERE agent = ? AND kind = ? AND uplink = ? AND target = ?"
            found = int(connection.exec_driver_sql(query, key).scalar_one())
            self._series[key] = found
        return found


def _seqs(refused: Sequence[Any]) -> Any:
    return (refusal.seq for refusal in refused if refusal.seq is not None)


@lru_cache(ROWS_PER_STATEMENT)
def _insert_records(rows: int) -> str:
    return _INSERT_RECORDS + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)


def _agent_row(key: int, agent: _Agent) -> tuple[object, ...]:
    report = agent.report
    assert report is not None
    return (
        report.version,
        report.spooled,
        report.dropped,
        report.rejected,
        report.clock_offset_s,
        report.received_us,
        agent.missing,
        agent.refused,
        agent.dropped.before,
        agent.rejected.before,
        key,
    )
