"""Only as many tests at once as the server's line can carry: two tests on a full line would both read low."""

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from linkbell_wire.ndt7 import MAX_STREAMS


class NoSlotError(Exception):
    """Every slot is taken. ``retry_after_s`` is when the first of them must be free again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"all slots are taken; the next is free in {retry_after_s} s at the latest")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class _Slot:
    join_until_s: float
    until_s: float
    streams: int = 0
    joined: int = 0


class Slots:
    """At most ``limit`` tests at once. Each stream of a test ends after ``longest_s`` seconds at the very most."""

    def __init__(self, limit: int, longest_s: float, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._taken: dict[Hashable, _Slot] = {}

    @property
    def taken(self) -> int:
        """How many tests run now."""
        return len(self._taken)

    @contextmanager
    def hold(self, test: Hashable | None = None, longest_s: float | None = None) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block. Raises :class:`NoSlotError` if none is free.

        Streams of the same ``test`` share its slot: up to :data:`~linkbell_wire.ndt7.MAX_STREAMS` of them in all,
        those that have gone included, and in the first half of its time only; or one client could keep a slot, and
        the server busy, for ever. ``longest_s`` is for tests that may take longer, or less long, than the usual.
        """
        key: Hashable = object() if test is None else test
        longest_s = self._longest_s if longest_s is None else longest_s
        slot = self._slot(key, longest_s)
        slot.streams += 1
        slot.joined += 1
        slot.until_s = self._monotonic() + longest_s
        try:
            yield
        finally:
            slot.streams -= 1
            if slot.streams == 0:
                del self._taken[key]

    def _slot(self, key: Hashable, longest_s: float) -> _Slot:
        now = self._monotonic()
        slot = self._taken.get(key)
        if slot is not None:
            if slot.joined >= MAX_STREAMS or now > slot.join_until_s:
                raise NoSlotError(self._first_free_s(now))
            return slot
        if len(self._taken) >= self._limit:
            raise NoSlotError(self._first_free_s(now))
        return self._taken.setdefault(key, _Slot(now + longest_s / 2, now + longest_s))

    def _first_free_s(self, now: float) -> int:
        first_free = min((slot.until_s for slot in self._taken.values()), default=now)
        return max(1, math.ceil(first_free - now))


class RateBudget:
    """What all floor checks may send together, in bits per second; each holds its part for ``longest_s`` at most."""

    def __init__(self, limit_bps: float, longest_s: float, monotonic: Callable[[], float]) -> None:
        self._limit_bps = limit_bps
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._taken: dict[object, tuple[float, float]] = {}

    @contextmanager
    def hold(self, rate_bps: float) -> Iterator[None]:
        """Hold ``rate_bps`` for a ``with`` block. Raises :class:`NoSlotError` if that much is not free."""
        now = self._monotonic()
        if rate_bps + sum(rate for _, rate in self._taken.values()) > self._limit_bps:
            first_free = min((since for since, _ in self._taken.values()), default=now) + self._longest_s
            raise NoSlotError(max(1, math.ceil(first_free - now)))
        part = object()
        self._taken[part] = (now, rate_bps)
        try:
            yield
        finally:
            del self._taken[part]
