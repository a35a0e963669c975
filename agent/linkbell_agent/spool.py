"""The spool: every record waits here, in RAM first, until the collector has settled it.

In normal running a record is acknowledged within a minute and flash is never written. One that waits longer, and all
of them at a stop, go to the :mod:`~linkbell_agent.spool_file`. Numbers are handed out in RAM under a stream id that is
new at every start, so a number lost with the power is never handed out again.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from linkbell_agent.clock import Clock
from linkbell_agent.slim import dataclass
from linkbell_agent.spool_file import SpoolDamagedError, SpoolFileError, StoredRecord
from linkbell_agent.threads import Worker
from linkbell_agent.turns import HISTORY_PER_LIVE, Lane, Waiting, whose_turn
from linkbell_wire.records import Record
from linkbell_wire.words import RecordKind

log = logging.getLogger(__name__)

COALESCE_S = 0.2
"""What comes together is sent together."""

IN_RAM = 2000
"""So many records, about half a kilobyte each, are kept when the disk cannot be written."""

FORGET_AT = 1000
"""So many settled records are deleted together."""

_WORTH = {RecordKind.PING: 0, RecordKind.DNS: 0, RecordKind.HTTP: 0, RecordKind.EVENT: 2, RecordKind.VERDICT: 2}
_MIDDLE_WORTH = 1


def worth(kind: RecordKind) -> int:
    """Return how long a kind is kept when space is short: pings go before speeds, speeds before events."""
    return _WORTH.get(kind, _MIDDLE_WORTH)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept, and how long in RAM alone.

    ``in_ram`` records are kept when the disk cannot be written; at half of them the disk is written whether or not
    ``flush_after_s`` has passed.
    """

    records: int = 200_000
    flush_after_s: float = 600.0
    in_ram: int = IN_RAM


class DiskStore(Protocol):
    """What the spool needs of its file; see :class:`~linkbell_agent.spool_file.SpoolFile`."""

    @property
    def counters(self) -> dict[str, int]: ...
    def insert(self, records: Sequence[StoredRecord], *, keep_at_most: int) -> int: ...
    @property
    def passed(self) -> int: ...
    @property
    def owner(self) -> str | None: ...
    def hand_over(self, agent: str) -> Path | None: ...
    def oldest(self, limit: int) -> list[StoredRecord]: ...
    def newest(self, limit: int) -> list[StoredRecord]: ...
    def newest_of_worth(self, limit: int) -> list[StoredRecord]: ...
    def pass_over(self, through_id: int, count: int) -> None: ...
    def forget_passed(self) -> None: ...
    def delete(self, stream: str, seqs: Sequence[int]) -> None: ...
    def add_to_counter(self, name: str, amount: int) -> None: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WaitingBatch:
    """Records of one stream, ready to be sent. ``bodies`` are JSON texts in the order of ``seqs``.

    ``last_id`` is the place on ``disk`` of the last one; a batch from RAM has 0 and None.
    """

    stream: str
    seqs: tuple[int, ...]
    bodies: tuple[str, ...]
    lane: Lane = Lane.LIVE
    last_id: int = 0
    disk: DiskStore | None = field(default=None, repr=False, compare=False)


@dataclass(slots=True)
class _InRam:
    record: StoredRecord
    since_s: float


class Spool:
    """The queue between probes and sender. ``stream`` is the identity of this run.

    ``open_disk`` is called again each time the disk is wanted and not there; it raises ``SpoolFileError``. ``amend``
    is given each record's JSON when it comes from disk, and returns what is to be sent.
    """

    def __init__(
        self,
        open_disk: Callable[[], DiskStore],
        stream: UUID,
        clock: Clock,
        limits: Limits,
        amend: Callable[[str], str] = str,
    ) -> None:
        self._open_disk = open_disk
        self._disk: DiskStore | None = None
        self._stream = str(stream)
        self._clock = clock
        self._limits = limits
        self._amend = amend
        self._next_seq = 0
        self._ram: deque[_InRam] = deque()
        self._flushing: set[int] = set()
        self._uncounted = {"dropped": 0, "rejected": 0}
        self._counting = threading.Lock()
        """A counter that seemed to fall for a moment would look like a new installation to the collector."""
        self._since_live = HISTORY_PER_LIVE
        self._held = 0
        self._owner: str | None = None
        self._worker = Worker("linkbell-spool")
        self._disk_works = True
        self._arrived = asyncio.Event()
        self._arrived_urgent = asyncio.Event()

    def append(self, record: Record) -> Record:
        """Number ``record`` and keep it. Returns it with its number."""
        numbered = record.model_copy(update={"seq": self._next_seq})
        kind = RecordKind(numbered.kind)  # type: ignore[attr-defined]
        body = numbered.model_dump_json(exclude_none=True)
        self._ram.append(_InRam(StoredRecord(self._stream, self._next_seq, worth(kind), body), self._clock.monotonic()))
        self._next_seq += 1
        self._bound_ram()
        self._arrived.set()
        if worth(kind) > 0:
            self._arrived_urgent.set()
        return numbered

    @property
    def waiting(self) -> int:
        """How many records are not settled yet."""
        on_disk = 0 if self._disk is None else len(self._disk)
        return on_disk + len(self._ram)

    @property
    def history_waits(self) -> bool:
        """Whether there is something to send besides what is new."""
        return self._disk is not None and len(self._disk) > 0 and not self._held

    @contextlib.contextmanager
    def history_held(self) -> Iterator[None]:
        """Send only what is new meanwhile: a speed test has the line, and history can wait for its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def counter(self, name: str) -> int:
        """Return ``dropped`` or ``rejected`` since the installation."""
        with self._counting:
            kept = 0 if self._disk is None else self._disk.counters.get(name, 0)
            return kept + self._uncounted[name]

    def _count(self, name: str, amount: int) -> None:
        with self._counting:
            self._uncounted[name] += amount

    async def wait_for_arrival(self, patience_s: float) -> None:
        """Return once a record has come: ``patience_s`` later if it is one of many, at once if it is a rare one."""
        await self._arrived.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._arrived_urgent.wait()
                await asyncio.sleep(COALESCE_S)
        self._arrived.clear()
        self._arrived_urgent.clear()

    async def open(self) -> bool:
        """Open the disk's part. Without it the spool works in RAM and tries again when it next wants to write."""
        return await self._on_disk(lambda disk: None)

    async def belong_to(self, agent: str) -> bool:
        """Take care that nothing is sent as ``agent`` that is another agent's. Returns whether that is so.

        The same agent under a new credential goes on where it was. Another one, of a box that was moved to another
        school or another collector, begins anew: what waits is set aside, and a new stream begins, for numbers that
        the first collector has would look lost to the second.
        """
        if agent == self._owner:
            return True
        if self._owner is not None:
            while self._ram and await self.flush():
                pass
            if self._ram:
                log.error("%d results of agent %s are lost: the disk did not take them", len(self._ram), self._owner)
                self._ram.clear()
            self._stream, self._next_seq = str(uuid4()), 0
        moved: list[Path | None] = []
        await self._on_disk(lambda disk: moved.append(disk.hand_over(agent)))
        if self._disk is not None and self._disk.owner not in (None, agent):
            return False
        self._owner = agent
        if any(moved):
            log.warning("this box is agent %s now: what waited for the one before is in %s, unsent", agent, moved[0])
        return True

    async def next_batch(self, limit: int, *, history: bool = True) -> WaitingBatch | None:
        """Return what is to be sent next, at most ``limit`` records of one stream, without forgetting them.

        Without ``history`` only what is new.
        """
        urgent = any(item.record.worth > 0 for item in self._ram)
        on_disk = len(self._disk) if self._disk is not None and self.history_waits and history else 0
        lane = whose_turn(Waiting(len(self._ram), urgent, on_disk), self._since_live)
        if lane is not None and lane is not Lane.LIVE:
            disk = self._disk
            read_from, stored = await self._read(lane, limit)
            if stored:
                return _batch_of(stored, read_from, disk, self._amend)
        # Memory's own newest: after a short outage it may hold more than one batch.
        newest = [item.record for item in itertools.islice(self._ram, max(0, len(self._ram) - limit), None)]
        return _batch_of(newest, Lane.LIVE, None, str) if newest else None

    async def _read(self, lane: Lane, limit: int) -> tuple[Lane, list[StoredRecord]]:
        """Read from disk; where nothing valued waits, or it cannot be deleted there, history has its turn."""
        found: list[StoredRecord] = []
        if self._disk_works and lane is Lane.NEWEST:
            await self._on_disk(lambda disk: found.extend(disk.newest(limit)), writes=False)
        elif self._disk_works and lane is Lane.VALUED:
            await self._on_disk(lambda disk: found.extend(disk.newest_of_worth(limit)), writes=False)
        if not found:
            lane = Lane.HISTORY
            await self._on_disk(lambda disk: found.extend(disk.oldest(limit)), writes=False)
        return lane, found

    async def settle(self, batch: WaitingBatch, rejected: int) -> None:
        """Forget ``batch``: the collector has it on disk, or rejected ``rejected`` of it for good.

        What a read-only disk will not forget is not sent again by this run, one batch of the newest excepted.
        """
        self._count("rejected", rejected)
        self._since_live = 0 if batch.lane is Lane.LIVE else self._since_live + 1
        if batch.lane is Lane.HISTORY:
            await self._pass_over(batch, rejected)
            return
        own = set(batch.seqs) if batch.stream == self._stream else set()
        before = len(self._ram)
        self._ram = deque(item for item in self._ram if item.record.seq not in own)
        all_in_ram = before - len(self._ram) == len(batch.seqs) and not own & self._flushing
        if not all_in_ram or rejected:
            await self._on_disk(lambda disk: disk.delete(batch.stream, batch.seqs))

    async def _pass_over(self, batch: WaitingBatch, rejected: int) -> None:
        disk = batch.disk
        if disk is None or disk is not self._disk:
            return  # set aside meanwhile: its numbers mean nothing in another file
        await self._on_disk(lambda present: present.pass_over(batch.last_id, len(batch.seqs)), writes=False)
        if rejected or disk.passed >= FORGET_AT or not len(disk):
            await self._on_disk(lambda present: present.forget_passed())

    async def flush_if_due(self) -> None:
        """Write RAM to disk if its oldest record has waited longer than allowed, or if it is half full."""
        if self._disk is None:
            await self.open()
        elif self._disk.passed and not len(self._disk):
            await self._forget_passed()
        if not self._ram:
            return
        waited_s = self._clock.monotonic() - self._ram[0].since_s
        if waited_s >= self._limits.flush_after_s or 2 * len(self._ram) >= self._limits.in_ram:
            await self.flush()

    async def flush(self) -> bool:
        """Write everything in RAM to disk. Returns whether it is there; if not, it stays in RAM."""
        records = [item.record for item in self._ram]
        if not records:
            return await self._forget_passed()
        written = {record.seq for record in records}
        self._flushing |= written
        try:
            if not await self._on_disk(lambda disk: self._insert(disk, records)):
                return False
        finally:
            self._flushing -= written
        self._ram = deque(item for item in self._ram if item.record.seq not in written)
        self._since_live = HISTORY_PER_LIVE  # an outage: once it is over the newest goes first
        return True

    async def _forget_passed(self) -> bool:
        if self._disk is None or not self._disk.passed:
            return True
        return await self._on_disk(lambda disk: disk.forget_passed())

    async def close(self) -> None:
        """Write what waits and close the file."""
        if not await self.flush():
            log.error("%d results could not be written to the spool and are lost with this stop", len(self._ram))
        if self._disk is not None:
            await self._worker.run(self._disk.close)

    def _insert(self, disk: DiskStore, records: Sequence[StoredRecord]) -> None:
        dropped = disk.insert(records, keep_at_most=self._limits.records)
        if dropped:
            log.warning("the spool is full: gave up %d records, pings first", dropped)

    def _bound_ram(self) -> None:
        """Past its bound RAM gives up the least worth, and counts: the disk cannot be written."""
        if len(self._ram) <= self._limits.in_ram:
            return
        least = min(range(len(self._ram)), key=lambda index: (self._ram[index].record.worth, index))
        del self._ram[least]
        self._count("dropped", 1)

    async def _on_disk(self, action: Callable[[DiskStore], object], *, writes: bool = True) -> bool:
        """Run ``action`` on the file; say once when the disk stops working, and once when it works again."""
        try:
            await self._worker.run(lambda: self._do(action, writes=writes))
        except SpoolFileError as error:
            if self._disk_works:
                log.error("cannot use the spool on disk (%s): results stay in memory until it works again", error)
            self._disk_works = False
            return False
        if writes:
            if not self._disk_works:
                log.info("the spool on disk works again")
            self._disk_works = True
        return True

    def _do(self, action: Callable[[DiskStore], object], *, writes: bool) -> None:
        """In the worker's thread: open the file if need be, act, and put down what is not counted yet."""
        if self._disk is None:
            self._disk = self._open_for_owner()
        disk = self._disk
        try:
            action(disk)
            if writes:
                self._put_down_counts(disk)
        except SpoolDamagedError:
            # Opening it anew, at the next use, looks through all of it and sets it aside.
            self._disk = None
            disk.close()
            raise

    def _open_for_owner(self) -> DiskStore:
        disk = self._open_disk()
        if self._owner is not None and disk.owner not in (None, self._owner):
            try:
                disk.hand_over(self._owner)
            except SpoolFileError:
                disk.close()
                raise
        return disk

    def _put_down_counts(self, disk: DiskStore) -> None:
        for name, amount in [*self._uncounted.items()]:
            if amount:
                disk.add_to_counter(name, amount)
                with self._counting:
                    disk.counters[name] = disk.counters.get(name, 0) + amount
                    self._uncounted[name] -= amount


def _batch_of(
    stored: Sequence[StoredRecord], lane: Lane, disk: DiskStore | None, amend: Callable[[str], str]
) -> WaitingBatch:
    return WaitingBatch(
        stream=stored[0].stream,
        seqs=tuple(record.seq for record in stored),
        bodies=tuple(amend(record.body) for record in stored),
        lane=lane,
        last_id=stored[-1].id,
        disk=disk,
    )
