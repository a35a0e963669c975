"""The running agent: measures on time, keeps what it finds, reports. Everything it uses comes in from ``app.py``."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from linkbell_agent.configuration import Outcome
from linkbell_agent.layers.watch import LayerProbes, LayerWatch
from linkbell_agent.link import CollectorLink, report
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import PingRequest, Probe, ProbeContext, SpeedRequest
from linkbell_agent.retry import Backoff
from linkbell_agent.schedule import phase
from linkbell_agent.slots import SpeedSlots
from linkbell_agent.spool import Spool
from linkbell_wire.records import EventRecord, Record, SkipRecord
from linkbell_wire.version import __version__
from linkbell_wire.words import EventName, SkipReason, Trigger

log = logging.getLogger(__name__)

CONFIGURATION_INTERVAL_S = 3600.0
CONFIGURATION_LEAST_S = 5.0
"""The collector is not asked for its configuration more often, whatever it names."""

WAKES_EARLY_S = 0.01
"""A sleep may end this much before its time."""

FLUSH_INTERVAL_S = 10.0
FAULT_WAIT_S = 60.0
LAST_SEND_S = 1.5
STOP_LIMIT_S = 4.0
FIRST_TEST_DELAY_S = 2.0


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes a runner calls."""

    ping: Probe[PingRequest]
    speed: Probe[SpeedRequest]
    layers: LayerProbes | None = None
    """What the verdict is found with; pings alone if None."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """What the command line and the settings say about this run."""

    seed: str
    state: Path
    report_interval_s: float
    speed_now: bool = False
    on_record: Callable[[Record], None] | None = None
    rng: random.Random = field(default_factory=random.SystemRandom)


class Runner:
    """Owns the agent's tasks. :meth:`run` returns after :meth:`stop`, with everything kept."""

    def __init__(
        self,
        probes: Probes,
        context: ProbeContext,
        plan: Callable[[], Plan],
        keeping: tuple[Spool, CollectorLink],
        options: RunnerOptions,
    ) -> None:
        self._probes = probes
        self._context = context
        self._plan = plan
        self._spool, self._link = keeping
        self._options = options
        self._on_record = options.on_record
        self._slots = SpeedSlots(context.clock, options.state, options.seed, plan)
        self.layers = LayerWatch(probes.layers or LayerProbes(probes.ping), context, self._keep)
        self._line = asyncio.Lock()
        """Held by whatever loads or times the line: a ping during a speed test would blame the line for the test."""
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ask :meth:`run` to end."""
        self._stopped.set()

    async def run(self) -> None:
        """Measure until :meth:`stop`. Ends within five seconds of it."""
        await self._spool.open()
        self._event(EventName.START, version=__version__)
        loops = (
            self._ping_for_ever,
            self._test_for_ever,
            self._flush_for_ever,
            self._report_for_ever,
            self._configure_for_ever,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._supervise(loop)) for loop in loops]
                await self._stopped.wait()
                for task in running:
                    task.cancel()
        finally:
            await self._finish()

    async def _finish(self) -> None:
        """Send what can be sent at once, put the rest on disk."""
        self._event(EventName.STOP)
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self._try(self._send_last)
                await self._spool.close()
        except TimeoutError:
            log.error("the disk did not take the last results in time")

    async def _send_last(self) -> None:
        connected = self._link.present
        if connected is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SEND_S):
                    await connected.sender.send_waiting()

    async def _supervise(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep one loop going: nobody comes to restart the box."""
        while not await self._try(loop):  # noqa: ASYNC110 - a pause after a fault, not a poll
            await asyncio.sleep(FAULT_WAIT_S)

    async def _try(self, task: Callable[[], Awaitable[None]]) -> bool:
        """Run ``task``; the one place that catches everything. Returns whether it went well."""
        try:
            await task()
        except Exception as error:
            name = task.__name__.strip("_")
            log.exception("internal fault in %s; the agent goes on. Please report this", name)
            self._event(EventName.PROBE_FAULT, task=name, error=type(error).__name__)
            return False
        return True

    async def _ping_for_ever(self) -> None:
        clock = self._context.clock
        await self._ping_round(self._plan())  # a technician waits for the first one
        # From here on a grid of its own: agents that got their power back together do not ping together.
        due_s = clock.monotonic() + phase(self._options.seed, self._plan().ping_interval_s)
        while True:
            await asyncio.sleep(self.layers.wait_s(due_s - clock.monotonic()))
            plan = self._plan()
            await self._ping_round(plan)
            # A round that was held up does not bring two at once, and one before its time leaves the grid as it is.
            late_s = clock.monotonic() - due_s + WAKES_EARLY_S
            due_s += plan.ping_interval_s * max(0, -(-late_s // plan.ping_interval_s))

    async def _ping_round(self, plan: Plan) -> None:
        async with self._line:
            await self.layers.round(plan)

    async def _test_for_ever(self) -> None:
        if self._options.speed_now or (self._plan().speed_enabled and self._slots.done is None):
            # A new installation shows its first number at once. Later ones wait for their moment, or every power cut
            # in a village would be followed by all its schools testing together.
            await asyncio.sleep(FIRST_TEST_DELAY_S)
            await self._test()
        while True:
            await self._slots.wait_for_next()
            await self._test()

    async def _test(self) -> None:
        plan, slot = self._plan(), self._slots.current()
        if plan.servers:
            request = SpeedRequest(
                plan.servers,
                Trigger.SLOT,
                max_duration_s=plan.speed_max_duration_s,
                max_bytes=plan.speed_max_bytes,
                full=plan.speed_full,
                engine=plan.speed_engine,
            )
            async with self._line:
                record: Record = await self._probes.speed(request, self._context.within(plan.permit))
        else:
            record = SkipRecord(**self._context.stamp(), skipped="speed", reason=SkipReason.NO_SERVER)
        self._keep(record)
        self._slots.mark_done(slot, tested=bool(plan.servers))

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            await self._spool.flush_if_due()

    async def _report_for_ever(self) -> None:
        await report(self._link, self._spool, self._options.report_interval_s, self._options.rng)

    async def _configure_for_ever(self) -> None:
        backoff = Backoff(self._options.rng, first_s=CONFIGURATION_LEAST_S)
        while True:
            connected = self._link.refresh()
            if connected is None:
                await asyncio.sleep(CONFIGURATION_LEAST_S)
                continue
            outcome = await connected.keeper.refresh(connected.sender.config_etag)
            if outcome is Outcome.APPLIED:
                self._event(EventName.CONFIGURATION_APPLIED, etag=connected.keeper.etag)
            elif outcome is Outcome.REFUSED:
                self._event(EventName.CONFIGURATION_REFUSED)
            await asyncio.sleep(CONFIGURATION_LEAST_S)
            if outcome is Outcome.UNREACHABLE:
                await asyncio.sleep(backoff.next_wait_s())
                continue
            backoff.reset()
            await self._until_configuration_is_news()

    async def _until_configuration_is_news(self) -> None:
        """Return after an hour, sooner if the collector names a new configuration or is another one."""
        connected = self._link.present
        waited_s = 0.0
        while waited_s < CONFIGURATION_INTERVAL_S and connected is not None and connected is self._link.present:
            if connected.keeper.is_news(connected.sender.config_etag):
                return
            await asyncio.sleep(CONFIGURATION_LEAST_S)
            waited_s += CONFIGURATION_LEAST_S

    def _event(self, name: EventName, **details: str | float | None) -> None:
        self._keep(EventRecord(**self._context.stamp(), event=name, details=dict(details)))

    def _keep(self, record: Record) -> None:
        kept = self._spool.append(record)
        if self._on_record is None:
            return
        try:
            self._on_record(kept)
        except OSError as error:
            # Whoever was shown the results has gone, or the log's disk is full: measuring goes on.
            self._on_record = None
            log.warning("results are no longer shown (%s), and kept as before", error.strerror)
