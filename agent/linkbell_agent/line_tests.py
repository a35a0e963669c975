"""Tests of the line, run by the schedule: asked for at the door, one at a time, and paid for.

What the door is, is in :mod:`linkbell_agent.gatekeeper`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import CheckRequest, Probe, ProbeContext, SpeedRequest
from linkbell_agent.rounds import Asked
from linkbell_wire.records import CheckRecord, Record, SkipRecord, SpeedRecord
from linkbell_wire.words import Direction, SkipReason, Trigger

if TYPE_CHECKING:
    from linkbell_agent.courtesy.rule import Rates
    from linkbell_agent.gatekeeper import Gatekeeper, Go, Refused

Request = TypeVar("Request", SpeedRequest, CheckRequest)

OpenDoor = Callable[[], "Gatekeeper"]
"""Returns who is to be asked before tests, the same one each time."""


class LineTests:
    """Runs speed tests and floor checks. ``locks`` are held meanwhile, in that order, so is what ``hold`` gives.

    ``look_first`` is called before each with the locks held.
    """

    def __init__(
        self,
        context: ProbeContext,
        plan: Callable[[], Plan],
        locks: Sequence[asyncio.Lock],
        hold: Callable[[], AbstractContextManager[None]],
        open_door: OpenDoor | None = None,
        look_first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._context = context
        self._plan = plan
        self._locks = locks
        self._hold = hold
        self._open_door = open_door
        self._look_first = look_first
        self._last: SpeedRecord | None = None

    def door(self) -> "Gatekeeper | None":
        """Return who is asked, if anybody is."""
        return None if self._open_door is None else self._open_door()

    async def speed(
        self,
        probe: Probe[SpeedRequest],
        check: Probe[CheckRequest] | None,
        asked: Asked,
        keep: Callable[[Record], None],
    ) -> Record:
        """Run a full test. Where only a check is in the budget the test is skipped and the check is run."""
        plan, door = self._plan(), self.door()
        if door is None:
            return await self._speed(probe, plan, asked, plan.speed_max_bytes)
        from linkbell_agent.budget.decide import Kind
        from linkbell_agent.gatekeeper import Ask, Go

        answer = await door.admit(Ask(Kind.SPEED, max_bytes=plan.speed_max_bytes, speed=self._rates()), self._uplink)
        if isinstance(answer, Go):
            record = await self._speed(probe, plan, asked, answer.max_bytes)
            return await self._settle(door, answer, record)
        skip = self._skip(answer)
        direction = next(iter(plan.floors), None)
        if answer.instead is not Kind.CHECK or check is None or direction is None:
            return skip
        keep(skip)
        return await self.check(check, direction, asked)

    async def check(self, probe: Probe[CheckRequest], direction: Direction, asked: Asked) -> Record:
        """Run a floor check."""
        plan, door = self._plan(), self.door()
        request = CheckRequest(plan.servers, Trigger.SLOT, plan.floors[direction], direction, on_busy=asked)
        if door is None:
            return await self._alone(probe, request)
        from linkbell_agent.budget.decide import Kind
        from linkbell_agent.gatekeeper import Ask, Go

        ask = Ask(Kind.CHECK, (direction,), floor_bps=request.floor_bps, speed=self._rates())
        answer = await door.admit(ask, self._uplink)
        if isinstance(answer, Go):
            return await self._settle(door, answer, await self._alone(probe, request))
        return self._skip(answer)

    async def ping_interval_s(self, plan: Plan) -> float:
        """Return how far apart rounds of pings are to be: as planned, or as the budget allows."""
        door = self.door()
        return plan.ping_interval_s if door is None else await door.ping_interval_s(self._uplink, plan.ping_interval_s)

    async def refuse_pings(self, plan: Plan) -> SkipRecord | None:
        """Return the record of a round of pings that is not in the budget, ``None`` if it may be sent."""
        door = self.door()
        if door is None:
            return None
        from linkbell_agent.budget.planned import round_bytes

        size_bytes = round_bytes(plan)
        if await door.draw(self._uplink, size_bytes):
            return None
        return SkipRecord(
            **self._context.stamp(), skipped="ping", reason=SkipReason.BUDGET, value=float(size_bytes), limit=0.0
        )

    @property
    def _uplink(self) -> str:
        return self._context.uplink.name

    async def _speed(self, probe: Probe[SpeedRequest], plan: Plan, asked: Asked, max_bytes: int | None) -> Record:
        request = SpeedRequest(
            plan.servers,
            Trigger.SLOT,
            max_duration_s=plan.speed_max_duration_s,
            max_bytes=max_bytes,
            full=plan.speed_full,
            engine=plan.speed_engine,
            on_busy=asked,
        )
        record = await self._alone(probe, request)
        if isinstance(record, SpeedRecord) and (record.download or record.upload):
            self._last = record
        return record

    async def _alone(self, probe: Probe[Request], request: Request) -> Record:
        async with contextlib.AsyncExitStack() as stack:
            for lock in self._locks:
                await stack.enter_async_context(lock)
            if self._look_first is not None:
                await self._look_first()
            with self._hold():
                plan = self._plan()
                return await probe(request, self._context.within(plan.permit).bound(plan.binding))

    async def _settle(self, door: "Gatekeeper", go: "Go", record: Record) -> Record:
        if isinstance(record, SpeedRecord):
            return await door.settle(go, record)
        if isinstance(record, CheckRecord):
            return await door.settle(go, record)
        return record

    def _skip(self, refused: "Refused") -> SkipRecord:
        return SkipRecord(
            **self._context.stamp(),
            skipped=refused.skipped,
            reason=refused.reason,
            value=refused.value,
            limit=refused.limit,
        )

    def _rates(self) -> "Rates":
        from linkbell_agent.courtesy.rule import Rates

        last = self._last
        if last is None:
            return Rates()
        return Rates(*(None if result is None else result.bps for result in (last.download, last.upload)))
