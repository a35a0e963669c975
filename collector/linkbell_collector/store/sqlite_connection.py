"""Opening SQLite, and saying in words what went wrong with it: the only module that knows sqlite3's errors."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event, pool

from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_wire import ErrorCode

log = logging.getLogger(__name__)

DATABASE_NAME = "collector.sqlite3"
BUSY_TIMEOUT_MS = 5_000
CHECKPOINT_PAGES = 16_000
"""The write-ahead log is folded into the database after this many pages (64 MB): each fold costs two fsyncs and writes
the pages a second time. With a quarter of this, ingest into a database that has grown was a sixth slower (measured)."""

JOURNAL_LIMIT_BYTES = 128 << 20
CACHE_KIB = 65_536
FULL_CHECK_BYTES = 512 << 20
"""A database up to this size is checked whole at start (about a second); a larger one as it is read."""

RETRY_AFTER_S = 30
_HEADER = b"SQLite format 3\x00"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is, how large it may grow (``None``: as the disk allows), how long to wait for others."""

    path: Path
    max_bytes: int | None = None
    busy_timeout_ms: int = BUSY_TIMEOUT_MS


def open_connection(database: Database, *, read_only: bool = False) -> sqlite3.Connection:
    """Open one connection with every pragma set. Transactions are begun explicitly. Raises :class:`sqlite3.Error`."""
    connection = sqlite3.connect(
        database.path, timeout=database.busy_timeout_ms / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        if not read_only and connection.execute("PRAGMA page_count").fetchone() == (0,):
            # Only in a database that is made now: in another one it changes nothing, and yet writes.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL").close()
        for pragma in _pragmas(database.busy_timeout_ms, read_only=read_only):
            connection.execute(f"PRAGMA {pragma}").close()
        if database.max_bytes is not None:
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {max(1, database.max_bytes // page_bytes)}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def _pragmas(busy_timeout_ms: int, *, read_only: bool) -> Iterator[str]:
    yield f"busy_timeout = {busy_timeout_ms}"
    if not read_only:
        yield "journal_mode = WAL"
    yield "synchronous = FULL"
    yield "foreign_keys = ON"
    yield "temp_store = MEMORY"
    yield f"cache_size = -{CACHE_KIB}"
    yield f"wal_autocheckpoint = {CHECKPOINT_PAGES}"
    yield f"journal_size_limit = {JOURNAL_LIMIT_BYTES}"
    if read_only:
        yield "query_only = ON"


def make_engine(database: Database, *, readers: int | None = None) -> sa.Engine:
    """Return an engine of one writing connection, or of up to ``readers`` reading ones."""
    read_only = readers is not None

    def connect() -> sqlite3.Connection:
        return open_connection(database, read_only=read_only)

    if readers is None:
        engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool.StaticPool)
    else:
        engine = sa.create_engine(
            "sqlite://", creator=connect, poolclass=pool.QueuePool, pool_size=readers, max_overflow=0
        )
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    def on_begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "begin", on_begin)
    return engine


def prepare(database: Database, migrate: Callable[[sa.Connection], None]) -> None:
    """Make the folder and the database if need be, look for damage, and bring the schema up to date.

    Raises :class:`RefusedError` with what to do if the database cannot be used.
    """
    _make_folder(database.path.parent)
    _refuse_other_files(database.path)
    with translated():
        engine = make_engine(database)
        try:
            with engine.connect() as connection:
                _look_for_damage(connection, database.path)
                connection.rollback()
                with connection.begin():
                    migrate(connection)
        except CollectorError:
            raise
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise _cannot_start(error, database.path) from error
        finally:
            engine.dispose()
    os.chmod(database.path, 0o600)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RefusedError(
            f"the data folder {folder} cannot be written: {error.strerror or error}",
            f"give the user that runs this the right to write {folder}, or choose another folder with --data",
        ) from error


def _refuse_other_files(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEADER))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(
            f"the database {path} cannot be read: {error.strerror or error}",
            "give the user that runs this the right to read and write it",
        ) from error
    if not head:
        log.warning("the database %s is empty: a new one is made in it. If it held data before, restore a copy", path)
    elif head != _HEADER:
        raise damaged(path, "it is not an SQLite database")


def _look_for_damage(connection: sa.Connection, path: Path) -> None:
    thorough = path.stat().st_size <= FULL_CHECK_BYTES
    found = connection.exec_driver_sql(f"PRAGMA {'quick_check' if thorough else 'schema_version'}").scalar()
    if thorough and found != "ok":
        raise damaged(path, str(found).splitlines()[0])


def damaged(path: Path, found: str) -> RefusedError:
    """Return the refusal to work with a damaged database."""
    return RefusedError(
        f"the database {path} is damaged: {found}",
        f"nothing was changed. Restore the last backup over it; or, to start empty, move {path}, {path.name}-wal and "
        f"{path.name}-shm aside together and keep them: 'sqlite3 {path.name} .recover' can often save most of it",
    )


def _cannot_start(error: Exception, path: Path) -> CollectorError:
    if _primary_code(error) in _DAMAGED:
        return damaged(path, str(_original(error)))
    translation = translate(error)
    return RefusedError(f"the database {path} cannot be opened: {translation.message}", translation.action)


@contextmanager
def translated() -> Iterator[None]:
    """Turn every database error inside into a ``CollectorError``, cause kept."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise translate(error) from error


def translate(error: BaseException) -> CollectorError:
    """Return what a database error means to an agent and to an operator; paths are nothing for agents to know."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_FULL:
        return CollectorError(
            ErrorCode.STORAGE_FULL,
            "the collector's disk is full, so nothing more can be kept",
            "agents keep their records and try again; free space for its data folder, or raise database_max_bytes",
            retry_after_s=RETRY_AFTER_S,
        )
    if code == sqlite3.SQLITE_BUSY:
        return CollectorError(
            ErrorCode.STORAGE_FAILED,
            "another program held the database for too long",
            "try again; if it stays so, look for a backup or an sqlite3 shell that holds a transaction open",
            retry_after_s=RETRY_AFTER_S,
        )
    what = "is damaged" if code in _DAMAGED else f"failed ({_name(error)})"
    return CollectorError(
        ErrorCode.STORAGE_FAILED,
        f"the collector's database {what}, so nothing more can be kept",
        "agents keep their records and try again; look at the collector's disk, then restart it: that checks the "
        "database",
        retry_after_s=RETRY_AFTER_S,
    )


def is_storage_trouble(error: BaseException) -> bool:
    """Tell trouble of disk or file, which hits every transaction, from a fault of one."""
    return _primary_code(error) not in (None, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR)


def _original(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error


def _primary_code(error: BaseException) -> int | None:
    code = getattr(_original(error), "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _name(error: BaseException) -> str:
    return str(getattr(_original(error), "sqlite_errorname", type(_original(error)).__name__))
