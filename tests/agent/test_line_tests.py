"""Tests run by the schedule pass the door: what is in the budget runs and is paid for, the rest is a skip with why."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.budget.ledger_file import LedgerFile
from linkbell_agent.budget.profiles import BudgetPlan
from linkbell_agent.doorway import Doorway
from linkbell_agent.line_tests import LineTests
from linkbell_agent.net import Uplink
from linkbell_agent.permit import Permit, permit
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import CheckRequest, ProbeContext, SpeedRequest
from linkbell_agent.rounds import Asked
from linkbell_agent.schedule.calendar import ALWAYS_OPEN
from linkbell_wire.configuration import SpeedServer, TargetConfiguration
from linkbell_wire.records import CheckRecord, Record, SkipRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import BudgetProfile, Direction, Engine, Layer, SkipReason, Stop
from tests.agent.fakes import ToldClock

MB = 1_000_000
URL = "ws://192.0.2.7:8471"
UNMETERED = Plan(
    targets=(TargetConfiguration(name="far", layer=Layer.INTERNATIONAL, host="192.0.2.9"),),
    ping_interval_s=60,
    ping_count=10,
    speed_enabled=True,
    speed_per_day=3,
    speed_max_duration_s=10,
    speed_max_bytes=5 * MB,
    speed_full=False,
    servers=(SpeedServer(url=URL),),
    calendar=ALWAYS_OPEN,
    floors={Direction.DOWNLOAD: 8e6},
)


def metered(size_bytes: int, **more: Any) -> Plan:
    return replace(UNMETERED, budget=BudgetPlan(BudgetProfile.METERED, size_bytes), **more)


class Box:
    """A box with its line tests, its probes written down, and its ledger on disk."""

    def __init__(self, state: Path, plan: Plan) -> None:
        self.clock = ToldClock()
        self.context = ProbeContext(Uplink(), self.clock)
        self.state = state
        self.caps: list[int | None] = []
        self.permits: list[Permit | None] = []
        self.checks = 0
        self.kept: list[Record] = []
        self.doorway = Doorway(self.clock, state, lambda uplink: plan, lambda uplink: None)
        self.tests = LineTests(self.context, lambda: plan, [asyncio.Lock()], contextlib.nullcontext, self.doorway)

    async def speed(self) -> Record:
        return await self.tests.speed(self._speed, self._check, Asked(), self.kept.append)

    async def check(self) -> Record:
        return await self.tests.check(self._check, Direction.DOWNLOAD, Asked())

    def used(self, kind: str) -> int:
        return LedgerFile(self.state).read()["main"].used.get(kind, 0)

    async def _speed(self, request: SpeedRequest, context: ProbeContext) -> Record:
        self.caps.append(request.max_bytes)
        self.permits.append(context.uplink.permit)
        result = SpeedResult(bps=20e6, bytes=3 * MB, duration_s=1.0, stop=Stop.STABLE)
        return SpeedRecord(
            **context.stamp(), engine=Engine.NDT7, server=URL, trigger=request.trigger, download=result, upload=result
        )

    async def _check(self, request: CheckRequest, context: ProbeContext) -> Record:
        self.checks += 1
        self.permits.append(context.uplink.permit)
        return CheckRecord(
            **context.stamp(),
            server=URL,
            trigger=request.trigger,
            floor_bps=request.floor_bps,
            passed=True,
            bps=9e6,
            bytes=600_000,
            duration_s=0.6,
        )


async def test_without_a_budget_all_tests_run_and_what_they_cost_is_counted(tmp_path: Path) -> None:
    box = Box(tmp_path, UNMETERED)
    assert isinstance(await box.speed(), SpeedRecord)
    assert isinstance(await box.check(), CheckRecord)
    assert await box.tests.refuse_pings(UNMETERED) is None
    assert 6 * MB < box.used("speed") < 8 * MB
    assert 600_000 < box.used("check") < 800_000


async def test_tests_keep_to_the_addresses_that_are_permitted(tmp_path: Path) -> None:
    allowed = permit(["192.0.2.0/24"], [], [])
    box = Box(tmp_path, replace(UNMETERED, permit=allowed))
    await box.speed()
    await box.check()
    assert box.permits == [allowed, allowed]


async def test_what_is_in_the_budget_runs_and_its_real_cost_is_on_disk(tmp_path: Path) -> None:
    box = Box(tmp_path, metered(1000 * MB))
    assert isinstance(await box.speed(), SpeedRecord)
    assert box.caps == [5 * MB]
    assert 6 * MB < box.used("speed") < 8 * MB
    assert isinstance(await box.check(), CheckRecord)
    assert 600_000 < box.used("check") < 800_000


async def test_a_full_test_that_is_not_in_the_budget_becomes_a_check_and_says_so(tmp_path: Path) -> None:
    box = Box(tmp_path, metered(60 * MB, speed_max_bytes=50 * MB))
    record = await box.speed()
    assert isinstance(record, CheckRecord)
    assert box.caps == []
    [skip] = box.kept
    assert isinstance(skip, SkipRecord)
    assert (skip.skipped, skip.reason) == ("speed", SkipReason.BUDGET)
    assert skip.value is not None
    assert skip.limit is not None
    assert skip.value > skip.limit


async def test_without_a_floor_to_check_the_skip_is_all_there_is(tmp_path: Path) -> None:
    box = Box(tmp_path, metered(60 * MB, speed_max_bytes=50 * MB, floors={}))
    record = await box.speed()
    assert isinstance(record, SkipRecord)
    assert box.kept == []
    assert box.checks == 0


async def test_pings_past_the_budget_are_one_skip(tmp_path: Path) -> None:
    plan = metered(10 * MB, ping_count=10, ping_interval_s=0.2)
    box = Box(tmp_path, plan)
    answers = [await box.tests.refuse_pings(plan) for _ in range(20_000)]
    refused = [answer for answer in answers if answer is not None]
    assert answers[0] is None
    assert refused
    assert refused[-1].reason is SkipReason.BUDGET
    assert box.used("ping") <= 10 * MB


async def test_pings_are_spread_so_that_the_budget_lasts(tmp_path: Path) -> None:
    plan = metered(10 * MB, ping_interval_s=10)
    assert await Box(tmp_path, plan).tests.ping_interval_s(plan) > 10
    assert await Box(tmp_path / "free", UNMETERED).tests.ping_interval_s(UNMETERED) == 60


@pytest.mark.parametrize("size_bytes", [30 * MB, 200 * MB])
async def test_hundreds_of_tests_do_not_go_past_the_budget(tmp_path: Path, size_bytes: int) -> None:
    box = Box(tmp_path, metered(size_bytes))
    for _ in range(200):
        await box.speed()
        await box.check()
    assert box.used("speed") + box.used("check") <= size_bytes


async def test_rounds_go_before_a_test_while_it_has_the_line(tmp_path: Path) -> None:
    box, line = Box(tmp_path, UNMETERED), asyncio.Lock()
    looked: list[tuple[bool, int]] = []

    async def look_first() -> None:
        looked.append((line.locked(), box.checks))

    tests = LineTests(
        box.context, lambda: UNMETERED, (line,), contextlib.nullcontext, open_door=None, look_first=look_first
    )
    await tests.check(box._check, Direction.DOWNLOAD, Asked())
    assert looked == [(True, 0)]
    assert box.checks == 1
