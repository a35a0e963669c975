"""Only as many tests at once as the server's line can carry: two tests on a full line would both read low."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class NoSlotError(Exception):
    """Every slot is taken. ``retry_after_s`` is when the first of them must be free again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"all slots are taken; the next is free in {retry_after_s} s at the latest")
        self.retry_after_s = retry_after_s


class Slots:
    """At most ``limit`` tests at once, each of which holds its slot for ``longest_s`` seconds at the very most."""

    def __init__(self, limit: int, longest_s: float, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._taken: dict[object, float] = {}

    @property
    def taken(self) -> int:
        """How many tests run now."""
        return len(self._taken)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block. Raises :class:`NoSlotError` if none is free."""
        now = self._monotonic()
        if len(self._taken) >= self._limit:
            first_free = min(self._taken.values(), default=now) + self._longest_s
            raise NoSlotError(max(1, math.ceil(first_free - now)))
        slot = object()
        self._taken[slot] = now
        try:
            yield
        finally:
            del self._taken[slot]
