"""Tests in their slots, day after day, on a told clock: one result a slot, whatever fails, stops or is closed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from linkbell_agent.done_file import FILE, DoneFile
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.rounds import Asked, Rounds, Work
from linkbell_agent.schedule.calendar import SchoolCalendar
from linkbell_agent.schedule.slots import Kind, Timetable, slots_of
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import Record, SkipRecord, SpeedRecord, SpeedResult
from linkbell_wire.words import Engine, SkipReason, Stop, Trigger
from tests.agent.fakes import ToldClock

MONDAY = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
THREE = Timetable(Kind.SPEED, SchoolCalendar(), per_day=3)
GOOD = SpeedResult(bps=1e6, bytes=1000, duration_s=1, stop=Stop.TIME)


class OverError(Exception):
    """The time of a test is up."""


@dataclass
class School:
    """An agent's full tests, run until a moment at a time, as often as it is started."""

    folder: Path
    clock: ToldClock = field(default_factory=lambda: ToldClock(MONDAY))
    timetable: Timetable | None = THREE
    has_server: bool = True
    failing: Callable[[int], FailureCode | None] = lambda attempt: None
    asked_s: float | None = None
    records: list[Record] = field(default_factory=list)
    tries: list[datetime] = field(default_factory=list)
    until: datetime = MONDAY

    async def run(self, days: float, *, first_at_once: bool = False) -> None:
        self.until = self.clock.now().wall + timedelta(days=days)
        work = Work(
            Kind.SPEED,
            lambda: self.timetable,
            lambda: self.has_server,
            self.measure,
            first_at_once=first_at_once,
            sleep=self.sleep,
        )
        context = ProbeContext(Uplink(), self.clock)
        file = DoneFile(self.folder, self.clock.monotonic)
        with pytest.raises(OverError):
            await Rounds(work, context, file, "agent-1", self.records.append).run()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.clock.advance(seconds)
        if self.clock.now().wall >= self.until:
            raise OverError

    async def measure(self, asked: Asked) -> Record:
        self.tries.append(self.clock.now().wall)
        code = self.failing(len(self.tries))
        self.clock.advance(25)
        asked.seconds = self.asked_s
        context = ProbeContext(Uplink(), self.clock)
        failure = None if code is None else Failure(operation=Operation.CONNECT, code=code)
        result = GOOD if code is None else SpeedResult(bytes=0, duration_s=0, failure=failure)
        return SpeedRecord(
            **context.stamp(), engine=Engine.NDT7, server="ws://192.0.2.7:8471", trigger=Trigger.SLOT, download=result
        )

    @property
    def speeds(self) -> list[SpeedRecord]:
        return [record for record in self.records if isinstance(record, SpeedRecord)]

    @property
    def skips(self) -> list[tuple[str, SkipReason, float | None]]:
        skips = (record for record in self.records if isinstance(record, SkipRecord))
        return [(f"{skip.at:%a}", skip.reason, skip.value) for skip in skips]


async def test_two_weeks_have_three_tests_a_school_day_and_one_skip_a_closed_one(tmp_path: Path) -> None:
    school = School(tmp_path)
    await school.run(days=14)
    days = Counter(f"{record.at:%m-%d %a}" for record in school.speeds)
    assert len(days) == 10
    assert set(days.values()) == {3}
    assert (
        school.skips
        == [
            ("Sat", SkipReason.CLOSED, None),
            ("Sun", SkipReason.CLOSED, None),
        ]
        * 2
    )


async def test_restarts_neither_repeat_nor_lose_a_slot(tmp_path: Path) -> None:
    school = School(tmp_path)
    for _ in range(5 * 24 * 2):
        await school.run(days=1 / 48)
    assert len(school.speeds) == 15
    assert school.skips == []


async def test_what_stays_broken_is_recorded_once_a_slot_after_three_tries(tmp_path: Path) -> None:
    school = School(tmp_path, failing=lambda attempt: FailureCode.NETWORK_UNREACHABLE)
    await school.run(days=1)
    assert len(school.speeds) == 3
    assert 7 <= len(school.tries) <= 9
    waits = [(later - sooner).total_seconds() for sooner, later in pairwise(school.tries[:2])]
    assert all(60 <= wait <= 180 + 25 + 1 for wait in waits)


async def test_what_mends_in_time_is_recorded_as_it_went_in_the_end(tmp_path: Path) -> None:
    school = School(tmp_path, failing=lambda attempt: FailureCode.SERVER_BUSY if attempt == 1 else None, asked_s=900)
    await school.run(days=1)
    assert [record.download and record.download.failure for record in school.speeds] == [None] * 3
    assert len(school.tries) == 4
    assert timedelta(seconds=900) <= school.tries[1] - school.tries[0] < timedelta(seconds=1400)


async def test_a_login_page_is_recorded_at_once(tmp_path: Path) -> None:
    school = School(tmp_path, failing=lambda attempt: FailureCode.CAPTIVE_PORTAL)
    await school.run(days=1)
    assert len(school.tries) == len(school.speeds) == 3


async def test_a_failure_that_waits_for_another_try_is_not_lost_at_a_stop(tmp_path: Path) -> None:
    school = School(tmp_path, failing=lambda attempt: FailureCode.TIMEOUT)
    while not school.tries:
        await school.run(days=1 / 1440)
    assert len(school.speeds) == 1
    school.failing = lambda attempt: None
    await school.run(days=1)
    assert len(school.speeds) == 3


async def test_a_test_that_kills_the_agent_is_tried_three_times_and_no_more(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def dies(attempt: int) -> FailureCode | None:
        raise Killed

    school = School(tmp_path, failing=dies)
    kept = tmp_path / FILE
    school.until = MONDAY + timedelta(hours=11, minutes=20)
    while school.clock.now().wall < MONDAY + timedelta(hours=11, minutes=20):
        before = kept.read_bytes() if kept.exists() else None
        try:
            await school.run(days=1 / 96)
        except Killed:
            assert kept.read_bytes() != before, "marked before the test began"
    assert len(school.tries) in (2, 3)


async def test_what_went_by_while_the_power_was_off_is_one_skip_that_says_how_many(tmp_path: Path) -> None:
    school = School(tmp_path)
    await school.run(days=1)
    school.clock.advance(17 * 3600)  # from Tuesday 00:00 to 17:00
    await school.run(days=7 / 24)
    assert school.skips == [("Tue", SkipReason.MISSED, 2)]
    assert len(school.speeds) in (3, 4), "what is left of the last slot is used"


async def test_a_clock_set_back_and_ahead_again_neither_repeats_nor_bursts(tmp_path: Path) -> None:
    school = School(tmp_path)
    await school.run(days=0.6)
    count = len(school.tries)
    school.clock.wall -= timedelta(hours=5)
    await school.run(days=1 / 24)
    assert len(school.tries) == count
    school.clock.wall += timedelta(hours=4)
    await school.run(days=0.4)
    assert len(school.speeds) == 3


async def test_a_box_that_never_learns_the_time_measures_three_times_a_day(tmp_path: Path) -> None:
    school = School(tmp_path, clock=ToldClock(datetime(1970, 1, 1, tzinfo=UTC), is_synced=False))
    await school.run(days=5)
    assert 14 <= len(school.speeds) <= 16
    assert school.skips == []


async def test_a_new_box_tests_as_soon_as_it_can_even_on_a_sunday(tmp_path: Path) -> None:
    sunday = School(tmp_path, clock=ToldClock(datetime(2026, 3, 8, 12, tzinfo=UTC)), has_server=False)
    await sunday.run(days=1 / 240, first_at_once=True)
    assert [reason for _, reason, _ in sunday.skips] == [SkipReason.NO_SERVER]
    sunday.has_server = True  # enrolled
    await sunday.run(days=1 / 240, first_at_once=True)
    assert len(sunday.speeds) == 1
    await sunday.run(days=1 / 240, first_at_once=True)
    assert len(sunday.speeds) == 1


class Switched(School):
    """Tests are off on Tuesday until three."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        now = self.clock.now().wall
        self.timetable = None if now.day == 3 and now.hour < 15 else THREE


async def test_nothing_is_tested_while_it_is_off_and_nothing_was_missed_then(tmp_path: Path) -> None:
    school = Switched(tmp_path)
    await school.run(days=2)
    assert Counter(record.at.day for record in school.speeds) == {2: 3, 3: 1}
    assert school.skips == []


async def test_a_state_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"main/speed": {"ever": 1, "days": 3}}')
    school = School(tmp_path)
    await school.run(days=1)
    assert len(school.speeds) == 3


def test_checks_are_written_down_every_ten_minutes_at_most(tmp_path: Path) -> None:
    clock, writes = ToldClock(MONDAY), 0
    file = DoneFile(tmp_path, clock.monotonic)
    content = b""
    for slot in slots_of(Timetable(Kind.CHECK_DOWNLOAD, SchoolCalendar(), interval_s=60), MONDAY.date()):
        for done in (file.get("x").begun(slot), file.get("x").begun(slot).served(slot)):
            file.put("x", done, soon=False)
            now = (tmp_path / FILE).read_bytes()
            writes, content = writes + (now != content), now
        clock.advance(60)
    assert 55 <= writes <= 62


async def test_of_a_new_installation_nothing_was_missed(tmp_path: Path) -> None:
    school = School(tmp_path, clock=ToldClock(MONDAY + timedelta(hours=15)))
    await school.run(0.2, first_at_once=True)
    assert not [record for record in school.records if isinstance(record, SkipRecord)]
    assert len(school.tries) == 1
