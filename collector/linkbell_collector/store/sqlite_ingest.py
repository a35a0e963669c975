"""The hot path of the SQLite store: one delivery into the tables. Runs in the writer's thread only."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from linkbell_collector import loss
from linkbell_collector.domain import Delivery, Settled
from linkbell_collector.store import rollups, settled
from linkbell_collector.store.book import AgentCounts, Book, SeriesKey, Stream, StreamKey
from linkbell_collector.store.retention import Retention
from linkbell_collector.store.rollups import Gathered

ROWS_PER_STATEMENT = 500
"""Rows of one INSERT. sqlite3 lets go of the interpreter's lock at every step of a statement and must win it back from
a busy event loop; row by row, that is nine tenths of the cost of an insert (measured)."""

_SELECT_AGENT = (
    "SELECT missing, refused, coalesce(dropped, 0), dropped_before, coalesce(rejected, 0), rejected_before "
    "FROM agents WHERE key = ?"
)
_INSERT_STREAM = "INSERT INTO streams (agent, stream, max_seq, settled) VALUES (?, ?, -1, 0) ON CONFLICT DO NOTHING"
_SELECT_STREAM = "SELECT id, max_seq, settled, whole FROM streams WHERE agent = ? AND stream = ?"
_INSERT_SERIES = "INSERT INTO series (agent, kind, uplink, target) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SELECT_SERIES = "SELECT id FROM series WHERE agent = ? AND kind = ? AND uplink = ? AND target = ?"
_SELECT_CHUNK = "SELECT bits FROM settled WHERE stream = ? AND chunk = ?"
_SELECT_REFUSED = "SELECT seq FROM refusals WHERE stream = ? AND seq IN (SELECT value FROM json_each(?))"
_INSERT_REFUSAL = (
    "INSERT INTO refusals (stream, seq, received_us, code, detail) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_DELETE_REFUSAL = "DELETE FROM refusals WHERE stream = ? AND seq = ?"
_UPDATE_STREAM = "UPDATE streams SET max_seq = ?, settled = ?, whole = ? WHERE id = ?"
_UPSERT_CHUNK = (
    "INSERT INTO settled (stream, chunk, bits) VALUES (?, ?, ?) "
    "ON CONFLICT (stream, chunk) DO UPDATE SET bits = excluded.bits"
)
_DELETE_CHUNK = "DELETE FROM settled WHERE stream = ? AND chunk = ?"
_UPDATE_AGENT = (
    "UPDATE agents SET version = ?, spooled = ?, dropped = ?, rejected = ?, clock_offset_s = ?, report_us = ?, "
    "missing = ?, refused = ?, dropped_before = ?, rejected_before = ? WHERE key = ?"
)


class SqliteIngest:
    """Reads what the book does not know, and writes what it has gathered."""

    def __init__(self, retention: Retention | None = None) -> None:
        self._book = Book()
        self._retention = retention or Retention()
        self._others = -1

    def begin(self, connection: sa.Connection) -> None:
        """Forget everything if another process has written: it may have put a backup in place of the database."""
        others = int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
        if others != self._others:
            self.forget()
            self._others = others

    def settle(self, connection: sa.Connection, delivery: Delivery, bodies: Sequence[str]) -> Settled:
        """Take what is new of ``delivery``, whose records as JSON are ``bodies``. The caller flushes and commits."""
        if not self._book.at_hand(delivery):
            self._learn(connection, delivery)
        return self._book.settle(delivery, bodies)

    def flush(self, connection: sa.Connection) -> None:
        """Write what this transaction has gathered."""
        changes = self._book.take_changes()
        _insert(connection, "records (stream, seq, series, at_us, received_us, clock, body)", changes.records)
        _many(connection, _DELETE_REFUSAL, changes.no_refusals)
        _many(connection, _INSERT_REFUSAL, list(changes.refusals.values()))
        _many(
            connection,
            _UPDATE_STREAM,
            [(stream.max_seq, stream.settled, stream.whole, stream.id) for stream in changes.streams.values()],
        )
        _many(connection, _UPSERT_CHUNK, [(*number, settled.pack(bits)) for number, bits in changes.chunks.items()])
        _many(connection, _DELETE_CHUNK, changes.no_chunks)
        _many(connection, _UPDATE_AGENT, [agent.row(key) for key, agent in changes.agents.items()])
        if changes.sums:
            newest_us = max(agent.report.received_us for agent in changes.agents.values() if agent.report is not None)
            add_sums(connection, changes.sums.values(), self._retention.oldest_hour_us(newest_us))

    def forget(self) -> None:
        """Read everything anew: a transaction was rolled back."""
        self._book.forget()

    def _learn(self, connection: sa.Connection, delivery: Delivery) -> None:
        book = self._book
        unknown = book.unknown((delivery,))
        for key in unknown.agents:
            book.agents[key] = _read_agent(connection, key)
        for stream in unknown.streams:
            book.streams[stream] = _read_stream(connection, stream)
        for series in unknown.series:
            book.series[series] = series_id(connection, series)
        for number in book.unknown_chunks((delivery,)):
            bits = connection.exec_driver_sql(_SELECT_CHUNK, number).scalar()
            book.chunks[number] = 0 if bits is None else settled.unpack(bits)
        doubtful = book.doubtful((delivery,))
        if doubtful:
            ((stream_id, _), *_) = doubtful  # one delivery is of one stream
            numbers = json.dumps([seq for _, seq in doubtful])
            found = connection.exec_driver_sql(_SELECT_REFUSED, (stream_id, numbers)).scalars()
            book.refused.update((stream_id, seq) for seq in found)


def _read_agent(connection: sa.Connection, key: int) -> AgentCounts:
    missing, refused, *counters = connection.exec_driver_sql(_SELECT_AGENT, (key,)).one()
    return AgentCounts(missing, refused, loss.Counted(*counters[:2]), loss.Counted(*counters[2:]))


def _read_stream(connection: sa.Connection, stream: StreamKey) -> Stream:
    connection.exec_driver_sql(_INSERT_STREAM, stream)
    return Stream(*connection.exec_driver_sql(_SELECT_STREAM, stream).one())


def series_id(connection: sa.Connection, series: SeriesKey) -> int:
    """Return the number of a series, made if need be."""
    connection.exec_driver_sql(_INSERT_SERIES, series)
    return int(connection.exec_driver_sql(_SELECT_SERIES, series).scalar_one())


def _many(connection: sa.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, list(rows))


def _insert(connection: sa.Connection, into: str, rows: Sequence[tuple[Any, ...]], conflict: str = "") -> None:
    """Insert ``rows``, many to a statement."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        piece = rows[start : start + ROWS_PER_STATEMENT]
        statement = _insert_statement(into, len(piece), len(piece[0]), conflict)
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(piece)))


def add_sums(connection: sa.Connection, gathered: Collection[Gathered], oldest_hour_us: int) -> None:
    """Add to the sums of hours (those before ``oldest_hour_us`` are kept no more) and of days."""
    _add_sums(connection, "hourly", "start_us", rollups.by_hour(gathered, oldest_hour_us))
    _add_sums(connection, "daily", "day", rollups.by_day(gathered))


def _add_sums(connection: sa.Connection, table: str, time: str, rows: rollups.Rows) -> None:
    columns = ", ".join(rollups.COLUMNS)
    _insert(
        connection,
        f"{table} (series, {time}, {columns})",
        [(*key, *sums.row()) for key, sums in rows.items()],
        f" ON CONFLICT (series, {time}) DO UPDATE SET {_additions(rollups.COLUMNS)}",
    )


def _additions(columns: Iterable[str]) -> str:
    special = {
        # SQLite's min() and max() of several are NULL if one is.
        "low": "low = min(coalesce(low, excluded.low), coalesce(excluded.low, low))",
        "high": "high = max(coalesce(high, excluded.high), coalesce(excluded.high, high))",
    }
    return ", ".join(special.get(column, f"{column} = {column} + excluded.{column}") for column in columns)


@lru_cache(4 * ROWS_PER_STATEMENT)
def _insert_statement(into: str, rows: int, columns: int, conflict: str) -> str:
    places = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([places] * rows)}{conflict}"  # noqa: S608 - no value is in the text
