"""The life of a box across runs and boots, with the file on a real disk."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from linkbell_agent.life import LIFE_FILE, MAX_BOOTS, SIGHTING_INTERVAL_S, Life
from linkbell_agent.past_boots import Event
from linkbell_wire.records import RECORD_ADAPTER
from linkbell_wire.words import ClockQuality, EventName
from tests.agent.fakes import START, BootingClock, ping_record


def names(events: list[Event]) -> list[EventName]:
    return [name for name, _ in events]


async def begun(life: Life) -> list[Event]:
    events = life.look_back()
    await life.begin()
    return events


async def test_a_run_that_ended_well_a_crash_and_a_power_cut_are_told_apart(tmp_path: Path) -> None:
    clock = BootingClock("a")
    life = Life(clock, tmp_path)
    assert names(await begun(life)) == [EventName.START]
    await life.end()
    again = Life(clock, tmp_path)
    ((_, details),) = await begun(again)
    assert "unclean" not in details
    ((_, details),) = await begun(Life(clock, tmp_path))
    assert details["unclean"] is True
    clock.boot("b", START + timedelta(hours=1))
    events = await begun(Life(clock, tmp_path))
    assert names(events) == [EventName.BOOT, EventName.POWER_GAP, EventName.START]
    assert events[1][1]["gap_s"] == 3600.0


async def test_a_run_is_seen_every_ten_minutes_and_the_disk_left_alone_between(tmp_path: Path) -> None:
    clock = BootingClock("a")
    life = Life(clock, tmp_path)
    await life.begin()
    written = set()
    for _ in range(int(86_400 / 10)):
        clock.advance(10)
        await life.tick()
        written.add((tmp_path / LIFE_FILE).read_bytes())
    assert len(written) == pytest.approx(86_400 / SIGHTING_INTERVAL_S, abs=2)
    assert {len(content) for content in written} == {1024}
    clock.boot("b", START + timedelta(days=2))
    events = await begun(Life(clock, tmp_path))
    gap_s = events[1][1]["gap_s"]
    assert isinstance(gap_s, float)
    assert 86_400 <= gap_s <= 86_400 + SIGHTING_INTERVAL_S


@pytest.mark.parametrize("years", [10, -10])
async def test_a_step_of_ten_years_is_one_event(tmp_path: Path, years: int) -> None:
    clock = BootingClock("a")
    life = Life(clock, tmp_path)
    await life.begin()
    clock.advance(10)
    assert await life.tick() == []
    clock.step(timedelta(days=3652 * years / 10), synced=False)
    ((name, details),) = await life.tick()
    assert name is EventName.CLOCK_STEPPED
    assert details == {
        "offset_s": 3652 * 86_400.0 * years / 10,
        "direction": "forward" if years > 0 else "backward",
        "synced": False,
    }
    clock.advance(10)
    assert await life.tick() == []


async def test_what_was_measured_before_the_time_was_known_is_dated_in_the_next_boot(tmp_path: Path) -> None:
    clock = BootingClock("a", wall=datetime(1970, 1, 1, tzinfo=UTC), is_synced=False)
    life = Life(clock, tmp_path)
    await life.begin()
    early = ping_record().model_copy(
        update={"boot_id": "a", "at": clock.now().wall, "boottime_s": 0.0, "clock": ClockQuality.UNSYNCED}
    )
    body = early.model_dump_json(exclude_none=True)
    clock.advance(3600)
    clock.step(START - clock.now().wall, synced=True)
    await life.tick()
    assert life.redate(body) == body, "the collector's clock is better as long as the boot is the same"
    clock.boot("b", datetime(1970, 1, 1, tzinfo=UTC), synced=False)
    next_life = Life(clock, tmp_path)
    await next_life.begin()
    dated = RECORD_ADAPTER.validate_json(next_life.redate(body))
    assert (dated.at, dated.clock) == (START - timedelta(hours=1), ClockQuality.SYNCED)


async def test_a_boot_that_never_knew_the_time_teaches_nothing(tmp_path: Path) -> None:
    clock = BootingClock("a", is_synced=False)
    life = Life(clock, tmp_path)
    await life.begin()
    clock.advance(SIGHTING_INTERVAL_S)
    await life.tick()
    record = ping_record().model_copy(update={"boot_id": "a", "clock": ClockQuality.UNSYNCED})
    body = record.model_dump_json(exclude_none=True)
    clock.boot("b", START + timedelta(days=1), synced=True)
    assert Life(clock, tmp_path).redate(body) == body


async def test_only_the_newest_boots_are_remembered(tmp_path: Path) -> None:
    clock = BootingClock("a")
    for number in range(2 * MAX_BOOTS):
        clock.boot(f"boot-{number}", START + timedelta(days=number))
        await begun(Life(clock, tmp_path))
    life = Life(clock, tmp_path)
    assert list(life._booted) == [f"boot-{number}" for number in range(MAX_BOOTS, 2 * MAX_BOOTS)]
    assert (tmp_path / LIFE_FILE).stat().st_size == 1024


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b'{"wall": 3}', bytes(1024)])
async def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIFE_FILE).write_bytes(content)
    assert names(await begun(Life(BootingClock("a"), tmp_path))) == [EventName.START]


async def test_a_disk_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = BootingClock("a")
    life = Life(clock, tmp_path / "no such folder")
    assert names(await begun(life)) == [EventName.START]
    for _ in range(3):
        clock.advance(SIGHTING_INTERVAL_S)
        await life.tick()
    assert len(caplog.messages) == 1
