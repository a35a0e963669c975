"""A PostgreSQL database into a file, and a file (or a running SQLite database) into PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from linkbell_collector.errors import RefusedError
from linkbell_collector.store import copies, postgresql_connection, sqlite_connection
from linkbell_collector.store import postgresql_partitions as partitions
from linkbell_collector.store.copies import ROWS_AT_ONCE, Copied, Tell, columns_of, tables
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.postgresql_partitions import HOURLY, RECORDS, Partitioned
from linkbell_collector.store.sqlite_connection import Database
from linkbell_collector.values import DatabaseUrl

Connection = Any
"""An asyncpg connection."""

_PARTED = {"records": RECORDS, "hourly": HOURLY}
_CHILDREN = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1"


async def backup(url: DatabaseUrl, file: Path, tell: Tell, *, replace: bool) -> Copied:
    """Copy a database, as it is at one moment, into an SQLite ``file``. Ingest goes on meanwhile."""
    async with (
        postgresql_connection.translated(),
        postgresql_connection.opened(url) as source,
        source.transaction(isolation="repeatable_read", readonly=True),
    ):
        with copies.new_file(file, replace=replace) as part:
            part.unlink()  # made by the migrations
            sqlite_connection.prepare(Database(part), migrate)
            with closing(sqlite3.connect(part, isolation_level=None)) as target:
                target.execute("PRAGMA journal_mode = DELETE").fetchone()
                target.execute("BEGIN")
                await _into_file(source, target, tell)
                target.execute("COMMIT")
                return Copied(copies.count_rows(target))


async def _into_file(source: Connection, target: sqlite3.Connection, tell: Tell) -> None:
    expected = await _count(source)
    total, done = sum(expected.values()), 0
    for table in tables():
        names = columns_of(table)
        places = ", ".join("?" * len(names))
        insert = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - names of ours
        for relation in await _relations(source, table.name):
            async for rows in _pieces(source, relation, names):
                target.executemany(insert, rows)
                done += len(rows)
                tell(done, total)
    _compare(expected, copies.count_rows(target))


async def _relations(source: Connection, table: str) -> list[str]:
    """Return a table, or its partitions from the oldest on: records have to lie in the order they were received."""
    if table not in _PARTED:
        return [table]
    return [row[0] for row in await source.fetch(_CHILDREN, table)]


async def _pieces(source: Connection, relation: str, names: Sequence[str]) -> AsyncIterator[list[tuple[Any, ...]]]:
    cursor = await source.cursor(f"SELECT {', '.join(names)} FROM {relation}")  # noqa: S608 - names of ours
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        yield [tuple(row) for row in rows]


async def fill(source: sqlite3.Connection, url: DatabaseUrl, tell: Tell, *, replace: bool) -> Copied:
    """Put what is in ``source`` in place of what is in a database, in one transaction, and compare the counts.

    A collector that serves the database waits, and takes notice.
    """
    engine = postgresql_connection.make_engine(url)
    try:
        await postgresql_connection.prepare(url, engine, migrate)
    finally:
        await engine.dispose()
    async with postgresql_connection.translated(), postgresql_connection.opened(url) as target:
        async with target.transaction():
            # Each group of a serving collector begins with this table: from here on it waits.
            await target.execute("LOCK TABLE changes IN ACCESS EXCLUSIVE MODE", timeout=None)
            if not replace:
                copies.refuse_if_filled(await target.fetchval("SELECT count(*) FROM agents"), f"the database {url}")
            await target.execute(f"TRUNCATE {', '.join(table.name for table in tables())}")
            copied = await _from_file(source, target, tell)
            await target.execute("UPDATE changes SET count = count + 1")
        await target.execute("ANALYZE", timeout=None)
    return copied


async def _from_file(source: sqlite3.Connection, target: Connection, tell: Tell) -> Copied:
    source.execute("BEGIN")  # one moment, whatever is written meanwhile
    expected = copies.count_rows(source)
    total, done = sum(expected.values()), 0
    for table in tables():
        names = columns_of(table)
        known: set[int] = set()
        found = source.execute(f"SELECT {', '.join(names)} FROM {table.name}")  # noqa: S608 - names of ours
        while rows := found.fetchmany(ROWS_AT_ONCE):
            if table.name in _PARTED:
                await _make_partitions(target, _PARTED[table.name], rows, names, known)
            await target.copy_records_to_table(table.name, records=_typed(table, rows), columns=names, timeout=None)
            done += len(rows)
            tell(done, total)
        await _continue_numbers(target, table)
    source.execute("ROLLBACK")
    counted = await _count(target)
    _compare(expected, counted)
    return Copied(counted)


async def _make_partitions(
    target: Connection, parts: Partitioned, rows: Sequence[tuple[Any, ...]], names: Sequence[str], known: set[int]
) -> None:
    column = names.index(parts.column)
    missing = {parts.start_of(row[column]) for row in rows} - known
    if missing:
        known |= await partitions.make(target, parts, missing)


def _typed(table: sa.Table, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows as PostgreSQL takes them: SQLite has no truth values."""
    truths = [number for number, name in enumerate(columns_of(table)) if isinstance(table.c[name].type, sa.Boolean)]
    if not truths:
        return rows
    return [
        tuple(bool(value) if number in truths and value is not None else value for number, value in enumerate(row))
        for row in rows
    ]


async def _continue_numbers(target: Connection, table: sa.Table) -> None:
    """Have the numbers that the server hands out go on after the highest there is."""
    for name in columns_of(table):
        sequence = await target.fetchval("SELECT pg_get_serial_sequence($1, $2)", table.name, name)
        if sequence is not None:
            await target.execute(f"SELECT setval('{sequence}', coalesce(max({name}), 0) + 1, false) FROM {table.name}")  # noqa: S608


async def _count(connection: Connection) -> dict[str, int]:
    return {
        table.name: await connection.fetchval(f"SELECT count(*) FROM {table.name}", timeout=None)  # noqa: S608
        for table in tables()
    }


def _compare(expected: dict[str, int], found: dict[str, int]) -> None:
    different = [name for name in expected if expected[name] != found.get(name)]
    if different:
        told = ", ".join(f"{name} ({expected[name]}, {found.get(name)})" for name in different)
        raise RefusedError(
            f"the copy does not hold as many rows as there are: {told}; it is thrown away", "run the command again"
        )
