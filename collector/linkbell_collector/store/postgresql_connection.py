"""Opening PostgreSQL, and saying in words what went wrong with it: the only module that knows asyncpg's errors.

The address of the database holds a password: it is in no message and in no log.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_collector.values import DatabaseUrl
from linkbell_wire import ErrorCode

log = logging.getLogger(__name__)

OLDEST_VERSION = 15
CONNECT_S = 5.0
COMMAND_S = 60.0
"""A server that does not answer for so long is lost."""

RETRY_AFTER_S = 5
"""A server that restarts is back in seconds."""

FULL_RETRY_AFTER_S = 30
CONNECTIONS = 4
_FULL = {"53100", "53400"}
_UNKNOWN_DATABASE = "3D000"
_NO_ENTRY = {"28P01", "28000"}

# Acknowledged is durable, whatever the server's own default; rows are not touched by more than one writer.
_SESSION = {"synchronous_commit": "on", "application_name": "linkbell-collector", "jit": "off"}

DatabaseError = (asyncpg.PostgresError, asyncpg.InterfaceError, sa.exc.DBAPIError, OSError, asyncio.TimeoutError)
"""All that can come of asking a database: what it says, and what the way to it says."""


async def connect(url: DatabaseUrl) -> "asyncpg.Connection[Any]":
    """Open one connection. Raises one of ``DatabaseError``."""
    return await asyncpg.connect(url.secret, timeout=CONNECT_S, server_settings=_SESSION, command_timeout=COMMAND_S)


@asynccontextmanager
async def opened(url: DatabaseUrl) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Open a connection for a moment."""
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def make_engine(url: DatabaseUrl) -> AsyncEngine:
    """Return an engine for everything but records."""

    async def creator() -> Any:
        return await connect(url)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=creator,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,  # a connection from before the server's restart is replaced rather than used
        pool_timeout=CONNECT_S,
    )


async def prepare(url: DatabaseUrl, engine: AsyncEngine, migrate: Callable[[sa.Connection], None]) -> None:
    """Look whether the server will do, and bring the schema up to date, one process at a time.

    Raises :class:`RefusedError` with what to do if the database cannot be used.
    """
    try:
        async with engine.begin() as connection:
            await _require_version(connection.scalar(sa.text("SELECT current_setting('server_version_num')::int")))
            if await connection.scalar(sa.text("SELECT current_setting('fsync')")) != "on":
                log.warning("the database server runs with fsync off: a power cut there loses acknowledged records")
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('linkbell_migrate'))"))
            await connection.run_sync(migrate)
    except DatabaseError as error:
        raise _cannot_start(error, url) from error


async def _require_version(asked: Awaitable[Any]) -> None:
    version = int(await asked)
    if version // 10_000 < OLDEST_VERSION:
        raise RefusedError(
            f"the database server is PostgreSQL {version // 10_000}; {OLDEST_VERSION} or newer is needed",
            "update the server, or use SQLite: leave --database out",
        )


def _cannot_start(error: BaseException, url: DatabaseUrl) -> RefusedError:
    code = _code(error)
    if code in _NO_ENTRY:
        return RefusedError(
            f"the database server of {url} does not let us in: wrong user or password",
            "check the user and password in the address, and pg_hba.conf of the server",
        )
    if code == _UNKNOWN_DATABASE:
        return RefusedError(
            f"there is no database {url}", "make it: createdb --owner USER NAME, on the database server"
        )
    return RefusedError(
        f"the database {url} cannot be used: {_words(error)}",
        "see that the server runs and can be reached from here; then start again",
    )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn every database error inside into a ``CollectorError``, cause kept."""
    try:
        yield
    except DatabaseError as error:
        raise translate(error) from error


def translate(error: BaseException) -> CollectorError:
    """Return what a database error means to an agent and to an operator; addresses are nothing for agents to know."""
    if _code(error) in _FULL:
        return CollectorError(
            ErrorCode.STORAGE_FULL,
            "the disk of the collector's database is full, so nothing more can be kept",
            "agents keep their records and try again; free space on the database server",
            retry_after_s=FULL_RETRY_AFTER_S,
        )
    what = "cannot be reached" if is_lost(error) else f"failed ({_words(error)})"
    return CollectorError(
        ErrorCode.STORAGE_FAILED,
        f"the collector's database {what}, so nothing more can be kept",
        "agents keep their records and try again; look at the database server",
        retry_after_s=RETRY_AFTER_S,
    )


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone, or cannot be had: the next try needs a new one."""
    original = _original(error)
    if isinstance(original, (OSError, asyncio.TimeoutError, asyncpg.InterfaceError)):
        return True
    # Class 08: connection; 57P: the server stops or starts; 53300: it has no room for more connections.
    code = _code(error) or ""
    return code.startswith(("08", "57P")) or code == "53300"


def is_storage_trouble(error: BaseException) -> bool:
    """Tell trouble of server, way or disk, which hits every transaction, from a fault of one."""
    return is_lost(error) or (_code(error) or "").startswith(("53", "58", "XX", "25006"))


def _original(error: BaseException) -> BaseException:
    if isinstance(error, sa.exc.DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _code(error: BaseException) -> str | None:
    code = getattr(_original(error), "sqlstate", None)
    return None if code is None else str(code)


def _words(error: BaseException) -> str:
    """Return a word for the error that holds nothing of its text: that may quote what nobody should read."""
    original = _original(error)
    if isinstance(original, OSError) and original.strerror:
        return original.strerror
    return type(original).__name__
