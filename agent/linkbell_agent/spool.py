"""The spool: every record waits here, in RAM first, until the collector has settled it.

In normal running a record is acknowledged within a minute and flash is never written. One that waits longer, and all
of them at a stop, go to the :mod:`~linkbell_agent.spool_file`. Numbers are handed out in RAM under a stream id that is
new at every start, so a number lost with the power is never handed out again.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from linkbell_agent.clock import Clock
from linkbell_agent.spool_file import SpoolFileError, StoredRecord
from linkbell_agent.threads import run_blocking
from linkbell_wire.records import Record
from linkbell_wire.words import RecordKind

log = logging.getLogger(__name__)

MAX_IN_RAM = 2000
"""Records kept in RAM when the disk cannot be written: about 1 MB. Past it the least worth go, and are counted."""

COALESCE_S = 0.2
"""What comes together is sent together."""

_WORTH = {RecordKind.PING: 0, RecordKind.DNS: 0, RecordKind.HTTP: 0, RecordKind.EVENT: 2, RecordKind.VERDICT: 2}
_MIDDLE_WORTH = 1


def worth(kind: RecordKind) -> int:
    """Return how long a kind is kept when space is short: pings go before speeds, speeds before events."""
    return _WORTH.get(kind, _MIDDLE_WORTH)


class DiskStore(Protocol):
    """What the spool needs of its file; see :class:`~linkbell_agent.spool_file.SpoolFile`."""

    def insert(self, records: Sequence[StoredRecord]) -> None: ...
    def oldest(self, limit: int) -> list[StoredRecord]: ...
    def delete(self, stream: str, seqs: Sequence[int]) -> None: ...
    def drop_least(self, count: int) -> int: ...
    def add_to_counter(self, name: str, amount: int) -> None: ...
    def counter(self, name: str) -> int: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WaitingBatch:
    """Records of one stream, ready to be sent. ``bodies`` are JSON texts in the order of ``seqs``."""

    stream: str
    seqs: tuple[int, ...]
    bodies: tuple[str, ...]


@dataclass(slots=True)
class _InRam:
    record: StoredRecord
    since_s: float


class Spool:
    """The queue between probes and sender. ``stream`` is the identity of this run."""

    def __init__(self, disk: DiskStore, stream: UUID, clock: Clock, *, max_records: int, flush_after_s: float) -> None:
        self._disk = disk
        self._stream = str(stream)
        self._clock = clock
        self._max_records = max_records
        self._flush_after_s = flush_after_s
        self._next_seq = 0
        self._ram: deque[_InRam] = deque()
        self._uncounted = {"dropped": 0, "rejected": 0}
        self._disk_turn = asyncio.Lock()
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

    async def wait_for_arrival(self, patience_s: float) -> None:
        """Return once a record has come: ``patience_s`` later if it is one of many, at once if it is a rare one."""
        await self._arrived.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._arrived_urgent.wait()
                await asyncio.sleep(COALESCE_S)
        self._arrived.clear()
        self._arrived_urgent.clear()

    @property
    def waiting(self) -> int:
        """How many records are not settled yet."""
        return len(self._disk) + len(self._ram)

    def counter(self, name: str) -> int:
        """Return ``dropped`` or ``rejected`` since the installation."""
        return self._disk.counter(name) + self._uncounted[name]

    async def next_batch(self, limit: int) -> WaitingBatch | None:
        """Return the oldest records of one stream, at most ``limit``, without forgetting them."""
        stored: list[StoredRecord] = []
        if len(self._disk):
            await self._on_disk(lambda: stored.extend(self._disk.oldest(limit)))
        if not stored:
            stored = [item.record for item in itertools.islice(self._ram, limit)]
        if not stored:
            return None
        return WaitingBatch(
            stream=stored[0].stream,
            seqs=tuple(record.seq for record in stored),
            bodies=tuple(record.body for record in stored),
        )

    async def settle(self, batch: WaitingBatch, rejected: int) -> bool:
        """Forget ``batch``: the collector has it on disk, or rejected ``rejected`` of it for good.

        Returns False if the disk would not forget it: it will be sent again, which is harmless.
        """
        if rejected:
            self._uncounted["rejected"] += rejected
        done = set(batch.seqs) if batch.stream == self._stream else set()
        before = len(self._ram)
        self._ram = deque(item for item in self._ram if item.record.seq not in done)
        if before - len(self._ram) == len(batch.seqs) and not rejected:
            return True  # none of it had gone to disk
        return await self._on_disk(lambda: self._disk.delete(batch.stream, batch.seqs))

    async def flush_if_old(self) -> None:
        """Write RAM to disk if its oldest record has waited longer than allowed."""
        if self._ram and self._clock.monotonic() - self._ram[0].since_s >= self._flush_after_s:
            await self.flush()

    async def flush(self) -> bool:
        """Write everything in RAM to disk. Returns whether it is there; if not, it stays in RAM."""
        records = [item.record for item in self._ram]
        if not records:
            return True
        excess = min(self.waiting - self._max_records, len(self._disk))
        if excess > 0 and await self._on_disk(lambda: self._disk.drop_least(excess)):
            log.warning("the spool is full: gave up %d records, pings first", excess)
        if not await self._on_disk(lambda: self._disk.insert(records)):
            return False
        written = {record.seq for record in records}
        self._ram = deque(item for item in self._ram if item.record.seq not in written)
        return True

    async def close(self) -> None:
        """Write what waits and close the file."""
        if not await self.flush():
            log.error("%d results could not be written to the spool and are lost with this stop", len(self._ram))
        async with self._disk_turn:
            await run_blocking(self._disk.close)

    def _bound_ram(self) -> None:
        """RAM grows past its bound only while the disk cannot be written: give up the least worth, and count."""
        if len(self._ram) <= MAX_IN_RAM:
            return
        least = min(range(len(self._ram)), key=lambda index: (self._ram[index].record.worth, index))
        del self._ram[least]
        self._uncounted["dropped"] += 1

    async def _on_disk(self, action: Callable[[], object]) -> bool:
        """Run ``action`` on the file; say once when the disk stops working, and once when it works again."""
        async with self._disk_turn:
            try:
                await run_blocking(action)
                for name, amount in [*self._uncounted.items()]:
                    if amount:
                        await run_blocking(self._disk.add_to_counter, name, amount)
                        self._uncounted[name] -= amount
            except SpoolFileError as error:
                if self._disk_works:
                    log.error("cannot use the spool on disk (%s): results stay in memory until it works again", error)
                self._disk_works = False
                return False
        if not self._disk_works:
            log.info("the spool on disk works again")
        self._disk_works = True
        return True
