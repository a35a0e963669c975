"""The SQLite store: one writing thread, a few reading connections, one file."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import sqlalchemy as sa

from linkbell_collector.clock import Clock
from linkbell_collector.domain import (
    Agent,
    AgentState,
    DatedRecord,
    Delivery,
    Directory,
    Enrolled,
    LiveRecord,
    Removed,
    School,
    SchoolEdits,
    Settled,
    TimeQuality,
    Token,
    Wanted,
)
from linkbell_collector.profile import Profile
from linkbell_collector.store import history, rows, simulated, sqlite_connection
from linkbell_collector.store.groups import Group, WriterLimits
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.retention import Pruned, Retention
from linkbell_collector.store.rollups import HistoryWanted, SeriesSums
from linkbell_collector.store.sqlite_connection import Database
from linkbell_collector.store.sqlite_ingest import SqliteIngest
from linkbell_collector.store.sqlite_prune import SqlitePrune
from linkbell_collector.store.sqlite_writer import SqliteWriter
from linkbell_collector.store.unreadable import Unreadable
from linkbell_wire.enrolment import EnrolRequest

T = TypeVar("T")
READERS = 4
KEEP = Retention()
_PIECE = 500
"""Series read at a time for live state, so that the event loop gets its turn between."""

_BEAT = "INSERT INTO heartbeat (id, at_us) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at_us = excluded.at_us"
# As bytes: text that is no UTF-8 would fail the whole query rather than one record.
_NEWEST = (
    "SELECT at_us, clock, CAST(body AS BLOB) FROM records WHERE series = ? AND clock <> ? "
    "ORDER BY at_us DESC, id DESC LIMIT ?"
)

_Found = tuple[str, DatedRecord | None]
"""A school and a record of it, ``None`` if that cannot be read."""


class SqliteStore:
    """See :class:`linkbell_collector.store.interface.Store`, which says what every method does."""

    def __init__(self, database: Database, limits: WriterLimits, clock: Clock, retention: Retention) -> None:
        self._ingest = SqliteIngest(retention)
        self._prune = SqlitePrune(retention)
        self._unreadable = Unreadable()
        self._write_engine = sqlite_connection.make_engine(database)
        self._read_engine = sqlite_connection.make_engine(database, readers=READERS)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._writer = SqliteWriter(self._write_engine, limits, self._ingest, clock)

    @classmethod
    async def open(
        cls, database: Database, limits: WriterLimits, clock: Clock, retention: Retention = KEEP
    ) -> "SqliteStore":
        """Check and migrate the database, then open it. Raises ``RefusedError`` with what to do."""
        await asyncio.to_thread(sqlite_connection.prepare, database, migrate)
        return cls(database, limits, clock, retention)

    @property
    def waiting(self) -> int:
        """Records handed over and not yet durable."""
        return self._writer.waiting

    @property
    def unreadable(self) -> int:
        """Stored records left out since the start, each time they were met, because they cannot be read."""
        return self._unreadable.count

    def observe(self, observer: Callable[[Group], None]) -> None:
        """Have ``observer`` called after every group commit that held records."""
        self._writer.observe(observer)

    async def claim(self) -> None:
        """Nothing to do: the lock on the folder keeps a second collector away."""

    async def close(self) -> None:
        await self._writer.close()
        await asyncio.to_thread(self._dispose)

    def _dispose(self) -> None:
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()

    async def settle(self, delivery: Delivery) -> Settled:
        weight = max(1, len(delivery.records))
        # Made here rather than in the writer's thread: the two would only fight over the interpreter's lock.
        bodies = [rows.body_of(dated.record) for dated in delivery.records]
        return await self._writer.run(
            lambda connection: self._ingest.settle(connection, delivery, bodies), weight=weight
        )

    async def check_writable(self, now_us: int) -> None:
        def beat(connection: sa.Connection) -> None:
            connection.exec_driver_sql(_BEAT, (now_us,))

        await self._writer.run(beat, own=True)

    async def prune(self, now_us: int) -> Pruned:
        return await self._writer.run(lambda connection: self._prune.step(connection, now_us), own=True)

    async def directory(self) -> Directory:
        return await self._read(rows.read_directory)

    async def changes_by_others(self) -> int:
        # On the writing connection this counts commits of every connection but itself: exactly "others".
        return await self._writer.run(
            lambda connection: int(connection.exec_driver_sql("PRAGMA data_version").scalar_one()), own=True
        )

    async def latest(self, agents: Collection[int], wanted: Wanted) -> AsyncIterator[Sequence[LiveRecord]]:
        series = await self._read(partial(rows.series_of, agents=agents, kinds=wanted.kinds))
        for start in range(0, len(series), _PIECE):
            found = await self._read(partial(_latest, series=series[start : start + _PIECE], wanted=wanted))
            self._unreadable.meet(sum(dated is None for _, dated in found))
            yield [LiveRecord(school, dated) for school, dated in found if dated is not None]

    async def hours(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        return await self._read(partial(history.read_hours, wanted=wanted))

    async def days(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        return await self._read(partial(history.read_days, wanted=wanted))

    async def enrol(self, request: EnrolRequest, credential_hash: bytes, now_us: int) -> Enrolled:
        return await self._writer.run(lambda connection: rows.enrol(connection, request, credential_hash, now_us))

    async def add_school(self, school: School, now_us: int) -> None:
        await self._writer.run(lambda connection: rows.insert_school(connection, school, now_us))

    async def update_school(self, school: School) -> None:
        await self._writer.run(lambda connection: rows.update_school(connection, school))

    async def add_schools(self, schools: Sequence[School], now_us: int) -> None:
        await self._writer.run(lambda connection: rows.put_schools(connection, schools, now_us))

    async def revoke_simulated(self) -> int:
        return await self._writer.run(simulated.revoke)

    async def remove_simulated(self) -> Removed:
        records = 0
        while piece := await self._writer.run(simulated.remove_records):
            records += piece
        schools, agents = await self._writer.run(self._remove_the_rest)
        return Removed(schools, agents, records)

    def _remove_the_rest(self, connection: sa.Connection) -> tuple[int, int]:
        removed = simulated.remove_the_rest(connection)
        self._ingest.forget()  # numbers of agents and streams may be given out again
        return removed

    async def edit_schools(self, edits: SchoolEdits, now_us: int, progress: Callable[[int], None]) -> None:
        steps = await asyncio.to_thread(rows.school_steps, edits, now_us)
        await self._writer.run(lambda connection: rows.edit_schools(connection, steps, progress))

    async def set_region(self, name: str, profile: Profile | None) -> None:
        await self._writer.run(lambda connection: rows.set_region(connection, name, profile))

    async def add_token(self, token: Token, token_hash: bytes) -> bool:
        return await self._writer.run(lambda connection: rows.insert_token(connection, token, token_hash))

    async def tokens(self) -> Sequence[Token]:
        return await self._read(rows.read_tokens)

    async def revoke_token(self, token_id: str, now_us: int) -> None:
        await self._writer.run(lambda connection: rows.revoke_token(connection, token_id, now_us))

    async def approve(self, agent_id: str) -> Agent:
        return await self._writer.run(lambda connection: rows.set_agent_state(connection, agent_id, AgentState.ACTIVE))

    async def revoke_agent(self, agent_id: str) -> Agent:
        return await self._writer.run(lambda connection: rows.set_agent_state(connection, agent_id, AgentState.REVOKED))

    async def _read(self, query: Callable[[sa.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._in_snapshot, query)

    def _in_snapshot(self, query: Callable[[sa.Connection], T]) -> T:
        with sqlite_connection.translated(), self._read_engine.begin() as connection:
            return query(connection)


def _latest(connection: sa.Connection, *, series: Sequence[tuple[int, str]], wanted: Wanted) -> list[_Found]:
    """Seek to the end of each series on the index, and go back no further than needed."""
    return [(school, dated) for series_id, school in series for dated in _newest(connection, series_id, wanted)]


def _newest(connection: sa.Connection, series_id: int, wanted: Wanted) -> Iterator[DatedRecord | None]:
    found = connection.exec_driver_sql(_NEWEST, (series_id, int(TimeQuality.UNSYNCED), wanted.at_most))
    for at_us, clock, body in found:
        dated = rows.dated_record(at_us, clock, body)
        yield dated
        if dated is not None and wanted.settles(dated.record):
            break
    found.close()
