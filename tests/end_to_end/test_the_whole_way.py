"""From the socket to a Prometheus query: collector, measurement server and agent by their own ``build()``."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from linkbell_agent import app as agent_app
from linkbell_agent.sections import PingSettings, ReportSettings, SpeedSettings, TargetSettings
from linkbell_agent.sections import Settings as AgentSettings
from linkbell_collector import app as collector_app
from linkbell_collector.measure.app import build as build_measure
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_collector.settings import Settings as CollectorSettings
from linkbell_collector.values import Listen
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.records import PingRecord, Record, SpeedRecord
from linkbell_wire.words import Layer
from tests.end_to_end.prometheus import fetch, prometheus

SCHOOL = "kz-0421"


@dataclass(frozen=True)
class Running:
    """A collector and a measurement server that listen."""

    collector: collector_app.Application
    data: Path


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    measure = build_measure(MeasureSettings(host="127.0.0.1", port=0))
    await measure.start()
    settings = CollectorSettings(
        data=folder / "collector",
        listen=Listen("127.0.0.1", 0),
        measurement_url=measure.url.replace("http://", "ws://"),
    )
    settings.data.mkdir()
    collector = collector_app.build(settings)
    await collector.start()
    try:
        yield Running(collector, settings.data)
    finally:
        await collector.stop()
        await measure.stop(drain_s=0)


async def make_token(data: Path) -> str:
    """Make a join token as an operator does, beside the running collector."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "linkbell-collector"),
        *("tokens", "create", "--data", str(data), "--school", SCHOOL, "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return str(json.loads(printed)["token"])


@asynccontextmanager
async def measuring(folder: Path, here: Running) -> AsyncIterator["asyncio.Queue[Record]"]:
    """Enrol and run an agent; yield the records as it keeps them."""
    settings = AgentSettings(
        state=folder / "agent",
        default_targets=False,
        targets=[TargetSettings(name="here", layer=Layer.GATEWAY, host="127.0.0.1")],
        ping=PingSettings(interval_s=10, count=2),
        speed=SpeedSettings(max_duration_s=1.5),
        report=ReportSettings(interval_s=1),
    )
    request = EnrolRequest(token=await make_token(here.data))
    await agent_app.enrol_with(settings, here.collector.url, request, again=False)
    records: asyncio.Queue[Record] = asyncio.Queue()
    agent = agent_app.build(settings, speed_now=True, on_record=records.put_nowait)
    task = asyncio.create_task(agent_app.run(agent))
    try:
        yield records
    finally:
        agent.runner.stop()
        async with asyncio.timeout(5):
            await task


async def first_results(records: "asyncio.Queue[Record]") -> tuple[list[PingRecord], SpeedRecord]:
    """Return the first speed test and the pings there were by then, at least one."""
    pings: list[PingRecord] = []
    speed: SpeedRecord | None = None
    async with asyncio.timeout(40):
        while not pings or speed is None:
            record = await records.get()
            if isinstance(record, PingRecord):
                pings.append(record)
            elif isinstance(record, SpeedRecord):
                speed = record
    return pings, speed


def pings_since(records: "asyncio.Queue[Record]") -> Iterator[PingRecord]:
    """Yield what was pinged since: the agent goes on meanwhile, and keeps a record before it sends it."""
    while not records.empty():
        record = records.get_nowait()
        if isinstance(record, PingRecord):
            yield record


async def test_prometheus_answers_with_the_speed_the_agent_just_measured(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        scrapes = (
            "  - job_name: schools\n    metrics_path: /metrics/schools\n"
            f"    static_configs: [{{ targets: ['127.0.0.1:{here.collector.port}'] }}]\n"
            "  - job_name: collector\n"
            f"    static_configs: [{{ targets: ['127.0.0.1:{here.collector.port}'] }}]\n"
        )
        async with prometheus(tmp_path, scrapes) as server, measuring(tmp_path, here) as records:
            pings, speed = await first_results(records)
            for direction, result in (("download", speed.download), ("upload", speed.upload)):
                assert result is not None
                assert result.bps is not None
                found = await server.wait_for(f'linkbell_{direction}_bytes_per_second{{school="{SCHOOL}"}}')
                assert [float(series["value"][1]) for series in found] == [result.bps / 8]
                assert found[0]["metric"]["uplink"] == "main"
            found = await server.wait_for(f'linkbell_ping_rtt_seconds{{school="{SCHOOL}", target="here"}}')
            assert float(found[0]["value"][1]) in {ping.rtt_mean_s for ping in (*pings, *pings_since(records))}
            for job in ("schools", "collector"):
                assert await server.wait_for(f'up{{job="{job}"}} == 1')
            assert await server.wait_for('linkbell_collector_records_total{outcome="stored"} >= 3')
        page = await asyncio.to_thread(fetch, f"{here.collector.url}/")
        assert SCHOOL in page


async def test_live_state_is_the_same_after_a_restart_of_the_collector(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        async with measuring(tmp_path, here) as records:
            await first_results(records)
        # The agent has stopped and sent its last: nothing changes any more.
        before = await asyncio.to_thread(fetch, f"{here.collector.url}/metrics/schools")
    restarted = collector_app.build(CollectorSettings(data=tmp_path / "collector", listen=Listen("127.0.0.1", 0)))
    await restarted.start()
    try:
        after = await asyncio.to_thread(fetch, f"{restarted.url}/metrics/schools")
    finally:
        await restarted.stop()
    for name in (
        "linkbell_ping_rtt_seconds{",
        "linkbell_download_bytes_per_second{",
        "linkbell_upload_bytes_per_second{",
    ):
        assert name in before
    assert sorted(before.splitlines()) == sorted(after.splitlines())
