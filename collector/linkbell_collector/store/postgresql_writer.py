"""The one writer of a PostgreSQL database: a task with one connection that commits whatever waits as one group.

While one group is being committed the next one gathers, as with SQLite. The connection holds a lock as long as it
lives, so that no second collector can write beside it, and all that is remembered is forgotten with the connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from linkbell_collector.clock import Clock
from linkbell_collector.domain import Delivery, Settled
from linkbell_collector.errors import CollectorError, RefusedError
from linkbell_collector.store import groups, postgresql_connection
from linkbell_collector.store.groups import Group, WriterLimits
from linkbell_collector.store.postgresql_ingest import PostgresIngest
from linkbell_collector.values import DatabaseUrl
from linkbell_wire import ErrorCode

log = logging.getLogger(__name__)
_LOCK = "SELECT pg_try_advisory_lock(hashtext('linkbell_collector'))"
_OTHERS = "SELECT count FROM changes"
LOCK_WAIT_S = 10.0
"""The server notices a little late that a collector which was killed has gone."""

_LOCK_EVERY_S = 0.25


@dataclass(slots=True)
class _Job:
    delivery: Delivery
    bodies: Sequence[str]
    weight: int
    future: "asyncio.Future[Settled]"


class PostgresWriter:
    """Settles deliveries, many to a transaction, each answered once it is durable."""

    def __init__(self, url: DatabaseUrl, limits: WriterLimits, ingest: PostgresIngest, clock: Clock) -> None:
        self._url = url
        self._limits = limits
        self._ingest = ingest
        self._clock = clock
        self._connection: Any = None
        self._jobs: deque[_Job] = deque()
        self._work = asyncio.Event()
        self._waiting = 0
        self._closed = False
        self._stale = False
        self._observers: list[Callable[[Group], None]] = []
        self._task = asyncio.create_task(self._run(), name="store-writer")

    @property
    def waiting(self) -> int:
        """Records handed over and not yet durable."""
        return self._waiting

    def observe(self, observer: Callable[[Group], None]) -> None:
        """Have ``observer`` called after every group."""
        self._observers.append(observer)

    async def settle(self, delivery: Delivery, bodies: Sequence[str]) -> Settled:
        """Settle a delivery; return once it is committed and synced. Raises ``CollectorError``."""
        weight = max(1, len(delivery.records))
        if self._closed:
            raise groups.overloaded(groups.STOPPING)
        if self._waiting + weight > self._limits.max_waiting:
            raise groups.overloaded(groups.TOO_MANY_RECORDS)
        job = _Job(delivery, bodies, weight, asyncio.get_running_loop().create_future())
        self._waiting += weight
        self._jobs.append(job)
        self._work.set()
        return await job.future

    async def claim(self) -> None:
        """Take the lock of the one collector. Raises ``RefusedError`` if another one has it."""
        until_s = asyncio.get_running_loop().time() + LOCK_WAIT_S
        while True:
            try:
                await self._connected()
            except _LockedError as error:
                if asyncio.get_running_loop().time() > until_s:
                    raise RefusedError(
                        f"another collector already serves the database {self._url}",
                        "stop that one first, or give this one a database of its own with --database",
                    ) from error
                await asyncio.sleep(_LOCK_EVERY_S)
            except postgresql_connection.DatabaseError as error:
                raise postgresql_connection.translate(error) from error
            else:
                return

    def forget(self) -> None:
        """Have the next group read everything anew."""
        self._stale = True

    async def close(self) -> None:
        """Commit what is queued, end the task and the connection."""
        self._closed = True
        self._work.set()
        await self._task
        await self._drop_connection()

    async def _run(self) -> None:
        while True:
            if not self._jobs:
                if self._closed:
                    return
                self._work.clear()
                await self._work.wait()
                continue
            group = self._take()
            began_s = self._clock.monotonic_s()
            failure = await self._commit(group)
            records = sum(job.weight for job in group)
            self._waiting -= records
            for observer in self._observers:
                observer(Group(records, self._clock.monotonic_s() - began_s, failure))

    def _take(self) -> list[_Job]:
        group = [self._jobs.popleft()]
        records = group[0].weight
        while self._jobs and records < self._limits.max_group:
            group.append(self._jobs.popleft())
            records += group[-1].weight
        return group

    async def _commit(self, group: Sequence[_Job]) -> CollectorError | None:
        """Commit a group, and tell everybody. Return what went wrong, if it was the database."""
        error = await self._in_one_transaction(group)
        if error is None:
            return None
        if len(group) == 1 or _hits_everybody(error):
            return _tell(group, error)
        # One delivery failed on its own account: do each alone, so that it alone is told.
        failure = None
        for job in group:
            alone = await self._in_one_transaction([job])
            failure = failure if alone is None else _tell([job], alone)
        return failure

    async def _in_one_transaction(self, group: Sequence[_Job]) -> BaseException | None:
        try:
            connection = await self._connected()
            if self._stale:
                self._stale = False
                self._ingest.forget()
            async with connection.transaction():
                others = await connection.fetchval(_OTHERS)
                pairs = [(job.delivery, job.bodies) for job in group]
                done = await self._ingest.settle(connection, pairs, others)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the supervisor of the task: whatever it was, the caller is told
            self._ingest.forget()
            if self._connection is not None and (self._connection.is_closed() or _hits_everybody(error)):
                await self._drop_connection()
            return error
        for job, settled in zip(group, done, strict=True):
            if not job.future.done():
                job.future.set_result(settled)
        return None

    async def _connected(self) -> Any:
        """Return the connection, which holds the lock. Raises ``_LockedError`` if another collector holds it."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._ingest.forget()
        connection = await postgresql_connection.connect(self._url)
        if not await connection.fetchval(_LOCK):
            await connection.close()
            raise _LockedError
        self._connection = connection
        return connection

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=1)
        except postgresql_connection.DatabaseError:
            connection.terminate()


class _LockedError(Exception):
    """Another collector has taken the database over."""


def _hits_everybody(error: BaseException) -> bool:
    return isinstance(error, _LockedError) or postgresql_connection.is_storage_trouble(error)


def _tell(group: Sequence[_Job], error: BaseException) -> CollectorError | None:
    """Answer ``group`` with ``error``, and return what operators have to know of it."""
    told = _translated(error)
    for job in group:
        if not job.future.done():
            job.future.set_exception(told)
    return told if isinstance(told, CollectorError) and told.retry_after_s is not None else None


def _translated(error: BaseException) -> BaseException:
    if isinstance(error, _LockedError):
        return CollectorError(
            ErrorCode.STORAGE_FAILED,
            "another collector has taken over this one's database",
            "stop one of the two",
            retry_after_s=postgresql_connection.RETRY_AFTER_S,
        )
    if not isinstance(error, postgresql_connection.DatabaseError):
        return error
    told = postgresql_connection.translate(error)
    told.__cause__ = error
    return told
