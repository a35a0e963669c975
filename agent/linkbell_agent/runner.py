"""The running agent: measures on time, keeps what it finds, reports. Everything it uses comes in from ``app.py``."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from linkbell_agent.configuration import Outcome
from linkbell_agent.done_file import DoneFile
from linkbell_agent.layers.watch import LayerWatch
from linkbell_agent.life import Life
from linkbell_agent.line_tests import OpenDoor
from linkbell_agent.link import CollectorLink, report
from linkbell_agent.measuring import ACCOUNT_DELAY_S, Line, Measuring, Probes, Shared
from linkbell_agent.memory import give_back, let_go_of_code
from linkbell_agent.past_boots import Event
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.retry import Backoff
from linkbell_agent.slim import dataclass
from linkbell_agent.spool import Spool
from linkbell_wire.records import EventRecord, Record
from linkbell_wire.words import EventName

if TYPE_CHECKING:
    from linkbell_agent.route_watch import Looking, RouteWatch

log = logging.getLogger(__name__)

CONFIGURATION_INTERVAL_S = 3600.0
CONFIGURATION_LEAST_S = 5.0
"""The collector is not asked for its configuration more often, whatever it names."""

FLUSH_INTERVAL_S = 10.0
CODE_INTERVAL_S = 3600.0
"""How often code that ran once is let go of: after the start, and after what is done a few times a day."""

FAULT_WAIT_S = 60.0
LAST_SEND_S = 1.5
STOP_LIMIT_S = 4.0


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
    default_route: "Looking | None" = None
    """Sees which uplink carries the default route; None on a box with one uplink, where nothing can move."""
    account_delay_s: float = ACCOUNT_DELAY_S
    rng: random.Random = field(default_factory=random.SystemRandom)


def _watch(options: RunnerOptions, context: ProbeContext) -> "RouteWatch | None":
    if options.default_route is None:
        return None
    from linkbell_agent.route_watch import RouteWatch  # most boxes have one way out, and no memory to spare

    return RouteWatch(options.state, options.default_route, context.clock.monotonic)


class Runner:
    """Owns the agent's tasks. :meth:`run` returns after :meth:`stop`, with everything kept."""

    def __init__(
        self,
        probes: Probes,
        lines: Sequence[Line],
        keeping: tuple[Spool, CollectorLink],
        options: RunnerOptions,
    ) -> None:
        self._context = lines[0].context
        self._spool, self._link = keeping
        self._life = options.life or Life(self._context.clock, options.state)
        self._options = options
        self._on_record = options.on_record
        self._route = _watch(options, self._context)
        shared = Shared(
            seed=options.seed,
            done=DoneFile(options.state, self._context.clock.monotonic),
            keep=self.keep,
            hold=self._spool.history_held,
            open_door=options.open_door,
            carries=lambda uplink: None if self._route is None else self._route.carries(uplink),
            speed_now=options.speed_now,
            account_delay_s=options.account_delay_s,
            test=asyncio.Lock(),
        )
        self._uplinks = [Measuring(probes, line, shared, is_first=line is lines[0]) for line in lines]
        self._stopped = asyncio.Event()

    @property
    def layers(self) -> LayerWatch:
        """What watches the first uplink."""
        return self._uplinks[0].layers

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
            *(loop for uplink in self._uplinks for loop in uplink.loops),
            self._flush_for_ever,
            self._report_for_ever,
            self._configure_for_ever,
            *((self._watch_route_for_ever,) if self._route is not None else ()),
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
                await self._try(self._uplinks[0].close)  # there is one door for all
                await self._spool.close()
                await self._life.end()
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

    async def _watch_route_for_ever(self) -> None:
        """Say when the default route moves from one uplink to another."""
        from linkbell_agent.route_watch import LOOK_S

        assert self._route is not None
        contexts = {uplink.name: uplink.context for uplink in self._uplinks}
        while True:
            details = self._route.look(self._verdict_on)
            if details is not None:
                context = contexts.get(str(details["to"] or details["from"]), self._context)
                self.keep(EventRecord(**context.stamp(), event=EventName.FAILOVER, details=details))
            await asyncio.sleep(LOOK_S)

    def _verdict_on(self, name: str | None) -> str | None:
        state = next((uplink.layers.verdict.state for uplink in self._uplinks if uplink.name == name), None)
        return None if state is None else state.value

    async def _flush_for_ever(self) -> None:
        code_due_s = self._context.clock.monotonic() + FLUSH_INTERVAL_S
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            give_back()
            if self._context.clock.monotonic() >= code_due_s:
                let_go_of_code()
                code_due_s = self._context.clock.monotonic() + CODE_INTERVAL_S
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
