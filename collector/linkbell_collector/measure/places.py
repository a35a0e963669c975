"""One place for each of speedtest-cli's tests, which are a hundred short requests and no connection that lasts.

A place is taken by a test's first request and given back when none has been open for a moment, so that a test holds
one slot from its first latency probe to the end of its upload, as an ndt7 test holds one for each direction.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from linkbell_collector.measure.address import subscriber
from linkbell_collector.measure.admission import NoSlotError, Slots
from linkbell_collector.measure.metrics import Metrics, PlaceEnd


@dataclass(frozen=True, slots=True)
class PlaceLimits:
    """How long requests and tests may take, in seconds, and how many requests of one test may be open."""

    request_s: float = 20.0
    """speedtest-cli stops reading after 10 s and waits up to 10 s for one answer; agents test for 15 s at most."""
    idle_s: float = 3.0
    """Longer than the pauses of a test: on a satellite line a new connection takes 1.2 s, two if a SYN is lost."""
    test_s: float = 60.0
    """Who stays for longer loses the place, and gets no other for ``idle_s``: the next in turn may have it."""
    requests: int = 16
    """speedtest-cli has eight at once; those it has just cut off may linger beside them."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose request it is: an address, and the name the client gives its test, if it does."""

    address: str
    test: str = ""


class Places:
    """All tests under way. Needs a running event loop."""

    def __init__(self, slots: Slots, metrics: Metrics, limits: PlaceLimits) -> None:
        self._slots = slots
        self._metrics = metrics
        self._limits = limits
        self._places: dict[Visitor, _Place] = {}
        self._overstayed: dict[Visitor, float] = {}  # until when; never more than slots, as a test outlasts a wait
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def taken(self) -> int:
        """How many tests hold a place."""
        return len(self._places)

    @property
    def waiting(self) -> int:
        """How many visitors have overstayed and get no place for the moment."""
        return len(self._overstayed)

    @contextmanager
    def visit(self, visitor: Visitor, transport: asyncio.Transport) -> Iterator[None]:
        """Let one request in for the length of a ``with`` block; ``transport`` is cut if that takes too long.

        Raises :class:`NoSlotError` if there is no place, the visitor has just lost one, or the test has too many
        requests open already.
        """
        place = self._places.get(visitor) or self._take(visitor)
        if len(place.transports) >= self._limits.requests:
            raise NoSlotError(1)
        cut = asyncio.get_running_loop().call_later(self._limits.request_s, transport.abort)
        place.enter(transport)
        self._open += 1
        self._quiet.clear()
        try:
            yield
        finally:
            cut.cancel()
            self._open -= 1
            if not self._open:
                self._quiet.set()
            place.leave(transport)
            if not place.transports:
                self._free_when_idle(visitor, place)

    async def wait_until_quiet(self, timeout_s: float) -> None:
        """Return when no request is open, or after ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()

    def end_all(self, how: PlaceEnd) -> None:
        """Cut every test off."""
        for visitor, place in list(self._places.items()):
            self._end(visitor, place, how)

    def _take(self, visitor: Visitor) -> "_Place":
        loop = asyncio.get_running_loop()
        until_s = self._overstayed.get(visitor)
        if until_s is not None:
            raise NoSlotError(max(1, math.ceil(until_s - loop.time())))
        place = _Place(self._slots, self._limits.test_s, subscriber(visitor.address))
        place.limit = loop.call_later(self._limits.test_s, self._overstay, visitor, place)
        self._places[visitor] = place
        self._metrics.places_in_progress.set(len(self._places))
        return place

    def _overstay(self, visitor: Visitor, place: "_Place") -> None:
        self._end(visitor, place, PlaceEnd.HARD_STOP)
        loop = asyncio.get_running_loop()
        self._overstayed[visitor] = loop.time() + self._limits.idle_s
        loop.call_later(self._limits.idle_s, self._overstayed.pop, visitor)

    def _free_when_idle(self, visitor: Visitor, place: "_Place") -> None:
        if self._places.get(visitor) is place:
            loop = asyncio.get_running_loop()
            place.idle = loop.call_later(self._limits.idle_s, self._end, visitor, place, PlaceEnd.COMPLETED)

    def _end(self, visitor: Visitor, place: "_Place", how: PlaceEnd) -> None:
        if self._places.get(visitor) is not place:
            return
        del self._places[visitor]
        place.close()
        self._metrics.places_in_progress.set(len(self._places))
        self._metrics.places.labels(how).inc()


class _Place:
    """One slot, the requests that share it, and the timers that end it. Raises ``NoSlotError`` if there is none."""

    def __init__(self, slots: Slots, longest_s: float, address: str) -> None:
        self._slot = ExitStack()
        self._slot.enter_context(slots.hold(longest_s=longest_s, address=address))
        self.transports: set[asyncio.Transport] = set()
        self.limit: asyncio.TimerHandle | None = None
        self.idle: asyncio.TimerHandle | None = None

    def enter(self, transport: asyncio.Transport) -> None:
        """Note one request more."""
        self.transports.add(transport)
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def leave(self, transport: asyncio.Transport) -> None:
        """Note that it is over."""
        self.transports.discard(transport)

    def close(self) -> None:
        """Give the slot back and cut what is still open."""
        for timer in (self.limit, self.idle):
            if timer is not None:
                timer.cancel()
        for transport in list(self.transports):
            transport.abort()
        self._slot.close()
