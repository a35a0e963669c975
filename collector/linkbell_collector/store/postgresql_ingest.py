"""The hot path of the PostgreSQL store: one group of deliveries into the tables, on the writer's connection.

Records go in by binary COPY, everything else by one statement a table, whose rows are arrays.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from linkbell_collector import loss
from linkbell_collector.domain import Delivery, Settled
from linkbell_collector.store import postgresql_partitions as partitions
from linkbell_collector.store import rollups, settled
from linkbell_collector.store.book import RECORD_COLUMNS, AgentCounts, Book, Changes, Stream
from linkbell_collector.store.retention import Retention
from linkbell_collector.store.rollups import Gathered

Connection = Any
"""An asyncpg connection; its own type cannot be named at run time."""

_AGENTS = (
    "SELECT key, missing, refused, coalesce(dropped, 0), dropped_before, coalesce(rejected, 0), rejected_before "
    "FROM agents WHERE key = ANY($1::int[])"
)
_MAKE_STREAMS = (
    "INSERT INTO streams (agent, stream, max_seq, settled) SELECT *, -1, 0 FROM unnest($1::int[], $2::text[]) "
    "ON CONFLICT DO NOTHING"
)
_STREAMS = (
    "SELECT streams.agent, streams.stream, id, max_seq, settled, whole FROM streams "
    "JOIN unnest($1::int[], $2::text[]) AS wanted (agent, stream) USING (agent, stream)"
)
_MAKE_SERIES = (
    "INSERT INTO series (agent, kind, uplink, target) SELECT * FROM unnest($1::int[], $2::text[], $3::text[], "
    "$4::text[]) ON CONFLICT DO NOTHING"
)
_SERIES = (
    "SELECT agent, kind, uplink, target, id FROM series JOIN unnest($1::int[], $2::text[], $3::text[], $4::text[]) "
    "AS wanted (agent, kind, uplink, target) USING (agent, kind, uplink, target)"
)
_CHUNKS = (
    "SELECT stream, chunk, bits FROM settled JOIN unnest($1::int[], $2::bigint[]) AS wanted (stream, chunk) "
    "USING (stream, chunk)"
)
_REFUSED = (
    "SELECT stream, seq FROM refusals JOIN unnest($1::int[], $2::bigint[]) AS wanted (stream, seq) USING (stream, seq)"
)
_DELETE_REFUSALS = (
    "DELETE FROM refusals USING unnest($1::int[], $2::bigint[]) AS gone (stream, seq) "
    "WHERE refusals.stream = gone.stream AND refusals.seq = gone.seq"
)
_INSERT_REFUSALS = (
    "INSERT INTO refusals (stream, seq, received_us, code, detail) "
    "SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING"
)
_UPDATE_STREAMS = (
    "UPDATE streams SET max_seq = new.max_seq, settled = new.settled, whole = new.whole "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::int[]) AS new (max_seq, settled, whole, id) "
    "WHERE streams.id = new.id"
)
_UPSERT_CHUNKS = (
    "INSERT INTO settled (stream, chunk, bits) SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[]) "
    "ON CONFLICT (stream, chunk) DO UPDATE SET bits = excluded.bits"
)
_DELETE_CHUNKS = (
    "DELETE FROM settled USING unnest($1::int[], $2::bigint[]) AS gone (stream, chunk) "
    "WHERE settled.stream = gone.stream AND settled.chunk = gone.chunk"
)
_UPDATE_AGENTS = (
    "UPDATE agents SET version = new.version, spooled = new.spooled, dropped = new.dropped, rejected = new.rejected, "
    "clock_offset_s = new.clock_offset_s, report_us = new.report_us, missing = new.missing, refused = new.refused, "
    "dropped_before = new.dropped_before, rejected_before = new.rejected_before "
    "FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::bigint[], $7::bigint[], "
    "$8::bigint[], $9::bigint[], $10::bigint[], $11::int[]) AS new (version, spooled, dropped, rejected, "
    "clock_offset_s, report_us, missing, refused, dropped_before, rejected_before, key) WHERE agents.key = new.key"
)


def _add_sums(table: str, time: str, kind: str) -> str:
    names = ", ".join(rollups.COLUMNS)
    arrays = ", ".join(f"${number}::bigint[]" for number in range(3, 3 + len(rollups.COLUMNS)))
    special = {"low": "least", "high": "greatest"}  # of several, one that is NULL does not count
    additions = ", ".join(
        f"{name} = {special[name]}({table}.{name}, excluded.{name})"
        if name in special
        else f"{name} = {table}.{name} + excluded.{name}"
        for name in rollups.COLUMNS
    )
    return (
        f"INSERT INTO {table} (series, {time}, {names}) SELECT * FROM unnest($1::int[], $2::{kind}[], {arrays}) "  # noqa: S608 - names of ours
        f"ON CONFLICT (series, {time}) DO UPDATE SET {additions}"
    )


_ADD_HOURS = _add_sums("hourly", "start_us", "bigint")
_ADD_DAYS = _add_sums("daily", "day", "int")


class PostgresIngest:
    """Reads what the book does not know, settles a group, and writes what it has changed."""

    def __init__(self, retention: Retention) -> None:
        self._book = Book()
        self._retention = retention
        self._others = -1
        self._parts: dict[str, set[int]] = {}

    async def settle(
        self, connection: Connection, group: Sequence[tuple[Delivery, Sequence[str]]], others: int
    ) -> list[Settled]:
        """Settle all deliveries of ``group``, each with its records as JSON. The caller commits, or forgets.

        ``others`` counts what others than this process have written: then nothing that is remembered may hold.
        """
        if others != self._others:
            self.forget()
            self._others = others
        new = [delivery for delivery, _ in group if not self._book.at_hand(delivery)]
        if new:
            await self._learn(connection, new)
        done = [self._book.settle(delivery, bodies) for delivery, bodies in group]
        await self._write(connection, self._book.take_changes())
        return done

    def forget(self) -> None:
        """Read everything anew: a transaction was rolled back, or the connection lost."""
        self._book.forget()
        self._parts.clear()
        self._others = -1

    async def _learn(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        book = self._book
        unknown = book.unknown(deliveries)
        if unknown.agents:
            for key, missing, refused, *counters in await connection.fetch(_AGENTS, list(unknown.agents)):
                dropped, rejected = loss.Counted(*counters[:2]), loss.Counted(*counters[2:])
                book.agents[key] = AgentCounts(missing, refused, dropped, rejected)
        if unknown.streams:
            wanted = _arrays(unknown.streams)
            await connection.execute(_MAKE_STREAMS, *wanted)
            for agent, stream, *numbers in await connection.fetch(_STREAMS, *wanted):
                book.streams[agent, stream] = Stream(*numbers)
        if unknown.series:
            wanted = _arrays(unknown.series)
            await connection.execute(_MAKE_SERIES, *wanted)
            for *key, number in await connection.fetch(_SERIES, *wanted):
                book.series[key[0], key[1], key[2], key[3]] = number
        await self._learn_settled(connection, deliveries)

    async def _learn_settled(self, connection: Connection, deliveries: Sequence[Delivery]) -> None:
        book = self._book
        chunks = book.unknown_chunks(deliveries)
        if chunks:
            book.chunks.update(dict.fromkeys(chunks, 0))
            for stream, chunk, bits in await connection.fetch(_CHUNKS, *_arrays(chunks)):
                book.chunks[stream, chunk] = settled.unpack(bits)
        doubtful = book.doubtful(deliveries)
        if doubtful:
            found = await connection.fetch(_REFUSED, *_arrays(doubtful))
            book.refused.update((stream, seq) for stream, seq in found)

    async def _write(self, connection: Connection, changes: Changes) -> None:
        if changes.records:
            await self._make_partitions(
                connection, partitions.RECORDS, {received_us for _, _, _, _, received_us, _, _ in changes.records}
            )
            await connection.copy_records_to_table("records", records=changes.records, columns=RECORD_COLUMNS)
        await _run(connection, _DELETE_REFUSALS, changes.no_refusals)
        await _run(connection, _INSERT_REFUSALS, changes.refusals.values())
        streams = [(stream.max_seq, stream.settled, stream.whole, stream.id) for stream in changes.streams.values()]
        await _run(connection, _UPDATE_STREAMS, streams)
        chunks = [(*number, settled.pack(bits)) for number, bits in changes.chunks.items()]
        await _run(connection, _UPSERT_CHUNKS, chunks)
        await _run(connection, _DELETE_CHUNKS, changes.no_chunks)
        await _run(connection, _UPDATE_AGENTS, [agent.row(key) for key, agent in changes.agents.items()])
        if changes.sums:
            newest_us = max(agent.report.received_us for agent in changes.agents.values() if agent.report is not None)
            await self._add_sums(connection, changes.sums.values(), newest_us)

    async def _add_sums(self, connection: Connection, gathered: Collection[Gathered], newest_us: int) -> None:
        hours = rollups.by_hour(gathered, self._retention.oldest_hour_us(newest_us))
        await self._make_partitions(connection, partitions.HOURLY, {start_us for _, start_us in hours})
        await _run(connection, _ADD_HOURS, [(*key, *sums.row()) for key, sums in hours.items()])
        days = rollups.by_day(gathered)
        await _run(connection, _ADD_DAYS, [(*key, *sums.row()) for key, sums in days.items()])

    async def _make_partitions(
        self, connection: Connection, parts: partitions.Partitioned, moments_us: Iterable[int]
    ) -> None:
        """Make what is missing: usually nothing, for they are made ahead."""
        known = self._parts.setdefault(parts.table, set())
        missing = {parts.start_of(moment_us) for moment_us in moments_us} - known
        if missing:
            known |= await partitions.make(connection, parts, missing)


async def _run(connection: Connection, statement: str, rows: Collection[tuple[Any, ...]]) -> None:
    if rows:
        await connection.execute(statement, *_arrays(rows))


def _arrays(rows: Collection[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Turn rows into columns, as ``unnest`` takes them."""
    return list(zip(*rows, strict=True))
