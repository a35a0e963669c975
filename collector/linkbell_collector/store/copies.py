"""Copies of a whole database: backups, which are SQLite files whatever the collector runs on, and the way back.

All of them can be made while a collector serves. A copy is complete or it is not there: files are written beside their
place and renamed, PostgreSQL is filled in one transaction.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from linkbell_collector.errors import RefusedError
from linkbell_collector.store import schema, sqlite_connection
from linkbell_collector.store.migrations import migrate
from linkbell_collector.store.sqlite_connection import Database

PAGES_AT_ONCE = 2_000
ROWS_AT_ONCE = 5_000
Tell = Callable[[int, int], None]
"""Is told how much of how much is done."""


@dataclass(frozen=True, slots=True)
class Copied:
    """How many rows of each table a copy holds."""

    rows: dict[str, int]

    @property
    def records(self) -> int:
        """Records in the copy."""
        return self.rows["records"]


def tables() -> list[sa.Table]:
    """Return all tables in the order in which they can be filled. What a server counts for itself is none of them."""
    return [table for table in schema.metadata.sorted_tables if table.name not in ("changes", "heartbeat")]


def columns_of(table: sa.Table) -> list[str]:
    """Return the columns that both kinds of database have."""
    return [column.name for column in table.c if (table.name, column.name) != ("records", "id")]


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of each table."""
    count = "SELECT count(*) FROM {}"
    return {table.name: connection.execute(count.format(table.name)).fetchone()[0] for table in tables()}


@contextmanager
def new_file(file: Path, *, replace: bool) -> Iterator[Path]:
    """Give a name beside ``file`` to write to, and take it for ``file`` once all is on disk."""
    if file.exists() and not replace:
        raise RefusedError(f"{file} exists already", "choose another name, or write over it with --replace")
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield part
        _sync(part)
        part.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise RefusedError(
            f"{file} cannot be written: {error.strerror or error}", "choose a folder with room that may be written to"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def backup_sqlite(database: Database, file: Path, tell: Tell, *, replace: bool) -> Copied:
    """Copy an SQLite database, as it is at one moment, into ``file``. Ingest goes on meanwhile."""
    with (
        sqlite_connection.translated(),
        new_file(file, replace=replace) as part,
        closing(sqlite_connection.open_connection(database, read_only=True)) as source,
        closing(sqlite3.connect(part, isolation_level=None)) as target,
    ):
        # With a snapshot held, what is written meanwhile does not make the copy begin anew.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(target, pages=PAGES_AT_ONCE, progress=lambda _, left, total: tell(total - left, total), sleep=0)
        return _finish(target)


def _finish(target: sqlite3.Connection) -> Copied:
    """Make the copy one file, without a log beside it."""
    target.execute("PRAGMA journal_mode = DELETE").fetchone()
    return Copied(count_rows(target))


def restore_sqlite(file: Path, database: Database, tell: Tell, *, replace: bool) -> Copied:
    """Put a backup in place of an SQLite database, in one transaction. A collector that serves it takes notice."""
    with readable(file) as source, sqlite_connection.translated():
        sqlite_connection.prepare(database, migrate)
        with closing(sqlite_connection.open_connection(database)) as target:
            if not replace:
                refuse_if_filled(target.execute("SELECT count(*) FROM agents").fetchone()[0], str(database.path))
            source.backup(target, pages=-1, progress=lambda _, left, total: tell(total - left, total), sleep=0)
            target.execute("PRAGMA journal_mode = WAL").fetchone()
            return Copied(count_rows(target))


def refuse_if_filled(agents: int, place: str) -> None:
    """Refuse to write over a database with agents."""
    if agents:
        raise RefusedError(
            f"{place} holds data already ({agents} agents)",
            "make a backup of it if you may need it; then run this again with --replace",
        )


@contextmanager
def readable(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup, brought up to date if it is of an older version (in a copy: the file is not touched)."""
    _look(file)
    scratch = file.with_name(f"{file.name}.migrated")
    try:
        if _version(file) == schema.HEAD:
            used = file
        else:
            used = scratch
            with (
                new_file(scratch, replace=True) as part,
                closing(_read_only(file)) as source,
                closing(sqlite3.connect(part)) as target,
            ):
                source.backup(target)
            sqlite_connection.prepare(Database(scratch), migrate)
        with closing(_read_only(used)) as connection:
            yield connection
    finally:
        for name in (scratch, *(scratch.with_name(f"{scratch.name}{end}") for end in ("-wal", "-shm"))):
            name.unlink(missing_ok=True)


def _look(file: Path) -> None:
    """Refuse what is no whole backup of a collector."""
    try:
        with closing(_read_only(file)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()[
                0
            ]
    except sqlite3.Error as error:
        raise RefusedError(f"{file} cannot be read as a backup: {error}", "choose a file made by: backup") from error
    if found != "ok" or not known:
        what = "is damaged" if known else "is no backup of a collector"
        raise RefusedError(f"{file} {what}; nothing was changed", "choose a file made by: backup")


def _version(file: Path) -> str:
    with closing(_read_only(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _read_only(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = lambda text: text.decode(
        errors="replace"
    )  # one damaged record keeps no copy from being made
    return connection


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
