"""The running agent: measures on time, keeps what it finds, reports. Everything it uses comes in from ``app.py``."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from linkbell_agent.configuration import Outcome
from linkbell_agent.done_file import DoneFile
from linkbell_agent.layers.watch import LayerProbes, LayerWatch
from linkbell_agent.life import Life
from linkbell_agent.line_tests import LineTests, OpenDoor
from linkbell_agent.link import CollectorLink, report
from linkbell_agent.memory import give_back
from linkbell_agent.past_boots import Event
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import CheckRequest, PingRequest, Probe, ProbeContext, SpeedRequest
from linkbell_agent.retry import Backoff
from linkbell_agent.rounds import Asked, Rounds, Work
from linkbell_agent.schedule import phase
from linkbell_agent.schedule.slots import Kind
from linkbell_agent.spool import Spool
from linkbell_wire.records import EventRecord, Record
from linkbell_wire.words import Direction, EventName

log = logging.getLogger(__name__)

CONFIGURATION_INTERVAL_S = 3600.0
CONFIGURATION_LEAST_S = 5.0
"""The collector is not asked for its configuration more often, whatever it names."""

WAKES_EARLY_S = 0.01
"""A sleep may end this much before its time."""

MOST_LOOKS = 3
"""Rounds before a test: as many as a verdict takes to settle on a line that comes and goes."""

FLUSH_INTERVAL_S = 10.0
FAULT_WAIT_S = 60.0
ACCOUNT_DELAY_S = 120.0
ACCOUNT_INTERVAL_S = 6 * 3600.0
LAST_SEND_S = 1.5
STOP_LIMIT_S = 4.0


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes a runner calls."""

    ping: Probe[PingRequest]
    speed: Probe[SpeedRequest]
    check: Probe[CheckRequest] | None = None
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
    """Shows a record to somebody, and may fail."""
    remember: Callable[[Record], None] = lambda record: None
    """Keeps a record for the page."""
    beside: Sequence[Callable[[], Awaitable[None]]] = ()
    """What else runs for ever, such as the page."""
    life: Life | None = None
    open_door: OpenDoor | None = None
    account_delay_s: float = ACCOUNT_DELAY_S
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
        self._life = options.life or Life(context.clock, options.state)
        self._options = options
        self._on_record = options.on_record
        self._done = DoneFile(options.state, context.clock.monotonic)
        self.layers = LayerWatch(probes.layers or LayerProbes(probes.ping), context, self.keep)
        self._line = asyncio.Lock()
        """Held by whatever loads or times the line: a ping during a speed test would blame the line for the test."""
        self._tests = LineTests(
            context, plan, self._line, self._spool.history_held, options.open_door, self._look_first
        )
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ask :meth:`run` to end."""
        self._stopped.set()

    async def run(self) -> None:
        """Measure until :meth:`stop`. Ends within five seconds of it."""
        await self._spool.open()
        self._tell(self._life.look_back())
        if self._life.ended_badly:
            await self._spool.flush()  # this run may end as badly before it has reported that
        await self._life.begin()
        loops = (
            self._ping_for_ever,
            self._test_for_ever,
            *((self._check_downloads_for_ever, self._check_uploads_for_ever) if self._probes.check else ()),
            self._flush_for_ever,
            self._report_for_ever,
            self._configure_for_ever,
            self._account_for_ever,
            *self._options.beside,
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
                await self._try(self._close_door)
                await self._spool.close()
                await self._life.end()
        except TimeoutError:
            log.error("the disk did not take the last results in time")

    async def _close_door(self) -> None:
        door = self._tests.door()
        if door is not None:
            await door.close()

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
            interval_s = await self._tests.ping_interval_s(plan)
            late_s = clock.monotonic() - due_s + WAKES_EARLY_S
            due_s += interval_s * max(0, -(-late_s // interval_s))

    async def _ping_round(self, plan: Plan) -> None:
        refused = await self._tests.refuse_pings(plan)
        if refused is not None:
            self.keep(refused)
            return
        async with self._line:
            await self.layers.round(plan)

    async def _look_first(self) -> None:
        """Do the rounds a test would delay; on a line that just failed, until the verdict is settled."""
        for _ in range(MOST_LOOKS):
            wait_s = self.layers.look_first_in_s()
            if wait_s is None or await self._tests.refuse_pings(self._plan()) is not None:
                return
            await asyncio.sleep(wait_s)
            await self.layers.round(self._plan())

    async def _test_for_ever(self) -> None:
        await self._rounds(
            Work(
                Kind.SPEED,
                lambda: self._plan().timetable(Kind.SPEED),
                lambda: bool(self._plan().servers),
                self._measure_speed,
                first_at_once=True,
                now=self._options.speed_now,
            )
        ).run()

    async def _check_downloads_for_ever(self) -> None:
        await self._check_for_ever(Kind.CHECK_DOWNLOAD, Direction.DOWNLOAD)

    async def _check_uploads_for_ever(self) -> None:
        await self._check_for_ever(Kind.CHECK_UPLOAD, Direction.UPLOAD)

    async def _check_for_ever(self, kind: Kind, direction: Direction) -> None:
        await self._rounds(
            Work(
                kind,
                lambda: self._plan().timetable(kind),
                lambda: bool(self._plan().servers),
                lambda asked: self._measure_floor(direction, asked),
            )
        ).run()

    def _rounds(self, work: Work) -> Rounds:
        return Rounds(work, self._context, self._done, self._options.seed, self.keep)

    async def _measure_speed(self, asked: Asked) -> Record:
        return await self._tests.speed(self._probes.speed, self._probes.check, asked, self.keep)

    async def _measure_floor(self, direction: Direction, asked: Asked) -> Record:
        probe = self._probes.check
        assert probe is not None
        return await self._tests.check(probe, direction, asked)

    async def _account_for_ever(self) -> None:
        """Say how much of the month's data is used, and what it will come to."""
        while True:
            await asyncio.sleep(self._options.account_delay_s)
            door = self._tests.door()
            if door is not None:
                usage = await door.usage(self._context.uplink.name)
                self._event(EventName.DATA_USE, **usage.details())
            await asyncio.sleep(ACCOUNT_INTERVAL_S)

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            give_back()
            await self._spool.flush_if_due()
            self._tell(await self._life.tick())

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

    def _tell(self, events: Sequence[Event]) -> None:
        for name, details in events:
            self._event(name, **details)

    def _event(self, name: EventName, **details: str | float | None) -> None:
        self.keep(EventRecord(**self._context.stamp(), event=name, details=dict(details)))

    def keep(self, record: Record) -> None:
        """Number a record, keep it until the collector has it, and show it to whoever looks on."""
        kept = self._spool.append(record)
        self._options.remember(kept)
        if self._on_record is None:
            return
        try:
            self._on_record(kept)
        except OSError as error:
            # Whoever was shown the results has gone, or the log's disk is full: measuring goes on.
            self._on_record = None
            log.warning("results are no longer shown (%s), and kept as before", error.strerror)
