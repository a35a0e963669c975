"""From a box with wrong clocks, or another name, to the collector: times are true or marked, and nothing is lost."""

import asyncio
import json
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from linkbell_agent.app import enrol_with
from linkbell_agent.collector_api import HttpCollectorApi
from linkbell_agent.identity import read_identity
from linkbell_agent.life import Life
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.retry import Backoff
from linkbell_agent.sections import Settings as AgentSettings
from linkbell_agent.sender import REFUSED_WAIT_S, Sender
from linkbell_agent.spool import Limits, Spool
from linkbell_agent.spool_file import SpoolFile
from linkbell_collector import app as collector_app
from linkbell_collector.clock import to_us
from linkbell_collector.domain import TimeQuality
from linkbell_collector.settings import Settings as CollectorSettings
from linkbell_collector.values import Listen
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.records import PingRecord
from linkbell_wire.words import Layer, PingMethod
from tests.agent.fakes import START, BootingClock
from tests.collector.support import FakeClock
from tests.end_to_end.prometheus import fetch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class World:
    """A real collector whose clock is right, and a box whose clock is what it is told to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.right = FakeClock(to_us(START))
        self.clock = BootingClock("boot-a")
        self.state = folder / "agent"
        self.state.mkdir()
        self.settings = AgentSettings(state=self.state)
        data = folder / "collector"
        data.mkdir()
        settings = CollectorSettings(data=data, listen=Listen("127.0.0.1", 0))
        self.collector = collector_app.build(settings, clock=self.right)
        self._apis: list[HttpCollectorApi] = []
        self.start()

    def start(self) -> None:
        """Begin a run of the agent."""
        self.life = Life(self.clock, self.state)
        self.spool = Spool(
            lambda: SpoolFile(self.state / "spool.db"), uuid4(), self.clock, Limits(), amend=self.life.redate
        )

    async def boot(self, name: str, wall: datetime, *, synced: bool) -> None:
        """Cut the power after the spool was written, and start the box again."""
        await self.spool.close()
        self.clock.boot(name, wall, synced=synced)
        self.start()
        await self.spool.open()
        await self.life.begin()

    async def command(self, *arguments: str) -> bytes:
        """Run a command of the collector's operator."""
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "linkbell-collector"), *arguments),
            *("--data", str(self.folder / "collector")),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed

    async def enrol(self, school: str = "s-1") -> str:
        """Enrol the box, again if need be, and return the agent it is."""
        token = json.loads(await self.command("tokens", "create", "--school", school, "--json"))["token"]
        await enrol_with(self.settings, self.collector.url, EnrolRequest(token=token), again=True)
        identity = read_identity(self.state)
        assert identity is not None
        return identity.agent

    def sender(self) -> Sender:
        identity = read_identity(self.state)
        assert identity is not None
        self._apis.append(HttpCollectorApi(self.collector.url))
        return Sender(
            self.spool,
            self._apis[-1],
            identity.credential.get_secret_value(),
            self.clock,
            Backoff(random.Random(1)),
            batch_records=60,
            agent=identity.agent,
        )

    async def until_refused(self) -> None:
        """Return once the running collector knows what the operator's command has changed."""
        identity = read_identity(self.state)
        assert identity is not None
        headers = {"Authorization": f"Bearer {identity.credential.get_secret_value()}"}
        api = HttpCollectorApi(self.collector.url)
        async with asyncio.timeout(20):
            while (await api.request("GET", "/api/v1/agent/config", headers)).status != 403:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        api.close()

    def ping(self, rtt_s: float = 0.01) -> None:
        """Measure."""
        self.spool.append(
            PingRecord(
                **ProbeContext(Uplink(), self.clock).stamp(),
                target="gateway",
                layer=Layer.GATEWAY,
                host="192.0.2.1",
                method=PingMethod.ICMP,
                sent=1,
                received=1,
                rtt_min_s=rtt_s,
                rtt_mean_s=rtt_s,
                rtt_p95_s=rtt_s,
                rtt_max_s=rtt_s,
            )
        )

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.right.advance(seconds)

    def kept(self) -> list[tuple[datetime, TimeQuality]]:
        """Return when the collector believes its records were, in the order of their making."""
        with closing(sqlite3.connect(self.folder / "collector" / "collector.sqlite3")) as connection:
            rows = connection.execute("SELECT at_us, clock FROM records ORDER BY at_us").fetchall()
        return [(EPOCH + timedelta(microseconds=at_us), TimeQuality(clock)) for at_us, clock in rows]

    async def metric(self, name: str) -> list[float]:
        text = await asyncio.to_thread(fetch, f"{self.collector.url}/metrics/schools")
        return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{")]

    async def stop(self) -> None:
        await self.spool.close()
        for api in self._apis:
            api.close()
        await self.collector.stop()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.collector.start()
    await world.enrol()
    await world.spool.open()
    yield world
    await world.stop()


def near(moment: datetime, expected: datetime) -> bool:
    return abs(moment - expected) < timedelta(seconds=0.1)


async def test_a_box_that_believes_it_is_1970_reports_true_times(world: World) -> None:
    world.clock.step(EPOCH - START, synced=False)
    world.ping()
    world.pass_time(300)
    assert await world.sender().send_waiting() is None
    ((at, quality),) = world.kept()
    assert near(at, START)
    assert quality is TimeQuality.REDATED


@pytest.mark.parametrize("years", [10, -10])
async def test_a_step_of_ten_years_while_running_moves_no_record(world: World, years: int) -> None:
    world.ping()
    world.pass_time(60)
    world.clock.step(timedelta(days=3652 * years / 10), synced=False)
    world.ping()
    world.pass_time(60)
    await world.sender().send_waiting()
    assert [near(at, START + timedelta(seconds=60 * number)) for number, (at, _) in enumerate(world.kept())] == [
        True,
        True,
    ]
    (offset_s,) = await world.metric("linkbell_agent_clock_offset_seconds")
    assert offset_s == pytest.approx(3652 * 86_400 * years / 10, abs=1)


async def test_a_boot_that_never_saw_the_right_time_is_marked_and_never_shown_as_the_present(world: World) -> None:
    world.clock.step(EPOCH - START, synced=False)
    world.ping()
    world.pass_time(600)
    await world.boot("boot-b", EPOCH, synced=False)
    await world.sender().send_waiting()
    ((at, quality),) = world.kept()
    assert (at.year, quality) == (1970, TimeQuality.UNSYNCED)
    assert await world.metric("linkbell_ping_rtt_seconds") == []


async def test_a_boot_that_saw_it_late_is_dated_right_after_the_next_power_cut(world: World) -> None:
    world.clock.step(EPOCH - START, synced=False)
    world.ping()
    world.pass_time(600)
    world.clock.step(START - EPOCH, synced=True)
    await world.life.tick()
    await world.boot("boot-b", EPOCH, synced=False)
    world.pass_time(60)
    await world.sender().send_waiting()
    ((at, quality),) = world.kept()
    assert near(at, START)
    assert quality is TimeQuality.SYNCED


async def test_history_that_comes_late_does_not_move_the_present_backwards(world: World) -> None:
    for _ in range(100):
        world.ping(rtt_s=0.9)
        world.pass_time(60)
    await world.spool.flush()
    world.ping(rtt_s=0.02)
    assert await world.sender().send_waiting() is None
    assert world.spool.waiting == 0
    assert len(world.kept()) == 101
    assert await world.metric("linkbell_ping_rtt_seconds") == [0.02]
    assert await world.metric("linkbell_agent_records_lost") == [0]


async def test_numbers_that_wait_while_later_ones_have_come_are_no_loss_at_any_moment(world: World) -> None:
    for _ in range(300):
        world.ping()
        world.pass_time(60)
    await world.spool.flush()
    sender = world.sender()
    for _ in range(3):
        world.ping()
        batch = await world.spool.next_batch(60)
        assert batch is not None
        assert await sender._send(batch) is None
        assert await world.metric("linkbell_agent_records_lost") == [0]


async def test_a_revoked_box_keeps_everything_and_delivers_it_once_enrolled_again(world: World) -> None:
    world.ping()
    await world.sender().send_waiting()
    for _ in range(100):
        world.ping()
    await world.spool.flush()
    world.ping()
    identity = read_identity(world.state)
    assert identity is not None
    await world.command("agents", "revoke", identity.agent)
    await world.until_refused()
    assert await world.sender().send_waiting() == REFUSED_WAIT_S
    assert world.spool.waiting == 101
    assert await world.enrol() == identity.agent, "the same box at the same school is the same agent"
    assert await world.sender().send_waiting() is None
    assert (world.spool.waiting, len(world.kept())) == (0, 102)
    assert await world.metric("linkbell_agent_records_lost") == [0]


async def test_what_was_measured_at_one_school_is_never_sent_as_anothers(world: World) -> None:
    for _ in range(10):
        world.ping()
    await world.sender().send_waiting()
    for _ in range(50):
        world.ping()
    before = read_identity(world.state)
    assert before is not None
    after = await world.enrol("s-2")
    assert after != before.agent
    world.ping()
    sender = world.sender()
    assert await sender.send_waiting() is None
    world.ping()
    assert await sender.send_waiting() is None
    aside = SpoolFile(world.state / f"spool.db.of-{before.agent}-1")
    assert len(aside) == 51, "kept, for whoever wants them"
    aside.close()
    assert len(world.kept()) == 11
    assert await world.metric("linkbell_agent_records_lost") == [0, 0]
    world.start()
    await world.spool.open()
    world.ping()
    assert await world.sender().send_waiting() is None
    assert len(world.kept()) == 12
