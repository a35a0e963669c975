"""Partitions of PostgreSQL tables by time: made before they are needed, dropped without stopping anybody.

A partition is made beside the table and then attached, and detached before it is dropped: both take locks that let
inserts and queries go on. There is no default partition: what fell into it would keep the right one from being made.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from linkbell_collector.store.retention import DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIST = (
    "SELECT relname AS name, inhrelid IS NOT NULL AS attached, coalesce(inhdetachpending, false) AS pending "
    "FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid "
    "WHERE relkind = 'r' AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::regclass) "
    "AND relname ~ ('^' || $1 || '_[0-9]{8}$') ORDER BY relname"
)


@dataclass(frozen=True, slots=True)
class Partitioned:
    """A table in partitions of ``width_us``, named after the day each begins; ``column`` decides."""

    table: str
    column: str
    width_us: int

    def start_of(self, moment_us: int) -> int:
        """Return where the partition of a moment begins."""
        return moment_us // self.width_us * self.width_us

    def name(self, start_us: int) -> str:
        """Return the name of the partition that begins there."""
        return f"{self.table}_{(_EPOCH + timedelta(microseconds=start_us)):%Y%m%d}"

    def start_in(self, name: str) -> int | None:
        """Return where a partition begins, by its name; ``None`` for a name that is none of ours."""
        try:
            begun = datetime.strptime(name.removeprefix(f"{self.table}_"), "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        return int((begun - _EPOCH) / timedelta(microseconds=1))


RECORDS = Partitioned("records", "received_us", DAY_US)
HOURLY = Partitioned("hourly", "start_us", 28 * DAY_US)


async def make(connection: "asyncpg.Connection[Any]", parts: Partitioned, moments_us: Iterable[int]) -> set[int]:
    """Make the partitions of these moments where they are missing; return their starts."""
    starts = {parts.start_of(moment_us) for moment_us in moments_us}
    for start_us in sorted(starts):
        await _make(connection, parts, start_us)
    return starts


async def _make(connection: "asyncpg.Connection[Any]", parts: Partitioned, start_us: int) -> None:
    name = parts.name(start_us)
    async with connection.transaction():
        # Two processes may want the same one.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('linkbell_partition'))")
        if await connection.fetchval("SELECT to_regclass($1)", name) is not None:
            return
        end_us = start_us + parts.width_us
        await connection.execute(
            f"CREATE TABLE {name} (LIKE {parts.table} INCLUDING ALL); "
            f"ALTER TABLE {parts.table} ATTACH PARTITION {name} FOR VALUES FROM ({start_us}) TO ({end_us})"
        )


async def drop_one_before(connection: "asyncpg.Connection[Any]", parts: Partitioned, oldest_us: int) -> str | None:
    """Drop the oldest partition that holds nothing since ``oldest_us``; return its name, ``None`` if there is none.

    One that was detached only, or half, because the collector was killed, is finished.
    """
    for row in await connection.fetch(_LIST, parts.table):
        name, start_us = str(row["name"]), parts.start_in(row["name"])
        if start_us is None or start_us + parts.width_us > oldest_us:
            continue
        # Neither in a transaction: it waits for readers without holding up anybody.
        if row["pending"]:
            await connection.execute(f"ALTER TABLE {parts.table} DETACH PARTITION {name} FINALIZE")
        elif row["attached"]:
            await connection.execute(f"ALTER TABLE {parts.table} DETACH PARTITION {name} CONCURRENTLY")
        await connection.execute(f"DROP TABLE {name}")
        return name
    return None
