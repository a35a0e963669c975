"""Slots in a school's hours: one moment in each, spread over a fleet, right whatever clock and power do."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.schedule import phase
from linkbell_agent.schedule.calendar import SchoolCalendar, find_zone, read_ranges, week_of
from linkbell_agent.schedule.done import Done, dump, load
from linkbell_agent.schedule.slots import Agenda, Due, Kind, Present, Timetable, present, slots_of

ALMATY = find_zone("Asia/Almaty")
BERLIN = find_zone("Europe/Berlin")
assert ALMATY is not None
assert BERLIN is not None
DAY = date(2026, 3, 2)  # a Monday
USUAL = SchoolCalendar()
THREE = Timetable(Kind.SPEED, USUAL, per_day=3)
CHECKS = Timetable(Kind.CHECK_DOWNLOAD, USUAL, interval_s=1800)
BOOT = "11111111-2222"
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


def agenda(timetable: Timetable = THREE, seed: str = "agent-1") -> Agenda:
    return Agenda(seed, "main", timetable)


def at(text: str) -> Present:
    return Present(datetime.fromisoformat(f"{text}+00:00"))


def due(asked: Agenda, now: Present, done: Done, previous: Due | None = None) -> Due:
    found = asked.next_due(now, done, previous)
    assert found is not None
    return found


# --- slots


def test_a_day_is_cut_into_equal_parts_of_its_open_time() -> None:
    slots = slots_of(THREE, DAY)
    assert [f"{slot.start:%H:%M}-{slot.end:%H:%M}" for slot in slots] == ["08:00-11:20", "11:20-14:40", "14:40-18:00"]
    assert [slot.key for slot in slots] == ["2026-03-02/0of3", "2026-03-02/1of3", "2026-03-02/2of3"]


def test_a_break_between_shifts_lies_inside_a_slot_and_has_no_moment() -> None:
    shifts = replace(USUAL, week=week_of("mon-sat", "08:00-13:00, 14:00-19:00"))
    middle = slots_of(replace(THREE, calendar=shifts), DAY)[1]
    assert [f"{piece.start:%H:%M}-{piece.end:%H:%M}" for piece in middle.pieces] == ["11:20-13:00", "14:00-15:40"]
    moments = [middle.moment(share / 100, middle.start) for share in range(100)]
    assert all(shifts.is_open(moment) for moment in moments)
    assert middle.moment(0.5, middle.start) == datetime(2026, 3, 2, 14, tzinfo=UTC)
    assert middle.moment(0.0, datetime(2026, 3, 2, 13, 30, tzinfo=UTC)) == datetime(2026, 3, 2, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "interval_s", "count"),
    [(DAY, 1800, 20), (DAY, 3600, 10), (DAY, 7000, 5), (DAY, 86_400, 1), (date(2026, 3, 29), 1800, 20)],
)
def test_checks_have_a_slot_for_each_interval_of_the_open_time(day: date, interval_s: float, count: int) -> None:
    calendar = SchoolCalendar(BERLIN or UTC, week_of("mon-sun", "08:00-18:00"))
    assert len(slots_of(replace(CHECKS, calendar=calendar, interval_s=interval_s), day)) == count


@pytest.mark.parametrize(("day", "count"), [(date(2026, 3, 29), 46), (date(2026, 10, 25), 50)])
def test_a_day_of_23_or_25_hours_has_fewer_or_more_checks(day: date, count: int) -> None:
    calendar = SchoolCalendar(BERLIN or UTC, week_of("mon-sun", "00:00-24:00"))
    slots = slots_of(replace(CHECKS, calendar=calendar), day)
    assert len(slots) == count
    assert {slot.end - slot.start for slot in slots} == {30 * MINUTE}


def test_a_closed_day_has_one_slot_to_say_so_or_none() -> None:
    saturday = date(2026, 3, 7)
    (closed,) = slots_of(THREE, saturday)
    assert (closed.is_closed, closed.end - closed.start) == (True, 24 * HOUR)
    assert slots_of(replace(THREE, says_closed=False), saturday) == ()


zones = st.sampled_from(["UTC", "Asia/Almaty", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo"])
hours = st.sampled_from(
    ["08:00-18:00", "00:00-24:00", "18:00-01:30", "08:00-13:00, 14:00-19:30", "01:00-02:30, 03:00-04:00"]
)


@given(st.dates(date(2026, 1, 1), date(2035, 1, 1)), zones, hours, st.integers(1, 288))
def test_slots_fill_the_open_time_in_order_without_gap_or_overlap(
    day: date, zone: str, text: str, per_day: int
) -> None:
    calendar = SchoolCalendar(find_zone(zone) or UTC, week_of("mon-sun", text))
    slots = slots_of(replace(THREE, calendar=calendar, per_day=per_day), day)
    pieces = [piece for slot in slots for piece in slot.pieces]
    assert all(first.end <= second.start for first, second in itertools.pairwise(pieces))
    total = sum((piece.end - piece.start for piece in pieces), timedelta())
    assert total == sum((span.end - span.start for span in calendar.open_spans(day)), timedelta())
    lengths = [sum((piece.end - piece.start for piece in slot.pieces), timedelta()) for slot in slots]
    assert max(lengths) - min(lengths) <= timedelta(microseconds=1)


# --- moments


@given(st.datetimes(datetime(2026, 1, 2), datetime(2036, 1, 1), timezones=st.just(UTC)), st.text(max_size=8), zones)  # noqa: DTZ001
def test_the_next_moment_lies_in_open_hours_and_not_in_the_past(now: datetime, seed: str, zone: str) -> None:
    calendar = SchoolCalendar(find_zone(zone) or UTC, week_of("mon-fri", "08:00-18:00"))
    timetable = replace(THREE, calendar=calendar, says_closed=False)
    found = due(agenda(timetable, seed), Present(now), Done())
    assert now <= found.moment < found.slot.end
    assert calendar.is_open(found.moment)


def test_a_moment_is_the_same_at_each_asking_and_after_a_restart() -> None:
    first = due(agenda(), at("2026-03-02T06:00"), Done())
    later = at("2026-03-02T07:59:59")
    assert due(agenda(), later, Done()) == due(agenda(), later, Done(), first) == first


def test_moments_differ_by_agent_uplink_kind_day_and_slot() -> None:
    start = at("2026-03-02T07:00")
    first = due(agenda(), start, Done())
    others = [
        due(agenda(seed="agent-2"), start, Done()),
        due(Agenda("agent-1", "backup", THREE), start, Done()),
        due(agenda(replace(THREE, kind=Kind.CHECK_UPLOAD)), start, Done()),
        due(agenda(), at("2026-03-03T07:00"), Done()),
        due(agenda(), start, Done().served(first.slot)),
    ]
    offsets = {(one.moment - one.slot.start) for one in (first, *others)}
    assert len(offsets) == len(others) + 1


@pytest.mark.parametrize("timetable", [THREE, CHECKS], ids=["full tests", "checks"])
def test_a_fleet_of_ten_thousand_spreads_evenly(timetable: Timetable, capsys: pytest.CaptureFixture[str]) -> None:
    slots, fleet = slots_of(timetable, DAY), 10_000
    minutes: Counter[int] = Counter()
    for number in range(fleet):
        asked, done = agenda(timetable, f"agent-{number:05}"), Done()
        for slot in slots:
            found = due(asked, Present(slot.start), done)
            assert found.slot == slot
            minutes[(found.moment - slots[0].start) // MINUTE] += 1
    mean = fleet * len(slots) / 600
    with capsys.disabled():
        ratio = max(minutes.values()) / mean
        print(f"\n{timetable.kind}: {mean:.0f} a minute on average, {max(minutes.values())} at most ({ratio:.2f})")
    assert len(minutes) == 600, "every minute of the school day has its share"
    assert max(minutes.values()) <= 2 * mean


def test_phases_fill_the_interval() -> None:
    phases = [phase(f"agent-{number}", 60.0) for number in range(1000)]
    assert 0 <= min(phases) < 1
    assert 59 < max(phases) < 60


# --- power cuts


def test_a_slot_whose_moment_went_by_is_served_in_what_is_left_of_it() -> None:
    first = due(agenda(), at("2026-03-02T06:00"), Done())
    late = Present(first.moment + SECOND)
    found = due(agenda(), late, Done())
    assert found.slot == first.slot
    assert late.now <= found.moment < first.slot.end
    # Asked again it does not run ahead of whoever waits for it.
    assert due(agenda(), Present(late.now + MINUTE), Done(), found) == found


def test_boxes_that_get_their_power_back_together_do_not_test_together() -> None:
    back = at("2026-03-02T11:00")
    minutes = Counter((due(agenda(seed=f"agent-{n}"), back, Done()).moment - back.now) // MINUTE for n in range(1000))
    late = sum(minutes[minute] for minute in range(20))
    assert late > 500
    assert max(minutes[minute] for minute in range(20)) < 2.2 * late / 20


def test_a_slot_that_is_over_is_not_made_up_for() -> None:
    asked, done = agenda(), Done(ever=True)
    now = at("2026-03-02T14:39:59.999999")
    slots = slots_of(THREE, DAY)
    found = due(asked, Present(slots[1].end), done)
    assert found.slot == slots[2], "one test, no burst"
    assert asked.gone_by(Present(slots[1].end), done) == slots[:2]
    assert asked.gone_by(now, done) == slots[:1]
    assert asked.gone_by(Present(slots[1].end), done.served(slots[0]).missed([slots[1]])) == ()


def test_days_after_those_without_power_begin_anew() -> None:
    done = Done().begun(slots_of(THREE, DAY)[0]).served(slots_of(THREE, DAY)[0])
    found = due(agenda(), at("2026-03-11T07:00"), done)
    assert found.slot.key == "2026-03-11/0of3"


# --- clocks that jump


def test_back_within_a_slot_that_is_done_the_next_one_is_the_next() -> None:
    slots = slots_of(THREE, DAY)
    done = Done().served(slots[0]).served(slots[1])
    for now in ("2026-03-02T09:00", "2026-03-02T12:00"):
        assert due(agenda(), at(now), done).slot == slots[2]


def test_ahead_and_back_neither_repeats_nor_loses_a_slot() -> None:
    asked, slots = agenda(), slots_of(THREE, DAY)
    done = Done(ever=True).served(slots[0])
    ahead = Present(slots[2].start)
    done = done.missed(asked.gone_by(ahead, done))
    assert due(asked, ahead, done).slot == slots[2]
    done = done.served(slots[2])
    back = Present(slots[1].start)
    assert due(asked, back, done).slot == slots[1], "missed for a while, and served after all"
    done = done.served(slots[1])
    assert due(asked, back, done).slot.day == "2026-03-03"
    assert asked.gone_by(Present(slots[2].end), done) == ()


def test_a_year_ahead_and_back_costs_nothing() -> None:
    slots = slots_of(THREE, DAY)
    elsewhen = due(agenda(), at("2027-03-02T09:00"), Done()).slot
    done = Done().served(slots[0]).served(elsewhen)
    assert due(agenda(), at("2026-03-02T09:00"), done).slot == slots[1]


@given(st.lists(st.integers(-30, 30), max_size=12), st.integers(0, 2**32))
def test_no_slot_is_ever_served_twice(jumps_h: list[int], seed: int) -> None:
    asked, done, now, served = (
        agenda(replace(CHECKS, interval_s=3600), str(seed)),
        Done(),
        at("2026-03-04T09:00").now,
        [],
    )
    for jump_h in jumps_h:
        now += jump_h * HOUR
        for _ in range(3):
            found = due(asked, Present(now), done)
            now = max(now, found.moment)
            done = load(dump(done.begun(found.slot).served(found.slot)))
            served.append(found.slot.key)
    assert len(served) == len(set(served))


def test_a_clock_of_1970_measures_by_the_time_since_boot() -> None:
    start = present(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60.0, BOOT)
    assert start.axis
    done, now, moments = Done(), start.now, []
    for _ in range(6):
        found = due(agenda(), Present(now, start.axis), done)
        done, now = done.served(found.slot), found.moment
        moments.append(found.moment)
    days = Counter(moment.date() for moment in moments)
    assert list(days.values()) == [3, 3], "three in each 24 hours, whatever weekday 1970 says"
    other = present(datetime(2025, 1, 1, tzinfo=UTC), 60.0, "22222222-2222")
    assert due(agenda(), other, done).slot.key.startswith("boot 22222222"), "another boot counts anew"


@pytest.mark.parametrize(
    ("wall", "by_boot"),
    [("1970-01-01T00:00", True), ("2025-12-31T23:59", True), ("2026-01-01T00:00", False), ("2150-01-01T00:00", True)],
)
def test_only_absurd_clocks_are_not_believed(wall: str, by_boot: bool) -> None:
    assert bool(present(at(wall).now, 5.0, BOOT).axis) is by_boot


def test_once_the_clock_is_set_the_calendar_rules() -> None:
    start = present(datetime(1970, 1, 1, tzinfo=UTC), 60.0, BOOT)
    done = Done().served(due(agenda(), start, Done()).slot)
    assert due(agenda(), at("2026-03-07T09:00"), done).slot.is_closed


# --- plans that change


def test_a_day_cut_anew_does_not_repeat_what_was_served() -> None:
    done = Done().served(slots_of(THREE, DAY)[0])
    six = replace(THREE, per_day=6)
    assert due(agenda(six), at("2026-03-02T09:00"), done).slot == slots_of(six, DAY)[2]
    one = replace(THREE, per_day=1)
    assert due(agenda(one), at("2026-03-02T09:00"), done).slot.day == "2026-03-03"


def test_after_the_long_holidays_comes_the_first_day_of_term() -> None:
    calendar = replace(USUAL, terms=read_ranges(["2026-09-01/2027-05-25"]))
    timetable = replace(THREE, calendar=calendar, says_closed=False)
    assert due(agenda(timetable), at("2026-05-26T09:00"), Done()).slot.key == "2026-09-01/0of3"
    assert agenda(timetable).next_due(at("2027-05-26T09:00"), Done()) is None


# --- another try


def test_a_failed_test_is_tried_again_in_its_slot_and_no_later() -> None:
    asked = agenda()
    slot = slots_of(THREE, DAY)[0]
    now, done, waits = slot.start + HOUR, Done(), []
    for attempt in (1, 2):
        done = done.begun(slot)
        again = asked.again(slot, now, attempt)
        assert again is not None
        done = load(dump(done.to_try_again(slot, again)))
        found = due(asked, Present(now), done)
        assert (found.moment, found.slot, found.attempt) == (again, slot, attempt + 1)
        waits.append(again - now)
        now = again
    assert MINUTE <= waits[0] < 3 * MINUTE
    assert 2 * MINUTE <= waits[1] < 6 * MINUTE
    assert asked.again(slot, now, 3) is None
    done = done.begun(slot)
    assert due(asked, Present(now), done).slot == slots_of(THREE, DAY)[1]
    assert asked.again(slot, slot.end - MINUTE, 1) is None


def test_a_busy_server_gets_the_time_it_asked_for() -> None:
    slot = slots_of(THREE, DAY)[0]
    again = agenda().again(slot, slot.start, 1, asked_s=1200)
    assert again is not None
    assert 20 * MINUTE <= again - slot.start < 30 * MINUTE
    assert agenda().again(slot, slot.end - 10 * MINUTE, 1, asked_s=1200) is None


def test_a_test_cut_off_by_the_power_is_tried_again_soon_and_not_for_ever() -> None:
    slot = slots_of(THREE, DAY)[0]
    now, done = slot.start + HOUR, Done()
    for attempt in (2, 3):
        done = load(dump(done.begun(slot)))
        found = due(agenda(), Present(now), done)
        assert (found.slot, found.attempt) == (slot, attempt)
        assert now + MINUTE <= found.moment < now + 6 * MINUTE
        now = found.moment
    done = done.begun(slot)
    assert due(agenda(), Present(now), done).slot == slots_of(THREE, DAY)[1]


def test_another_try_set_by_a_clock_that_ran_ahead_comes_soon() -> None:
    slot = slots_of(THREE, DAY)[0]
    done = Done().begun(slot).to_try_again(slot, slot.start + 200 * MINUTE - SECOND)
    found = due(agenda(), Present(slot.start), done)
    assert found.moment < slot.start + 3 * MINUTE
