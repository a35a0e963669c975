"""What a simulated agent still has to deliver. Pure.

A round is kept as its moment; its text is there while it is fresh, and written anew when it is sent after an outage.
So three days without a line cost a few hundred kilobytes a school instead of a dozen megabytes.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from linkbell_collector.simulate.boot import Boot
from linkbell_collector.simulate.rounds import Span

FRESH_ROUNDS = 4
"""Rounds that keep their text; what waits longer is history."""


@dataclass(slots=True)
class Entry:
    """One round: its records are numbered from ``first_seq`` in ``stream``. ``extra`` are the first of them, kept."""

    span: Span
    boot: Boot
    stream: str
    first_seq: int
    count: int
    extra: tuple[str, ...] = ()
    texts: list[str] | None = None


@dataclass(slots=True)
class Spool:
    """Fresh rounds and history. Rounds of a batch under way are in neither, and counted in ``waiting``."""

    max_records: int = 200_000
    fresh_rounds: int = FRESH_ROUNDS
    fresh: deque[Entry] = field(default_factory=deque)
    history: deque[Entry] = field(default_factory=deque)
    waiting: int = 0
    dropped: int = 0

    def add(self, entry: Entry) -> int:
        """Keep a round. Return how many records had to go for it: the oldest first."""
        self.fresh.append(entry)
        self.waiting += entry.count
        while len(self.fresh) > self.fresh_rounds:
            self._age(self.fresh.popleft())
        before = self.dropped
        while self.waiting > self.max_records and self.history:
            gone = self.history.popleft()
            self.waiting -= gone.count
            self.dropped += gone.count
        return self.dropped - before

    def take(self, max_records: int) -> list[Entry]:
        """Return the rounds of the next batch: what is fresh before history; of one stream; never empty if any wait."""
        source = self.fresh or self.history
        taken: list[Entry] = []
        room = max_records
        while source and (not taken or (source[0].stream == taken[0].stream and source[0].count <= room)):
            taken.append(source.popleft())
            room -= taken[-1].count
        return taken

    def settle(self, entries: Iterable[Entry]) -> None:
        """Forget rounds that were delivered."""
        self.waiting -= sum(entry.count for entry in entries)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Keep rounds whose delivery failed: they are the oldest of history now, or of what is fresh."""
        for entry in reversed(list(entries)):
            if entry.texts is not None and len(self.fresh) < self.fresh_rounds:
                self.fresh.appendleft(entry)
            else:
                entry.texts = None
                self.history.appendleft(entry)

    def all_to_disk(self) -> None:
        """Make all of it history, as an agent does when it stops."""
        while self.fresh:
            self._age(self.fresh.popleft())

    def lose_since(self, wire_us: int) -> int:
        """Lose what was not on disk when the power went. Return how many records that were."""
        lost = 0
        for queue in (self.fresh, self.history):
            while queue and queue[-1].span.wire_us > wire_us:
                lost += queue.pop().count
        self.waiting -= lost
        self.all_to_disk()
        return lost

    def _age(self, entry: Entry) -> None:
        entry.texts = None
        self.history.append(entry)
