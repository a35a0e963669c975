"""Watches one test from beside it: before, then during each direction, and adds what was seen to its results."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypedDict

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.courtesy.sight import look_around
from linkbell_agent.ndt7.client import Outcome
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Uplink
from linkbell_agent.netlink import device_towards
from linkbell_agent.watch import latency, traffic
from linkbell_agent.watch.box import Box
from linkbell_agent.watch.conclude import Conclusion, Idle, Observed, conclude, traffic_before_bps
from linkbell_agent.watch.latency import Probe, Window
from linkbell_agent.watch.limits import Port, summed_up
from linkbell_agent.watch.pace import interval_s
from linkbell_agent.watch.sampler import Sampler, Target, find_target
from linkbell_agent.watch.traffic import Counted
from linkbell_wire.words import Direction, Grade, LimitedBy

log = logging.getLogger(__name__)

IDLE_INTERVAL_S = 0.1
COUNT_INTERVAL_S = 0.1
RATE_OVER_S = 0.3
PROBE_BYTES = 360
"""A probe with its exchange, one way, before any was counted."""


class Seen(TypedDict):
    """The part of a :class:`~linkbell_wire.records.SpeedRecord` that comes from watching."""

    rtt_idle_s: float | None
    jitter_idle_s: float | None
    bufferbloat: Grade | None
    probe_bytes: int | None
    others_before_bps: float | None
    others_during_bps: float | None
    sees_only_itself: bool | None
    limited_by: LimitedBy


@dataclass(slots=True)
class Watcher:
    """One test's. ``idle_s`` is how long the line is watched before it, and the box's port too; 0 leaves that out."""

    uplink: Uplink
    monotonic: Callable[[], float]
    box: Box = field(default_factory=Box)
    idle_s: float = 1.0
    make_sampler: Callable[[Target, Uplink, Callable[[], float]], Sampler] = Sampler
    _has_faults: bool = False
    _device: str | None = None
    _port: Port | None = None
    _sampler: Sampler | None = None
    _readings: list[Counted] = field(default_factory=list)
    _idle: list[Probe] = field(default_factory=list)
    _handshakes_s: list[float] = field(default_factory=list)
    _others_before_bps: float | None = None
    _found: dict[Direction, Conclusion] = field(default_factory=dict)

    async def before(self, endpoint: Endpoint) -> None:
        """Look at the idle line to ``endpoint`` for a second or so. What cannot be seen is left out."""
        self._forget()
        try:
            target = await find_target(endpoint, self.uplink)
        except NetworkFailure:
            return
        self._sampler = self.make_sampler(target, self.uplink, self.monotonic)
        self._device = device_towards(target.address, self.uplink)
        self._port = None if self._device is None else self.box.port(self._device)
        if self.idle_s <= 0:
            return
        async with self._counting(), self._sampling(lambda: IDLE_INTERVAL_S):
            await self._idle_or_refused(self._sampler)
        self._idle = latency.settled(self._sampler.probes)
        self._others_before_bps = self._traffic_before_bps()

    async def during(self, direction: Direction, test: Awaitable[Outcome]) -> Outcome:
        """Run ``test``, watch, and return its outcome with what was seen beside it."""
        before = len(self._sampler.probes) if self._sampler else 0
        cpu, began_s = self.box.cpu(self.monotonic), self.monotonic()
        async with self._sampling(lambda: self._pace_s(direction, before)):
            async with self._counting():
                outcome = await test
            cpu_after = self.box.cpu(self.monotonic)
        if outcome.rtt_idle_s is not None:
            self._handshakes_s.append(outcome.rtt_idle_s)
        if not outcome.admitted or outcome.result.bps is None:
            return outcome
        observed = Observed(
            direction,
            began_s,
            None if outcome.window is None else Window(*outcome.window),
            outcome.held_back,
            latency.settled(self._sampler.probes[before:]) if self._sampler else [],
            self._readings,
            self._port,
            self._sampler.target.ip_bytes if self._sampler else 20,
            (cpu, cpu_after),
        )
        result = outcome.result
        with self._as_an_extra():
            self._found[direction] = conclude(result, self._idle_line(), observed)
            result = self._found[direction].result
        return replace(outcome, result=result)

    def seen(self) -> Seen:
        """Return what there is to say of the whole test."""
        idle = self._idle_line()
        found = list(self._found.values())
        others = [one.others_both_ways_bps for one in found if one.others_both_ways_bps is not None]
        return Seen(
            rtt_idle_s=idle.rtt_s,
            jitter_idle_s=idle.trips.jitter_s,
            bufferbloat=latency.grade(idle.trips, [one.loaded for one in found]),
            probe_bytes=None if self._sampler is None else self._sampler.cost_bytes,
            others_before_bps=self._others_before_bps,
            others_during_bps=max(others, default=None),
            sees_only_itself=self._sees_only_itself(),
            limited_by=summed_up([one.result.limited_by for one in found]),
        )

    def _sees_only_itself(self) -> bool | None:
        """Say whose traffic the port carries; unknown where there is no port to look at."""
        if self._device is None or self._port is None or self._port.is_loopback:
            return None
        return look_around(self.box.root, self._device).sees_only_itself

    # Watching

    def _forget(self) -> None:
        """Begin anew: another server was asked before, and did not take the test."""
        self._device = self._port = self._sampler = self._others_before_bps = None
        for kept in (self._readings, self._idle, self._handshakes_s, self._found):
            kept.clear()

    @contextlib.asynccontextmanager
    async def _sampling(self, pace: Callable[[], float]) -> AsyncIterator[None]:
        """Probe meanwhile; at the end wait for answers, which pass through the same queue."""
        if self._sampler is None:
            yield
            return
        until = asyncio.Event()
        sampling = asyncio.create_task(self._sample(self._sampler, pace, until))
        try:
            yield
            until.set()
            await asyncio.wait([sampling])
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])

    async def _sample(self, sampler: Sampler, pace: Callable[[], float], until: asyncio.Event) -> None:
        with self._as_an_extra():
            await sampler.run(pace, until)

    @contextlib.asynccontextmanager
    async def _counting(self) -> AsyncIterator[None]:
        """Read the port's counters meanwhile."""
        self._readings.clear()
        counting = asyncio.create_task(self._count())
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.wait([counting])
            with self._as_an_extra():
                self._read_counters()

    async def _count(self) -> None:
        with self._as_an_extra():
            while True:
                self._read_counters()
                await asyncio.sleep(COUNT_INTERVAL_S)

    def _read_counters(self) -> None:
        counted = None if self._device is None else self.box.counted(self._device, self.monotonic)
        if counted is not None:
            self._readings.append(counted)

    @contextlib.contextmanager
    def _as_an_extra(self) -> Iterator[None]:
        """Let nothing that goes wrong in here harm the test; the one place of the watch that catches everything."""
        try:
            yield
        except Exception:
            if not self._has_faults:
                log.exception("internal fault beside a speed test, which goes on without. Please report this")
            self._has_faults = True

    async def _idle_or_refused(self, sampler: Sampler) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.idle_s):
                await sampler.refused.wait()

    def _pace_s(self, direction: Direction, made_before: int) -> float:
        made = len(self._sampler.probes) - made_before if self._sampler else 0
        probe_bytes = (self._sampler.each_way_bytes if self._sampler else None) or PROBE_BYTES
        return interval_s(probe_bytes, traffic.rate_bps(self._readings, direction, RATE_OVER_S), made)

    # Concluding

    def _idle_line(self) -> Idle:
        by_exchange = latency.handshake_ends_nearby(self._idle)
        trips = latency.round_trips(self._idle, latency.LEAST_IDLE, by_exchange=by_exchange)
        rtt_s = min(self._handshakes_s, default=None) if trips.median_s is None else trips.median_s
        return Idle(trips, rtt_s, by_exchange)

    def _traffic_before_bps(self) -> float | None:
        if self._port is None or self._sampler is None:
            return None
        return traffic_before_bps(self._readings, self._port, self._sampler.cost_bytes)
