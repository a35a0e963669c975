"""The running agent: what is measured when, what happens when a part breaks, and that a stop keeps everything."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from pydantic import SecretStr

from linkbell_agent.budget.profiles import BudgetPlan
from linkbell_agent.clock import SystemClock
from linkbell_agent.collector_api import HttpReply
from linkbell_agent.configuration import ConfigurationKeeper
from linkbell_agent.done_file import DoneFile
from linkbell_agent.doorway import Doorway
from linkbell_agent.identity import Identity, write_identity
from linkbell_agent.link import CollectorLink, Connected
from linkbell_agent.measuring import Line, Probes
from linkbell_agent.net import Uplink
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import CheckRequest, PingRequest, ProbeContext, SpeedRequest
from linkbell_agent.retry import Backoff
from linkbell_agent.runner import Runner, RunnerOptions
from linkbell_agent.schedule.calendar import ALWAYS_OPEN, SchoolCalendar
from linkbell_agent.schedule.done import Done
from linkbell_agent.schedule.slots import Agenda, Kind, present
from linkbell_agent.sender import Sender
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_wire.configuration import SpeedServer, TargetConfiguration
from linkbell_wire.failures import FailureCode
from linkbell_wire.records import CheckRecord, EventRecord, PingRecord, Record, SkipRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import (
    BudgetProfile,
    Direction,
    Engine,
    EventName,
    Layer,
    PingMethod,
    SkipReason,
    Stop,
    Trigger,
)
from tests.agent.fakes import ToldCollector, reply, settle_all

GATEWAY = TargetConfiguration(name="gateway", layer=Layer.GATEWAY, host="192.0.2.1")
PLAN = Plan(
    targets=(GATEWAY,),
    ping_interval_s=0.1,
    ping_count=1,
    speed_enabled=True,
    speed_per_day=3,
    speed_max_duration_s=1,
    speed_max_bytes=None,
    speed_full=False,
    servers=(SpeedServer(url="ws://192.0.2.7:8471"),),
    calendar=ALWAYS_OPEN,
)


async def quick_ping(request: PingRequest, context: ProbeContext) -> Record:
    return PingRecord(
        **context.stamp(),
        target=request.target.name,
        layer=request.target.layer,
        host=request.target.host,
        method=PingMethod.ICMP,
        sent=0,
        received=0,
    )


class Wire:
    """A speed probe that takes a while, and a ping that would notice."""

    def __init__(self, duration_s: float = 0.3) -> None:
        self.duration_s = duration_s
        self.is_loaded = False
        self.pings_under_load = 0

    async def speed(self, request: SpeedRequest, context: ProbeContext) -> Record:
        self.is_loaded = True
        await asyncio.sleep(self.duration_s)
        self.is_loaded = False
        result = SpeedResult(bps=1e6, bytes=1000, duration_s=1, stop=Stop.TIME)
        return SpeedRecord(
            **context.stamp(),
            engine=Engine.NDT7,
            server=request.servers[0].url,
            trigger=request.trigger,
            download=result,
        )

    async def ping(self, request: PingRequest, context: ProbeContext) -> Record:
        self.pings_under_load += self.is_loaded
        return await quick_ping(request, context)


class Bench:
    """A runner at work, and what it kept."""

    runner: Runner

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._kept = asyncio.Event()

    def keep(self, record: Record) -> None:
        self.records.append(record)
        self._kept.set()

    async def until(self, condition: Callable[[list[Record]], object]) -> None:
        async with asyncio.timeout(20):
            while not condition(self.records):
                self._kept.clear()
                await self._kept.wait()


def connect(identity: Identity, spool: Spool, collector: ToldCollector | None, context: ProbeContext) -> Connected:
    assert collector is not None
    sender = Sender(spool, collector, "lbc_x", context.clock, Backoff(random.Random(1)), batch_records=60)
    return Connected(identity, sender, ConfigurationKeeper(collector, "lbc_x", Path("/nonexistent")), ())


class Answering(ToldCollector):
    """Settles every batch and names a configuration that it never gives."""

    async def ready(self) -> None:
        pass

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        self.answers.append(settle_all if method == "POST" else reply(500))
        return await super().request(method, path, headers, body)


def enrol_here(folder: Path, agent: str = "agent-1") -> None:
    identity = Identity(
        collector="http://192.0.2.7", agent=agent, school="s-1", credential=SecretStr("lbc_0123456789abcdef")
    )
    write_identity(folder, identity)


@asynccontextmanager
async def working(
    folder: Path,
    plan: Plan,
    probes: Probes,
    *,
    speed_now: bool = False,
    collector: ToldCollector | None = None,
) -> AsyncIterator[Bench]:
    context = ProbeContext(Uplink(), SystemClock())
    spool = Spool(lambda: SpoolFile(folder / "spool.db"), uuid4(), context.clock, Limits())
    link = CollectorLink(folder, lambda identity: connect(identity, spool, collector, context))
    bench = Bench()
    options = RunnerOptions(
        seed="agent-1",
        state=folder,
        report_interval_s=1,
        speed_now=speed_now,
        on_record=bench.keep,
        open_door=Doorway(context.clock, folder, lambda uplink: plan, lambda uplink: None),
        account_delay_s=0.2,
    )
    bench.runner = Runner(probes, [Line(context, lambda: plan)], (spool, link), options)
    task = asyncio.create_task(bench.runner.run())
    try:
        yield bench
    finally:
        bench.runner.stop()
        async with asyncio.timeout(5):
            await task


def keep_served(folder: Path) -> None:
    """Leave behind what an agent leaves that has tested in the present slot."""
    moment = SystemClock().now()
    timetable = PLAN.timetable(Kind.SPEED)
    assert timetable is not None
    slot = Agenda("agent-1", "main", timetable).current(present(moment.wall, moment.boottime_s, "boot"))
    assert slot is not None
    DoneFile(folder, time.monotonic).put("main/speed", Done().begun(slot).served(slot), soon=True)


def kinds(records: list[Record], kind: type[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, kind)]


async def test_pings_go_on_and_a_stop_keeps_everything_in_order(tmp_path: Path) -> None:
    line = Wire()
    async with working(tmp_path, replace(PLAN, speed_enabled=False), Probes(quick_ping, line.speed)) as bench:
        await bench.until(lambda records: len(kinds(records, PingRecord)) >= 3)
    file = SpoolFile(tmp_path / "spool.db")
    kept = [record.seq for record in file.oldest(100)]
    file.close()
    assert kept == [record.seq for record in bench.records] == list(range(len(kept)))
    last = bench.records[-1]
    assert isinstance(last, EventRecord)
    assert last.event is EventName.STOP


async def test_a_new_installation_tests_at_once_and_never_pings_under_its_own_load(tmp_path: Path) -> None:
    line = Wire()
    async with working(tmp_path, PLAN, Probes(line.ping, line.speed)) as bench:
        await bench.until(lambda records: kinds(records, SpeedRecord))
        count = len(bench.records)
        await bench.until(lambda records: len(records) > count + 2)
    speeds = kinds(bench.records, SpeedRecord)
    assert len(speeds) == 1
    assert line.pings_under_load == 0
    assert [speed.trigger for speed in speeds if isinstance(speed, SpeedRecord)] == [Trigger.SLOT]


async def test_a_box_that_tested_before_waits_for_its_moment(tmp_path: Path) -> None:
    keep_served(tmp_path)
    line = Wire(0)
    async with working(tmp_path, PLAN, Probes(line.ping, line.speed)) as bench:
        await bench.until(lambda records: len(kinds(records, PingRecord)) >= 30)
    assert kinds(bench.records, SpeedRecord) == []


async def test_speed_now_tests_whatever_the_schedule_says(tmp_path: Path) -> None:
    keep_served(tmp_path)
    line = Wire(0)
    plan = replace(PLAN, speed_enabled=False)
    async with working(tmp_path, plan, Probes(line.ping, line.speed), speed_now=True) as bench:
        await bench.until(lambda records: kinds(records, SpeedRecord))


async def test_without_a_server_the_test_is_a_recorded_skip(tmp_path: Path) -> None:
    line = Wire(0)
    async with working(tmp_path, replace(PLAN, servers=()), Probes(line.ping, line.speed)) as bench:
        await bench.until(lambda records: kinds(records, SkipRecord))
    skip = kinds(bench.records, SkipRecord)[0]
    assert isinstance(skip, SkipRecord)
    assert (skip.skipped, skip.reason) == ("speed", SkipReason.NO_SERVER)
    assert not DoneFile(tmp_path, time.monotonic).get("main/speed").ever, "the first real test is still to come"


async def test_a_box_without_a_default_route_reports_its_gateway_down(tmp_path: Path) -> None:
    line = Wire(0)
    plan = replace(PLAN, targets=(), speed_enabled=False)
    async with working(tmp_path, plan, Probes(quick_ping, line.speed)) as bench:
        await bench.until(lambda records: kinds(records, PingRecord))
    ping = kinds(bench.records, PingRecord)[0]
    assert isinstance(ping, PingRecord)
    assert ping.failure is not None
    assert (ping.target, ping.failure.code) == ("gateway", FailureCode.NETWORK_UNREACHABLE)


async def test_a_broken_probe_is_an_event_and_the_others_go_on(tmp_path: Path) -> None:
    async def broken(request: SpeedRequest, context: ProbeContext) -> Record:
        raise ZeroDivisionError

    async with working(tmp_path, PLAN, Probes(quick_ping, broken)) as bench:
        await bench.until(
            lambda records: [
                event for event in kinds(records, EventRecord) if getattr(event, "event", "") is EventName.PROBE_FAULT
            ]
        )
        count = len(bench.records)
        await bench.until(lambda records: len(records) > count + 2)
    fault = next(
        record for record in bench.records if isinstance(record, EventRecord) and record.event is EventName.PROBE_FAULT
    )
    assert fault.details["error"] == "ZeroDivisionError"


async def test_a_stop_in_the_middle_of_a_test_is_prompt(tmp_path: Path) -> None:
    line = Wire(duration_s=60)
    async with working(tmp_path, PLAN, Probes(line.ping, line.speed)) as bench:
        async with asyncio.timeout(10):
            while not line.is_loaded:  # noqa: ASYNC110 - the probe of the test has no event
                await asyncio.sleep(0.05)
        began = time.monotonic()
        bench.runner.stop()
    assert time.monotonic() - began < 3


async def test_a_box_enrolled_while_it_runs_reports_without_a_restart(tmp_path: Path) -> None:
    collector = Answering()
    plan = replace(PLAN, speed_enabled=False)
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed), collector=collector) as bench:
        await bench.until(lambda records: len(kinds(records, PingRecord)) >= 2)
        assert collector.requests == []
        enrol_here(tmp_path)
        async with asyncio.timeout(15):
            while not collector.paths("records"):  # noqa: ASYNC110 - the told collector has no event
                await asyncio.sleep(0.1)
    sent = [record["seq"] for _, _, _, body in collector.requests if body for record in body["records"]]
    assert sent == [record.seq for record in bench.records]


async def test_a_configuration_that_cannot_be_had_is_not_asked_for_in_a_rush(tmp_path: Path) -> None:
    enrol_here(tmp_path)
    collector = Answering()
    plan = replace(PLAN, speed_enabled=False)
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed), collector=collector) as bench:
        await bench.until(lambda records: len(kinds(records, PingRecord)) >= 60)
    assert len(collector.paths("config")) <= 2


async def test_a_fault_in_the_last_report_keeps_everything(tmp_path: Path) -> None:
    class Faulty(ToldCollector):
        async def ready(self) -> None:
            pass

        async def request(self, *arguments: object, **more: object) -> HttpReply:
            raise ZeroDivisionError

    enrol_here(tmp_path)
    plan = replace(PLAN, speed_enabled=False)
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed), collector=Faulty()) as bench:
        await bench.until(lambda records: len(kinds(records, PingRecord)) >= 3)
    file = SpoolFile(tmp_path / "spool.db")
    kept = len(file)
    file.close()
    assert kept == len(bench.records)


async def test_the_first_ping_comes_at_once_and_the_next_at_a_moment_of_the_agents_own(tmp_path: Path) -> None:
    began = time.monotonic()
    plan = replace(PLAN, speed_enabled=False, ping_interval_s=3600)
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed)) as bench:
        await bench.until(lambda records: kinds(records, PingRecord))
        assert time.monotonic() - began < 1.5
        await asyncio.sleep(0.5)
    assert len(kinds(bench.records, PingRecord)) == 1


class CheckedLine(Wire):
    """A line whose floor is checked too, and that notices two tests at a time."""

    overlaps = 0

    async def speed(self, request: SpeedRequest, context: ProbeContext) -> Record:
        self.overlaps += self.is_loaded
        return await super().speed(request, context)

    async def check(self, request: CheckRequest, context: ProbeContext) -> Record:
        self.overlaps += self.is_loaded
        self.is_loaded = True
        await asyncio.sleep(self.duration_s)
        self.is_loaded = False
        return CheckRecord(
            **context.stamp(),
            server=request.servers[0].url,
            direction=request.direction,
            trigger=request.trigger,
            floor_bps=request.floor_bps,
            passed=True,
            sure=True,
            bps=request.floor_bps,
            bytes=1000,
            duration_s=1,
        )


async def test_floors_are_checked_and_no_two_tests_run_at_once(tmp_path: Path) -> None:
    line = CheckedLine(0.3)
    floors = {Direction.DOWNLOAD: 8e6, Direction.UPLOAD: 2e6}
    # Open for three minutes from this one on, with a slot of two seconds each.
    now = SystemClock().now().wall
    start = now.hour * 60 + now.minute
    hours = SchoolCalendar(week=(((start, start + 3),),) * 7)
    plan = replace(PLAN, calendar=hours, floors=floors, check_interval_s=2.0, ping_interval_s=3600.0)
    async with working(tmp_path, plan, Probes(line.ping, line.speed, line.check)) as bench:
        await bench.until(lambda records: len(kinds(records, CheckRecord)) >= 6 and kinds(records, SpeedRecord))
    directions = {record.direction for record in bench.records if isinstance(record, CheckRecord)}
    assert directions == set(Direction)
    assert line.overlaps == 0
    assert line.pings_under_load == 0


async def test_a_box_with_a_budget_says_what_it_used_and_one_without_says_nothing(tmp_path: Path) -> None:
    far = TargetConfiguration(name="far", layer=Layer.INTERNATIONAL, host="192.0.2.9")
    plan = replace(PLAN, targets=(far,), speed_enabled=False, budget=BudgetPlan(BudgetProfile.METERED, 10**9))
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed)) as bench:
        await bench.until(lambda records: EventName.DATA_USE in events(records))
    [use, *_] = [one for one in bench.records if isinstance(one, EventRecord) and one.event is EventName.DATA_USE]
    assert use.details["budget_bytes"] == 10**9
    assert 0 < int(str(use.details["ping_bytes"])) < 10**6
    async with working(tmp_path / "free", replace(plan, budget=BudgetPlan()), Probes(quick_ping, Wire().speed)) as free:
        await free.until(lambda records: len(kinds(records, PingRecord)) >= 5)
    assert EventName.DATA_USE not in events(free.records)


async def test_rounds_of_pings_are_as_far_apart_as_the_budget_needs(tmp_path: Path) -> None:
    far = TargetConfiguration(name="far", layer=Layer.INTERNATIONAL, host="192.0.2.9")
    plan = replace(PLAN, targets=(far,), speed_enabled=False, budget=BudgetPlan(BudgetProfile.METERED, 10_000_000))
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed)) as bench:
        await asyncio.sleep(1.2)
    rounds = [record for record in bench.records if isinstance(record, PingRecord) and record.target == "far"]
    assert 1 <= len(rounds) <= 3


async def test_pings_that_are_not_in_the_budget_are_not_sent_and_recorded_as_skipped(tmp_path: Path) -> None:
    far = TargetConfiguration(name="far", layer=Layer.INTERNATIONAL, host="192.0.2.9")
    plan = replace(PLAN, targets=(far,), speed_enabled=False, budget=BudgetPlan(BudgetProfile.METERED, 10_000_000))
    door = Doorway(SystemClock(), tmp_path, lambda uplink: plan, lambda uplink: None)()
    for size_bytes in (100_000, 1000, 10):
        while await door.draw("main", size_bytes):
            pass
    async with working(tmp_path, plan, Probes(quick_ping, Wire().speed)) as bench:
        await bench.until(lambda records: kinds(records, SkipRecord))
    skip = kinds(bench.records, SkipRecord)[0]
    assert isinstance(skip, SkipRecord)
    assert (skip.skipped, skip.reason) == ("ping", SkipReason.BUDGET)
    assert kinds(bench.records, PingRecord) == []


def events(records: list[Record]) -> list[EventName]:
    return [record.event for record in records if isinstance(record, EventRecord)]
