"""A real agent obeys what is set at its collector: floor and budget at once, hours and holidays as they change."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from linkbell_agent.configuration import read_kept_configuration
from linkbell_agent.plan import Plan, Surroundings, make_plan
from linkbell_agent.schedule.slots import Kind, slots_of
from linkbell_agent.sections import Settings as AgentSettings
from linkbell_wire.records import CheckRecord, EventRecord, Record, SkipRecord
from linkbell_wire.words import EventName, SkipReason
from tests.collector.process import run_command
from tests.end_to_end.test_the_whole_way import SCHOOL, measuring, running


async def run_here(*arguments: str | Path) -> None:
    """Run one command of an operator's, beside the running collector."""
    done = await asyncio.to_thread(run_command, *arguments)
    assert done.returncode == 0, done.stderr


async def until(records: "asyncio.Queue[Record]", found: type[Record], limit_s: float = 30) -> Record:
    async with asyncio.timeout(limit_s):
        while not isinstance(record := await records.get(), found):
            pass
    return record


async def applied(records: "asyncio.Queue[Record]") -> None:
    """Wait until the agent says that a configuration is in force."""
    while True:
        event = await until(records, EventRecord)
        assert isinstance(event, EventRecord)
        if event.event is EventName.CONFIGURATION_APPLIED:
            return


def plan_in_force(state: Path) -> Plan:
    """Return what a running agent goes by: the configuration it keeps, as it merges it with its settings."""
    configuration = read_kept_configuration(state)
    assert configuration is not None
    return make_plan(AgentSettings(state=state), configuration, Surroundings(None, [], None))


async def test_an_agent_keeps_the_floor_the_budget_the_hours_and_the_holidays_of_its_collector(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        data = ("--data", here.data)
        await run_here(
            *("schools", "add", SCHOOL, "--region", "Almaty", "--download-floor", "3M"),
            *("--budget", "10M", "--check-interval", "600", *data),
        )
        async with measuring(tmp_path, here) as records:
            # A full test does not fit ten megabytes a month: a floor check comes in its place, at the school's floor.
            skip = await until(records, SkipRecord)
            assert isinstance(skip, SkipRecord)
            assert (skip.skipped, skip.reason) == ("speed", SkipReason.BUDGET)
            check = await until(records, CheckRecord)
            assert isinstance(check, CheckRecord)
            assert check.floor_bps == 3e6
            plan = plan_in_force(tmp_path / "agent")
            assert plan.budget.bytes_per_month == 10_000_000
            assert plan.check_interval_s == 600
            today = datetime.now(UTC).date()
            holidays = f"{today - timedelta(days=2)}/{today + timedelta(days=2)}"
            await run_here(
                *("regions", "set", "Almaty", "--hours", "09:10-10:20", "--holidays", holidays),
                *("--weekdays", "mon-sun", "--timezone", "Asia/Almaty", *data),
            )
            await applied(records)
            plan = plan_in_force(tmp_path / "agent")
            timetable = plan.timetable(Kind.CHECK_DOWNLOAD)
            assert timetable is not None
            assert [slot.is_closed for slot in slots_of(timetable, today)] == [True]
            open_day = slots_of(timetable, today + timedelta(days=3))
            assert len(open_day) == 7
            assert open_day[0].start.astimezone(UTC).strftime("%H:%M") == "04:10"
            await run_here("schools", "set", SCHOOL, "--download-floor", "4M", *data)
            await applied(records)
            assert set(plan_in_force(tmp_path / "agent").floors.values()) == {4e6}
