"""Only as many tests at once as the server's line can carry: two tests on a full line would both read low.

And of those only a part for one address, since names of tests are free: one host could take all places. An address is
what :func:`linkbell_collector.measure.address.subscriber` makes of it; several schools may share one.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from linkbell_wire.ndt7 import MAX_STREAMS


class NoSlotError(Exception):
    """Every slot is taken. ``retry_after_s`` is when the first of them must be free again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"all slots are taken; the next is free in {retry_after_s} s at the latest")
        self.retry_after_s = retry_after_s


class AddressBusyError(NoSlotError):
    """The client's address has as many as one may have, though the server has room."""


@dataclass(slots=True)
class _Slot:
    join_until_s: float
    until_s: float
    address: str | None = None
    streams: int = 0
    joined: int = 0


class Slots:
    """At most ``limit`` tests at once, ``per_address`` of them from one address, 0 for no such limit.

    Each stream of a test ends after ``longest_s`` seconds at the very most.
    """

    def __init__(self, limit: int, longest_s: float, monotonic: Callable[[], float], *, per_address: int = 0) -> None:
        self._limit = limit
        self._per_address = per_address
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._taken: dict[Hashable, _Slot] = {}

    @property
    def taken(self) -> int:
        """How many tests run now."""
        return len(self._taken)

    @contextmanager
    def hold(
        self, test: Hashable | None = None, longest_s: float | None = None, *, address: str | None = None
    ) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block. Raises :class:`NoSlotError` if none is free.

        If there are free ones but none for ``address``, that is an :class:`AddressBusyError`.

        Streams of the same ``test`` share its slot: up to :data:`~linkbell_wire.ndt7.MAX_STREAMS` of them in all,
        those that have gone included, and in the first half of its time only; or one client could keep a slot, and
        the server busy, for ever. ``longest_s`` is for tests that may take longer, or less long, than the usual.
        """
        key: Hashable = object() if test is None else test
        longest_s = self._longest_s if longest_s is None else longest_s
        slot = self._slot(key, longest_s, address)
        slot.streams += 1
        slot.joined += 1
        slot.until_s = self._monotonic() + longest_s
        try:
            yield
        finally:
            slot.streams -= 1
            if slot.streams == 0:
                del self._taken[key]

    def _slot(self, key: Hashable, longest_s: float, address: str | None) -> _Slot:
        now = self._monotonic()
        slot = self._taken.get(key)
        if slot is not None:
            if slot.joined >= MAX_STREAMS or now > slot.join_until_s:
                raise NoSlotError(_first_free_s(now, self._taken.values()))
            return slot
        if len(self._taken) >= self._limit:
            raise NoSlotError(_first_free_s(now, self._taken.values()))
        theirs = [slot for slot in self._taken.values() if slot.address == address]
        if address is not None and 0 < self._per_address <= len(theirs):
            raise AddressBusyError(_first_free_s(now, theirs))
        return self._taken.setdefault(key, _Slot(now + longest_s / 2, now + longest_s, address))


def _first_free_s(now: float, slots: Iterable[_Slot]) -> int:
    first_free = min((slot.until_s for slot in slots), default=now)
    return max(1, math.ceil(first_free - now))


@dataclass(frozen=True, slots=True)
class _Part:
    """One floor check's part of the rate."""

    until_s: float
    rate_bps: float
    address: str | None


class RateBudget:
    """What all floor checks may send together, in bits per second; each holds its part for ``longest_s`` at most.

    Those of one address may send ``share`` of it together. One check alone may send more, or fast lines behind an
    address of their own could not be checked.
    """

    def __init__(
        self, limit_bps: float, longest_s: float, monotonic: Callable[[], float], *, share: float = 1.0
    ) -> None:
        self._limit_bps = limit_bps
        self._share_bps = limit_bps * share
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._taken: dict[object, _Part] = {}

    @contextmanager
    def hold(self, rate_bps: float, *, address: str | None = None) -> Iterator[None]:
        """Hold ``rate_bps`` for a ``with`` block. Raises :class:`NoSlotError` if that much is not free.

        If it is, but not for ``address``, that is an :class:`AddressBusyError`.
        """
        now = self._monotonic()
        everybody = list(self._taken.values())
        theirs = [part for part in everybody if address is not None and part.address == address]
        if rate_bps + _together_bps(everybody) > self._limit_bps:
            raise NoSlotError(_first_over_s(now, everybody))
        if theirs and rate_bps + _together_bps(theirs) > self._share_bps:
            raise AddressBusyError(_first_over_s(now, theirs))
        part = object()
        self._taken[part] = _Part(now + self._longest_s, rate_bps, address)
        try:
            yield
        finally:
            del self._taken[part]


def _together_bps(parts: Iterable[_Part]) -> float:
    return sum(part.rate_bps for part in parts)


def _first_over_s(now: float, parts: Iterable[_Part]) -> int:
    return max(1, math.ceil(min((part.until_s for part in parts), default=now) - now))
