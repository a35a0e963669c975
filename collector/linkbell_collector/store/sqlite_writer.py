"""The one writer: a thread with one connection that commits whatever waits as one group, and answers after.

An fsync costs the same for one batch as for a hundred. While one group is being committed the next one gathers, so
nobody waits longer than two commits and no timer is needed.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from linkbell_collector.clock import Clock
from linkbell_collector.errors import CollectorError
from linkbell_collector.store import groups, sqlite_connection
from linkbell_collector.store.groups import Group, WriterLimits

log = logging.getLogger(__name__)
T = TypeVar("T")


class Memory(Protocol):
    """What work inside a transaction remembers across calls; it must not outlive a rollback."""

    def begin(self, connection: sa.Connection) -> None:
        """Look whether what is remembered still holds: the transaction has begun."""

    def flush(self, connection: sa.Connection) -> None:
        """Write what was put off to the end of the transaction."""

    def forget(self) -> None:
        """Forget everything: the transaction was rolled back."""


@dataclass(slots=True)
class _Job:
    work: Callable[[sa.Connection], Any]
    weight: int
    own: bool
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class SqliteWriter:
    """Runs pieces of work in the writer's thread, many to a transaction, each answered once it is durable."""

    def __init__(self, engine: sa.Engine, limits: WriterLimits, memory: Memory, clock: Clock) -> None:
        self._engine = engine
        self._limits = limits
        self._memory = memory
        self._clock = clock
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._waiting = 0
        self._waiting_jobs = 0
        self._closed = False
        self._observers: list[Callable[[Group], None]] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records handed over and not yet durable."""
        return self._waiting

    def observe(self, observer: Callable[[Group], None]) -> None:
        """Have ``observer`` called in the event loop after every group that held records."""
        self._observers.append(observer)

    async def run(self, work: Callable[[sa.Connection], T], *, weight: int = 0, own: bool = False) -> T:
        """Do ``work`` in a transaction; return its result once it is committed and synced.

        ``weight`` is its number of records. Work that raises ``CollectorError`` must not have written anything: it is
        a refusal, and the rest of its transaction goes on. If too many wait already, raises one ``overloaded``, but
        never for the collector's ``own`` work, which nobody outside can multiply: no flood may keep it from being done.
        """
        reason = self._refusal(weight, own=own)
        if reason is not None:
            raise groups.overloaded(reason)
        job = _Job(work, weight, own, self._loop.create_future())
        self._waiting += weight
        self._waiting_jobs += _counts(job)
        self._queue.put(job)
        result: T = await job.future
        return result

    def _refusal(self, weight: int, *, own: bool) -> str | None:
        if self._closed:
            return groups.STOPPING
        if weight and self._waiting + weight > self._limits.max_waiting:
            return groups.TOO_MANY_RECORDS
        if not weight and not own and self._waiting_jobs >= self._limits.max_jobs:
            return groups.TOO_MANY_REQUESTS
        return None

    async def close(self) -> None:
        """Commit what is queued and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (group := self._take()) is not None:
            began_s = self._clock.monotonic_s()
            self._commit(group)
            duration_s = self._clock.monotonic_s() - began_s
            self._loop.call_soon_threadsafe(self._settle, group, duration_s)

    def _take(self) -> list[_Job] | None:
        """Wait for a job, then take all that is there, within the limit. ``None`` ends the thread."""
        job = self._queue.get()
        if job is None:
            return None
        group = [job]
        records = job.weight
        while records < self._limits.max_group:
            try:
                job = self._queue.get_nowait()
            except Empty:
                break
            if job is None:
                self._queue.put(None)
                break
            group.append(job)
            records += job.weight
        return group

    def _commit(self, group: Sequence[_Job]) -> None:
        error = self._in_one_transaction(group)
        if error is None:
            return
        if len(group) == 1 or sqlite_connection.is_storage_trouble(error):
            for job in group:
                job.error = job.error or error
            return
        # One piece of work failed on its own account: do each alone, so that it alone is told.
        for job in group:
            job.error = self._in_one_transaction([job]) or job.error

    def _in_one_transaction(self, group: Sequence[_Job]) -> BaseException | None:
        try:
            with self._engine.begin() as connection:
                self._memory.begin(connection)
                for job in group:
                    _do(job, connection)
                self._memory.flush(connection)
        except BaseException as error:  # noqa: BLE001 - the supervisor of the thread: whatever it was, the caller is told
            self._memory.forget()
            return error
        return None

    def _settle(self, group: Sequence[_Job], duration_s: float) -> None:
        records = sum(job.weight for job in group)
        self._waiting -= records
        self._waiting_jobs -= sum(map(_counts, group))
        failure: CollectorError | None = None
        for job in group:
            if job.error is None:
                if not job.future.done():
                    job.future.set_result(job.result)
                continue
            told = self._translated(job.error)
            if isinstance(told, CollectorError) and told.retry_after_s is not None:
                failure = told
            if not job.future.done():
                job.future.set_exception(told)
        if records:
            for observer in self._observers:
                observer(Group(records, duration_s, failure))

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, (sa.exc.DBAPIError, sqlite3.Error)):
            return error
        told = sqlite_connection.translate(error)
        told.__cause__ = error
        return told


def _counts(job: _Job) -> bool:
    """Tell whether a job counts towards the jobs that may wait: records have a limit of their own."""
    return not job.weight and not job.own


def _do(job: _Job, connection: sa.Connection) -> None:
    job.error = None
    try:
        job.result = job.work(connection)
    except CollectorError as refusal:
        job.error = refusal
