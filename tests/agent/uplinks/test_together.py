"""Two uplinks in one runner: tests never overlap, pings of the other go on, and each stands for itself."""

import asyncio
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from linkbell_agent.clock import SystemClock
from linkbell_agent.link import CollectorLink
from linkbell_agent.measuring import Line, Probes
from linkbell_agent.net import Uplink
from linkbell_agent.plan import Plan
from linkbell_agent.probes.base import PingRequest, ProbeContext, SpeedRequest
from linkbell_agent.route_watch import Looking
from linkbell_agent.runner import Runner, RunnerOptions
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_wire.records import EventRecord, PingRecord, Record, SpeedRecord, SpeedResult
from linkbell_wire.words import Engine, EventName, PingMethod, Stop
from tests.agent.test_runner import PLAN


class TwoLines:
    """Probes that note what runs at the same time, on which uplink."""

    def __init__(self) -> None:
        self.testing: list[str] = []
        self.most_at_once = 0
        self.pinged_meanwhile: set[tuple[str, str]] = set()

    async def speed(self, request: SpeedRequest, context: ProbeContext) -> Record:
        self.testing.append(context.uplink.name)
        self.most_at_once = max(self.most_at_once, len(self.testing))
        await asyncio.sleep(0.6)
        self.testing.remove(context.uplink.name)
        result = SpeedResult(bps=1e6, bytes=1000, duration_s=1, stop=Stop.TIME)
        return SpeedRecord(
            **context.stamp(),
            engine=Engine.NDT7,
            server=request.servers[0].url,
            trigger=request.trigger,
            download=result,
        )

    async def ping(self, request: PingRequest, context: ProbeContext) -> Record:
        self.pinged_meanwhile |= {(context.uplink.name, tested) for tested in self.testing}
        if context.uplink.name == "broken":
            raise RuntimeError("a fault of the probe itself")
        target = request.target
        return PingRecord(
            **context.stamp(),
            target=target.name,
            layer=target.layer,
            host=target.host,
            method=PingMethod.ICMP,
            sent=0,
            received=0,
        )


async def run(
    folder: Path, lines: TwoLines, plans: dict[str, Plan], seconds: float, looking: Looking | None = None
) -> list[Record]:
    clock, kept = SystemClock(), list[Record]()
    spool = Spool(lambda: SpoolFile(folder / "spool.db"), uuid4(), clock, Limits())
    options = RunnerOptions(
        seed="agent-1",
        state=folder,
        report_interval_s=1,
        speed_now=True,
        on_record=kept.append,
        default_route=looking,
    )

    def line(name: str) -> Line:
        return Line(ProbeContext(Uplink(name), clock), lambda: plans[name])

    link = CollectorLink(folder, lambda identity: (_ for _ in ()).throw(AssertionError("nobody enrolled")))
    runner = Runner(Probes(lines.ping, lines.speed), [line(name) for name in plans], (spool, link), options)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(seconds)
    runner.stop()
    async with asyncio.timeout(5):
        await task
    return kept


async def test_tests_never_overlap_and_pings_of_the_other_uplink_go_on(tmp_path: Path) -> None:
    lines = TwoLines()
    records = await run(tmp_path, lines, {"fibre": PLAN, "4g": PLAN}, 4.0)
    assert {record.uplink for record in records if isinstance(record, SpeedRecord)} == {"fibre", "4g"}
    assert lines.most_at_once == 1
    assert lines.pinged_meanwhile == {("fibre", "4g"), ("4g", "fibre")}


async def test_a_test_asked_for_now_is_not_forced_upon_an_uplink_where_none_run(tmp_path: Path) -> None:
    plans = {"fibre": PLAN, "4g": replace(PLAN, speed_enabled=False)}
    records = await run(tmp_path, TwoLines(), plans, 3.5)
    assert {record.uplink for record in records if isinstance(record, SpeedRecord)} == {"fibre"}
    assert {record.uplink for record in records if isinstance(record, PingRecord)} == {"fibre", "4g"}


async def test_a_fault_on_one_uplink_does_not_stop_the_other(tmp_path: Path) -> None:
    quiet = replace(PLAN, speed_enabled=False)
    records = await run(tmp_path, TwoLines(), {"broken": quiet, "4g": quiet}, 1.0)
    pings = [record.uplink for record in records if isinstance(record, PingRecord)]
    assert set(pings) == {"4g"}
    assert len(pings) > 3
    assert any(isinstance(record, EventRecord) and record.event is EventName.PROBE_FAULT for record in records)


async def test_a_move_of_the_route_is_an_event_of_the_uplink_that_carries_now(tmp_path: Path) -> None:
    (tmp_path / "default-route.json").write_text('{"carrier": "fibre"}')
    quiet = replace(PLAN, speed_enabled=False)
    looking = Looking(["fibre", "4g"], lambda: "4g", lambda move: {"reason": "route_gone"})
    records = await run(tmp_path, TwoLines(), {"fibre": quiet, "4g": quiet}, 11.0, looking)
    (event,) = [record for record in records if isinstance(record, EventRecord) and record.event is EventName.FAILOVER]
    assert event.uplink == "4g"
    assert (event.details["from"], event.details["to"], event.details["reason"]) == ("fibre", "4g", "route_gone")
    assert event.details["while_stopped"] is True
