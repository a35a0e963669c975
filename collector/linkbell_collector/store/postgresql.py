"""The PostgreSQL store: one writing connection for records, a small pool for everything else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
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
from linkbell_collector.store import groups, history, postgresql_connection, rows, simulated
from linkbell_collector.store import postgresql_partitions as partitions
from linkbell_collector.store.groups import Group, WriterLimits
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.postgresql_ingest import PostgresIngest
from linkbell_collector.store.postgresql_writer import PostgresWriter
from linkbell_collector.store.retention import DAY_US, Pruned, Retention
from linkbell_collector.store.rollups import HistoryWanted, SeriesSums
from linkbell_collector.store.unreadable import Unreadable
from linkbell_collector.values import DatabaseUrl
from linkbell_wire.enrolment import EnrolRequest

log = logging.getLogger(__name__)
T = TypeVar("T")
KEEP = Retention()
_PIECE = 500
"""Series read at a time for live state."""

_SERIES_AT_ONCE = 20
"""Series whose records are removed in one transaction."""

_LOOK_BACK_US = (DAY_US, 8 * DAY_US)
"""How far back live state is looked for first: in few partitions most series are found, and only the rest in all."""

_TOLERANCE_US = 60_000_000
"""So far past its receipt a record may be dated (redate.py)."""

_AHEAD_US = (0, DAY_US, 2 * DAY_US)
"""Partitions are made for now and for so much later."""

_CHANGED = sa.text("UPDATE changes SET count = count + 1")
_BEAT = sa.text("INSERT INTO heartbeat (id, at_us) VALUES (1, :at_us) ON CONFLICT (id) DO UPDATE SET at_us = :at_us")
_OTHERS = sa.text("SELECT count FROM changes")
_NEWEST = sa.text(
    "SELECT wanted.series, found.at_us, found.clock, found.body FROM unnest(CAST(:series AS int[])) AS wanted (series) "
    "CROSS JOIN LATERAL (SELECT at_us, received_us, seq, clock, body FROM records "
    "WHERE series = wanted.series AND clock <> :unsynced AND received_us >= :since_us "
    "ORDER BY at_us DESC, received_us DESC, seq DESC LIMIT :at_most) AS found "
    "ORDER BY wanted.series, found.at_us DESC, found.received_us DESC, found.seq DESC"
)


class PostgresStore:
    """See :class:`linkbell_collector.store.interface.Store`, which says what every method does."""

    def __init__(self, url: DatabaseUrl, limits: WriterLimits, clock: Clock, retention: Retention) -> None:
        self._url = url
        self._limits = limits
        self._clock = clock
        self._retention = retention
        self._engine = postgresql_connection.make_engine(url)
        self._unreadable = Unreadable()
        self._jobs = 0
        self._serving = False
        self._closed = False
        self._writer = PostgresWriter(url, limits, PostgresIngest(retention), clock)

    @classmethod
    async def open(
        cls, url: DatabaseUrl, limits: WriterLimits, clock: Clock, retention: Retention = KEEP
    ) -> "PostgresStore":
        """Check and migrate the database, then open it. Raises ``RefusedError`` with what to do."""
        engine = postgresql_connection.make_engine(url)
        try:
            await postgresql_connection.prepare(url, engine, migrate)
        finally:
            await engine.dispose()
        return cls(url, limits, clock, retention)

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
        await self._writer.claim()
        self._serving = True
        await self._make_partitions(self._clock.now_us())

    async def close(self) -> None:
        self._closed = True
        await self._writer.close()
        await self._engine.dispose()

    async def settle(self, delivery: Delivery) -> Settled:
        bodies = [rows.body_of(dated.record) for dated in delivery.records]
        return await self._writer.settle(delivery, bodies)

    async def check_writable(self, now_us: int) -> None:
        async with postgresql_connection.translated(), self._engine.begin() as connection:
            await connection.execute(_BEAT, {"at_us": now_us})

    async def prune(self, now_us: int) -> Pruned:
        await self._make_partitions(now_us)
        async with postgresql_connection.translated(), postgresql_connection.opened(self._url) as connection:
            for parts, oldest_us in (
                (partitions.RECORDS, self._retention.oldest_received_us(now_us)),
                (partitions.HOURLY, self._retention.oldest_hour_us(now_us)),
            ):
                dropped = await partitions.drop_one_before(connection, parts, oldest_us)
                if dropped is not None:
                    log.info("%s is older than it is kept, and is removed", dropped)
                    return Pruned(more=True)
        return Pruned()

    async def directory(self) -> Directory:
        return await self._read(rows.read_directory)

    async def changes_by_others(self) -> int:
        return await self._read(lambda connection: int(connection.execute(_OTHERS).scalar_one()))

    async def latest(self, agents: Collection[int], wanted: Wanted) -> AsyncIterator[Sequence[LiveRecord]]:
        series = await self._read(partial(rows.series_of, agents=agents, kinds=wanted.kinds))
        now_us = self._clock.now_us()
        for start in range(0, len(series), _PIECE):
            schools = dict(series[start : start + _PIECE])
            for since_us in (*(now_us - back_us for back_us in _LOOK_BACK_US), 0):
                found = await self._read(partial(_newest, series=list(schools), since_us=since_us, wanted=wanted))
                done = {number: going for number, going in found.items() if not since_us or _is_over(going, since_us)}
                yield [LiveRecord(schools[number], dated) for number, going in done.items() for dated in going.records]
                self._unreadable.meet(sum(going.unreadable for going in done.values()))
                for number in done:
                    del schools[number]

    async def hours(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        return await self._read(partial(history.read_hours, wanted=wanted))

    async def days(self, wanted: HistoryWanted) -> Sequence[SeriesSums]:
        return await self._read(partial(history.read_days, wanted=wanted))

    async def enrol(self, request: EnrolRequest, credential_hash: bytes, now_us: int) -> Enrolled:
        return await self._change(lambda connection: rows.enrol(connection, request, credential_hash, now_us))

    async def add_school(self, school: School, now_us: int) -> None:
        await self._change(lambda connection: rows.insert_school(connection, school, now_us))

    async def update_school(self, school: School) -> None:
        await self._change(lambda connection: rows.update_school(connection, school))

    async def add_schools(self, schools: Sequence[School], now_us: int) -> None:
        await self._change(lambda connection: rows.put_schools(connection, schools, now_us))

    async def revoke_simulated(self) -> int:
        return await self._change(simulated.revoke)

    async def remove_simulated(self) -> Removed:
        series, gone = await self._read(simulated.series_of_simulated), 0
        for start in range(0, len(series), _SERIES_AT_ONCE):
            some = series[start : start + _SERIES_AT_ONCE]
            gone += await self._change(partial(simulated.remove_records_of, some=some))
        schools, agents = await self._change(simulated.remove_the_rest)
        self._writer.forget()  # numbers of agents and streams may be given out again
        return Removed(schools, agents, gone)

    async def edit_schools(self, edits: SchoolEdits, now_us: int, progress: Callable[[int], None]) -> None:
        steps = await asyncio.to_thread(rows.school_steps, edits, now_us)
        await self._change(lambda connection: rows.edit_schools(connection, steps, progress))

    async def set_region(self, name: str, profile: Profile | None) -> None:
        await self._change(lambda connection: rows.set_region(connection, name, profile))

    async def add_token(self, token: Token, token_hash: bytes) -> bool:
        return await self._change(lambda connection: rows.insert_token(connection, token, token_hash))

    async def tokens(self) -> Sequence[Token]:
        return await self._read(rows.read_tokens)

    async def revoke_token(self, token_id: str, now_us: int) -> None:
        await self._change(lambda connection: rows.revoke_token(connection, token_id, now_us))

    async def approve(self, agent_id: str) -> Agent:
        return await self._change(lambda connection: rows.set_agent_state(connection, agent_id, AgentState.ACTIVE))

    async def revoke_agent(self, agent_id: str) -> Agent:
        return await self._change(lambda connection: rows.set_agent_state(connection, agent_id, AgentState.REVOKED))

    async def _make_partitions(self, now_us: int) -> None:
        async with postgresql_connection.translated(), postgresql_connection.opened(self._url) as connection:
            ahead = [now_us + later_us for later_us in _AHEAD_US]
            await partitions.make(connection, partitions.RECORDS, ahead)
            await partitions.make(connection, partitions.HOURLY, ahead)

    async def _change(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in a transaction; a serving collector is told of what others do so."""
        if self._closed:
            raise groups.overloaded(groups.STOPPING)
        if self._jobs >= self._limits.max_jobs:
            raise groups.overloaded(groups.TOO_MANY_REQUESTS)
        self._jobs += 1
        try:
            async with postgresql_connection.translated(), self._engine.begin() as connection:
                if not self._serving:
                    await connection.execute(_CHANGED)
                return await connection.run_sync(work)
        finally:
            self._jobs -= 1

    async def _read(self, query: Callable[[sa.Connection], T]) -> T:
        async with postgresql_connection.translated(), self._engine.connect() as connection:
            return await connection.run_sync(query)


@dataclass(slots=True)
class _GoingBack:
    """The records of a series from the newest back to the one that settles it, if it was found."""

    records: list[DatedRecord] = field(default_factory=list)
    unreadable: int = 0
    settled: bool = False


def _is_over(going: _GoingBack, since_us: int) -> bool:
    """Tell whether nothing received before ``since_us`` can be newer than what settles the series."""
    return going.settled and going.records[-1].at_us >= since_us + _TOLERANCE_US


def _newest(
    connection: sa.Connection, *, series: Sequence[int], since_us: int, wanted: Wanted
) -> dict[int, _GoingBack]:
    """Go back in each series until a record settles it: mostly that is the first."""
    found = _go_back(connection, series, since_us, replace(wanted, at_most=1))
    more = [number for number, going in found.items() if not going.settled and (going.records or going.unreadable)]
    return found | _go_back(connection, more, since_us, wanted) if more else found


def _go_back(connection: sa.Connection, series: Sequence[int], since_us: int, wanted: Wanted) -> dict[int, _GoingBack]:
    values = {"series": list(series), "since_us": since_us, "at_most": wanted.at_most}
    found = {number: _GoingBack() for number in series}
    for row in connection.execute(_NEWEST, {**values, "unsynced": int(TimeQuality.UNSYNCED)}):
        going = found[row.series]
        if going.settled:
            continue
        dated = rows.dated_record(row.at_us, row.clock, row.body.encode())
        if dated is None:
            going.unreadable += 1
        else:
            going.records.append(dated)
            going.settled = wanted.settles(dated.record)
    return found
