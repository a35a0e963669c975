"""The running agent: measures on time, keeps what it finds, reports. Everything it uses comes in from ``app.py``."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from linkbell_agent.configuration import ConfigurationKeeper, Outcome
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import PingRequest, Probe, ProbeContext, SpeedRequest
from linkbell_agent.schedule import phase
from linkbell_agent.sender import Sender, report
from linkbell_agent.slots import SpeedSlots
from linkbell_agent.spool import Spool
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import EventRecord, PingRecord, Record, SkipRecord
from linkbell_wire.version import __version__
from linkbell_wire.words import EventName, Layer, PingMethod, SkipReason, Trigger

log = logging.getLogger(__name__)

CONFIGURATION_INTERVAL_S = 3600.0
LAST_SEND_S = 1.5
STOP_LIMIT_S = 4.0
FIRST_TEST_DELAY_S = 2.0


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes a runner calls."""

    ping: Probe[PingRequest]
    speed: Probe[SpeedRequest]


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """What the command line and the settings say about this run."""

    seed: str
    state: Path
    report_interval_s: float
    speed_now: bool = False
    on_record: Callable[[Record], None] | None = None


class Runner:
    """Owns the agent's tasks. :meth:`run` returns after :meth:`stop`, with everything kept."""

    def __init__(
        self,
        probes: Probes,
        context: ProbeContext,
        plan: Callable[[], Plan],
        spool: Spool,
        reporting: tuple[Sender, ConfigurationKeeper] | None,
        options: RunnerOptions,
    ) -> None:
        """``reporting`` of None measures and keeps, for a box that has not enrolled."""
        self._probes = probes
        self._context = context
        self._plan = plan
        self._spool = spool
        self._reporting = reporting
        self._options = options
        self._slots = SpeedSlots(context.clock, options.state, options.seed, plan)
        self._line = asyncio.Lock()
        """Held by whatever loads or times the line: a ping during a speed test would blame the line for the test."""
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ask :meth:`run` to end."""
        self._stopped.set()

    async def run(self) -> None:
        """Measure until :meth:`stop`. Ends within five seconds of it."""
        self._event(EventName.START, version=__version__)
        loops: list[Callable[[], Awaitable[None]]] = [self._ping_for_ever, self._test_for_ever, self._flush_for_ever]
        if self._reporting is not None:
            loops += [self._report_for_ever, self._configure_for_ever]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._supervise(loop)) for loop in loops]
            await self._stopped.wait()
            for task in running:
                task.cancel()
        await self._finish()

    async def _finish(self) -> None:
        self._event(EventName.STOP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                if self._reporting is not None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LAST_SEND_S):
                            await self._reporting[0].send_waiting()
                await self._spool.close()
                return
        log.error("the disk did not take the last results in time")

    async def _supervise(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Keep one loop going: the one place that catches everything, because nobody comes to restart the box."""
        while True:
            try:
                await loop()
                return
            except Exception as error:
                name = loop.__name__.strip("_")
                log.exception("internal fault in %s; it goes on in a minute. Please report this", name)
                self._event(EventName.PROBE_FAULT, task=name, error=type(error).__name__)
                await asyncio.sleep(60)

    async def _ping_for_ever(self) -> None:
        interval_s = self._plan().ping_interval_s
        due = self._context.clock.monotonic() + min(5.0, phase(self._options.seed, interval_s))
        while True:
            await asyncio.sleep(max(0.0, due - self._context.clock.monotonic()))
            plan = self._plan()
            async with self._line:
                await self._ping_round(plan)
            now = self._context.clock.monotonic()
            # On a fixed grid; a round that was held up does not bring two at once.
            due += plan.ping_interval_s * max(1, -(-(now - due) // plan.ping_interval_s))

    async def _ping_round(self, plan: Plan) -> None:
        if not any(target.layer is Layer.GATEWAY for target in plan.targets):
            self._keep(self._no_gateway())
        await asyncio.gather(*(self._ping(target, plan.ping_count) for target in plan.targets))

    async def _ping(self, target: TargetConfiguration, count: int) -> None:
        self._keep(await self._probes.ping(PingRequest(target, count=count), self._context))

    def _no_gateway(self) -> PingRecord:
        """A box without a default route has no gateway to ping: that is a finding, not silence."""
        return PingRecord(
            **self._context.stamp(),
            target="gateway",
            layer=Layer.GATEWAY,
            host="default-route",
            method=PingMethod.ICMP,
            sent=0,
            received=0,
            failure=Failure(operation=Operation.CONNECT, code=FailureCode.NETWORK_UNREACHABLE),
        )

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
        plan = self._plan()
        if plan.servers:
            request = SpeedRequest(
                plan.servers, Trigger.SLOT, max_duration_s=plan.speed_max_duration_s, max_bytes=plan.speed_max_bytes
            )
            async with self._line:
                record: Record = await self._probes.speed(request, self._context)
        else:
            record = SkipRecord(**self._context.stamp(), skipped="speed", reason=SkipReason.DISABLED)
        self._keep(record)
        self._slots.mark_done()

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(10)
            await self._spool.flush_if_old()

    async def _report_for_ever(self) -> None:
        assert self._reporting is not None
        await report(self._reporting[0], self._spool, self._options.report_interval_s)

    async def _configure_for_ever(self) -> None:
        assert self._reporting is not None
        sender, keeper = self._reporting
        while True:
            outcome = await keeper.refresh()
            if outcome is Outcome.APPLIED:
                self._event(EventName.CONFIGURATION_APPLIED, etag=keeper.etag)
            elif outcome is Outcome.REFUSED:
                self._event(EventName.CONFIGURATION_REFUSED)
            waited_s = 0.0
            while waited_s < CONFIGURATION_INTERVAL_S and not keeper.is_news(sender.config_etag):
                await asyncio.sleep(5)
                waited_s += 5
                if outcome is Outcome.UNREACHABLE and waited_s >= 60:
                    break

    def _event(self, name: EventName, **details: str | float | None) -> None:
        self._keep(EventRecord(**self._context.stamp(), event=name, details=dict(details)))

    def _keep(self, record: Record) -> None:
        kept = self._spool.append(record)
        if self._options.on_record is not None:
            self._options.on_record(kept)
