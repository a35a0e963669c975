"""What is measured on one uplink: its pings, tests and checks, each in time, and what they cost. Doing only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from linkbell_agent.done_file import DoneFile
from linkbell_agent.layers.watch import LayerProbes, LayerWatch
from linkbell_agent.line_tests import LineTests, OpenDoor
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import CheckRequest, PingRequest, Probe, ProbeContext, SpeedRequest
from linkbell_agent.rounds import Asked, Rounds, Work
from linkbell_agent.schedule import phase
from linkbell_agent.schedule.slots import Kind
from linkbell_agent.slim import dataclass
from linkbell_wire.records import EventRecord, Record
from linkbell_wire.words import Direction, EventName

log = logging.getLogger(__name__)

WAKES_EARLY_S = 0.01
"""A sleep may end this much before its time."""

MOST_LOOKS = 3
"""Rounds before a test: as many as a verdict takes to settle on a line that comes and goes."""

ACCOUNT_DELAY_S = 120.0
ACCOUNT_INTERVAL_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes a runner calls."""

    ping: Probe[PingRequest]
    speed: Probe[SpeedRequest]
    check: Probe[CheckRequest] | None = None
    layers: LayerProbes | None = None
    """What the verdict is found with; pings alone if None."""


class Line(NamedTuple):
    """One uplink: where its probes run, and what is planned there."""

    context: ProbeContext
    plan: Callable[[], Plan]
    trouble: Callable[[], str | None] = lambda: None
    """Returns, in words for the log, why nothing can be measured on it at present."""


class Shared(NamedTuple):
    """What the uplinks of a box have in common."""

    seed: str
    done: DoneFile
    keep: Callable[[Record], None]
    hold: Callable[[], AbstractContextManager[None]]
    """Held while a test runs, so that nothing is sent meanwhile."""
    open_door: OpenDoor | None
    carries: Callable[[str], bool | None]
    """Says whether the default route leaves by an uplink; None on a box with one."""
    speed_now: bool
    account_delay_s: float
    test: asyncio.Lock
    """Tests never overlap, on whatever uplinks: they share the box's processor and port."""


class Measuring:
    """The loops of one uplink. ``is_first`` is the one of a box's uplinks that stands for the box itself."""

    def __init__(self, probes: Probes, line: Line, shared: Shared, *, is_first: bool = True) -> None:
        self._probes = probes
        self._context, self._plan = line.context, line.plan
        self._trouble = line.trouble
        self._troubled: str | None = None
        self._shared = shared
        self._keep = shared.keep
        self._is_first = is_first
        layers = probes.layers or LayerProbes(probes.ping)
        name = self._context.uplink.name
        self.layers = LayerWatch(layers, self._context, self._keep, lambda: shared.carries(name))
        self._line = asyncio.Lock()
        """Held by whatever loads or times the line: a ping during a speed test would blame the line for the test."""
        self._tests = LineTests(
            self._context, self._plan, (shared.test, self._line), shared.hold, shared.open_door, self._look_first
        )

    @property
    def context(self) -> ProbeContext:
        """Where its probes run."""
        return self._context

    @property
    def name(self) -> str:
        """The uplink's."""
        return self._context.uplink.name

    @property
    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """All that runs for ever."""
        checks = (self._check_downloads_for_ever, self._check_uploads_for_ever) if self._probes.check else ()
        return (self._ping_for_ever, self._test_for_ever, *checks, self._account_for_ever)

    async def close(self) -> None:
        """Give back what was reserved and not used."""
        door = self._tests.door()
        if door is not None:
            await door.close()

    async def _ping_for_ever(self) -> None:
        clock = self._context.clock
        await self._ping_round(self._plan())  # a technician waits for the first one
        # From here on a grid of its own: agents that got their power back together do not ping together.
        due_s = clock.monotonic() + phase(self._seed, self._plan().ping_interval_s)
        while True:
            await asyncio.sleep(self.layers.wait_s(due_s - clock.monotonic()))
            plan = self._plan()
            await self._ping_round(plan)
            # A round that was held up does not bring two at once, and one before its time leaves the grid as it is.
            interval_s = await self._tests.ping_interval_s(plan)
            late_s = clock.monotonic() - due_s + WAKES_EARLY_S
            due_s += interval_s * max(0, -(-late_s // interval_s))

    @property
    def _seed(self) -> str:
        """Two uplinks of one box do not ping at the same moments either."""
        return self._shared.seed if self._is_first else f"{self._shared.seed}/{self.name}"

    @property
    def _is_asked_for(self) -> bool:
        """Whether a test is wanted now: on the first uplink in any case, on others where tests run at all."""
        return self._shared.speed_now and (self._is_first or self._plan().speed_enabled)

    def _say_trouble(self) -> None:
        """Log when an uplink can no longer be used, and when it can be again."""
        trouble = self._trouble()
        if trouble is not None and trouble != self._troubled:
            log.error("uplink %s: %s; it goes on being tried", self.name, trouble)
        elif trouble is None and self._troubled is not None:
            log.warning("uplink %s can be used again", self.name)
        self._troubled = trouble

    async def _ping_round(self, plan: Plan) -> None:
        self._say_trouble()
        refused = await self._tests.refuse_pings(plan)
        if refused is not None:
            self._keep(refused)
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
                now=self._is_asked_for,
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
        return Rounds(work, self._context, self._shared.done, self._shared.seed, self._keep)

    async def _measure_speed(self, asked: Asked) -> Record:
        return await self._tests.speed(self._probes.speed, self._probes.check, asked, self._keep)

    async def _measure_floor(self, direction: Direction, asked: Asked) -> Record:
        probe = self._probes.check
        assert probe is not None
        return await self._tests.check(probe, direction, asked)

    async def _account_for_ever(self) -> None:
        """Say how much of the month's data is used, and what it will come to."""
        while True:
            await asyncio.sleep(self._shared.account_delay_s)
            door = self._tests.door()
            if door is not None:
                details = (await door.usage(self.name)).details()
                self._keep(EventRecord(**self._context.stamp(), event=EventName.DATA_USE, details=details))
            await asyncio.sleep(ACCOUNT_INTERVAL_S)
