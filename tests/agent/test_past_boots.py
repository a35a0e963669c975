"""Boots, power cuts and clocks, as tables: what is said of them and which times are believed."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from linkbell_agent.past_boots import Sighting, StepDetector, events_at_start, redated
from linkbell_wire.records import RECORD_ADAPTER
from linkbell_wire.words import ClockQuality, EventName
from tests.agent.fakes import START, ping_record

TEN_YEARS_S = 10 * 365.25 * 86_400
DAY_S = 86_400.0

# Each look: seconds that the wall clock moved, seconds that CLOCK_BOOTTIME moved, and the step that is reported.
Look = tuple[float, float, float | None]
STEPS: dict[str, list[Look]] = {
    "time passes": [(10, 10, None)] * 5,
    "a night of sleep, which both clocks count": [(10, 10, None), (8 * 3600, 8 * 3600, None), (10, 10, None)],
    "a resume that a coarse hardware clock puts off by a second": [(8 * 3600 + 1, 8 * 3600, None), (10, 10, None)],
    "slewing moves both": [(10.005, 10.005, None)] * 100,
    "ten years forward": [(10, 10, None), (TEN_YEARS_S, 10, TEN_YEARS_S - 10), (10, 10, None)],
    "ten years back": [(10, 10, None), (-TEN_YEARS_S, 10, -TEN_YEARS_S - 10), (10, 10, None)],
    "there and back": [(3610, 10, 3600), (10, 10, None), (-3590, 10, -3600), (10, 10, None)],
    "a leap second is no step": [(9, 10, None), (10, 10, None)],
    "small steps add up": [(11.5, 10, None), (11.5, 10, 3.0), (11.5, 10, None)],
    "a step during sleep": [(DAY_S + 600, DAY_S, 600)],
}


@pytest.mark.parametrize("looks", STEPS.values(), ids=STEPS.keys())
def test_steps_and_nothing_else_are_seen(looks: list[Look]) -> None:
    detector = StepDetector()
    wall, boottime_s = START, 100.0
    assert detector.look(wall, boottime_s) is None
    for wall_s, boot_s, expected in looks:
        wall += timedelta(seconds=wall_s)
        boottime_s += boot_s
        assert detector.look(wall, boottime_s) == (None if expected is None else pytest.approx(expected, abs=1e-3))


def seen(boot_id: str, boottime_s: float, wall: datetime, *, synced: bool | None = True, stopped: bool) -> Sighting:
    return Sighting(boot_id, boottime_s, wall, synced, stopped)


NOW = seen("b", 40.0, START, stopped=False)
BEFORE = START - timedelta(hours=2)


def test_a_first_start_has_nothing_to_say_of_before() -> None:
    assert events_at_start(None, NOW, "1") == [(EventName.START, {"version": "1"})]


def test_a_restart_in_good_order_is_a_start() -> None:
    last = seen("b", 10.0, BEFORE, stopped=True)
    assert events_at_start(last, NOW, "1") == [(EventName.START, {"version": "1"})]


def test_a_restart_after_a_crash_says_so_and_since_when_nobody_knows() -> None:
    (event,) = events_at_start(seen("b", 10.0, BEFORE, stopped=False), NOW, "1")
    assert event[0] is EventName.START
    assert event[1]["unclean"] is True
    assert event[1]["last_seen"] == "2026-03-02T02:00:00.000Z"


def test_a_shutdown_in_good_order_is_a_boot_and_no_power_gap() -> None:
    events = events_at_start(seen("a", 10.0, BEFORE, stopped=True), NOW, "1")
    assert [name for name, _ in events] == [EventName.BOOT, EventName.START]
    assert events[0][1] == {"uptime_s": 40.0, "stopped": True}


@pytest.mark.parametrize(
    ("then", "now", "gap_s"),
    [
        (True, True, 2 * 3600 - 40.0),
        (False, True, None),
        (True, False, None),
        (None, True, None),
        (True, None, None),
    ],
)
def test_a_power_cut_says_how_long_if_both_clocks_were_right(
    then: bool | None, now: bool | None, gap_s: float | None
) -> None:
    last = seen("a", 5000.0, BEFORE, synced=then, stopped=False)
    events = events_at_start(last, seen("b", 40.0, START, synced=now, stopped=False), "1")
    assert [name for name, _ in events] == [EventName.BOOT, EventName.POWER_GAP, EventName.START]
    assert events[1][1]["gap_s"] == gap_s


def test_a_gap_that_would_be_negative_is_not_known() -> None:
    last = seen("a", 5000.0, START + timedelta(days=1), stopped=False)
    assert events_at_start(last, NOW, "1")[1][1]["gap_s"] is None


def body_of(boot_id: str, quality: ClockQuality | None) -> str:
    at = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    record = ping_record().model_copy(update={"boot_id": boot_id, "clock": quality, "at": at, "boottime_s": 300.0})
    return record.model_dump_json(exclude_none=True)


def test_a_record_of_an_earlier_boot_gets_the_time_that_boot_learned_later() -> None:
    body = redated(body_of("a", ClockQuality.UNSYNCED), "b", {"a": START.timestamp()})
    record = RECORD_ADAPTER.validate_json(body)
    assert (record.at, record.clock) == (START + timedelta(seconds=300), ClockQuality.SYNCED)
    before = json.loads(body_of("a", ClockQuality.UNSYNCED))
    assert {**json.loads(body), "at": before["at"], "clock": before["clock"]} == before


@pytest.mark.parametrize(
    ("boot_id", "quality", "known"),
    [
        ("a", ClockQuality.UNSYNCED, {}),
        ("a", ClockQuality.UNSYNCED, {"other": 1.7e9}),
        ("a", ClockQuality.SYNCED, {"a": 1.7e9}),
        ("a", None, {"a": 1.7e9}),
        ("b", ClockQuality.UNSYNCED, {"b": 1.7e9}),
        ("a", ClockQuality.UNSYNCED, {"a": 1e12}),
    ],
)
def test_every_other_record_stays_as_it_is(boot_id: str, quality: ClockQuality | None, known: dict[str, float]) -> None:
    body = body_of(boot_id, quality)
    assert redated(body, "b", known) == body
