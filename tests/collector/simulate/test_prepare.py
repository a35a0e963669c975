"""How time passes, which fleet it is, what was measured before the start, and what the screen says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from linkbell_collector import folder_clock
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.folder_clock import Epoch, FolderClock
from linkbell_collector.simulate import display, prepare
from linkbell_collector.simulate.faults import Fault, Kind
from linkbell_collector.simulate.fleet import FleetSpec, build_fleet
from linkbell_collector.simulate.line import local
from linkbell_collector.simulate.prepare import Wish, fleet_spec, histories, timeline_of
from linkbell_collector.simulate.scenario import Scenario
from linkbell_collector.simulate.state import Kept, StateFolder
from linkbell_collector.simulate.timeline import moment_of
from tests.collector.support import NOON_US, FakeClock

WISH = Wish(Scenario("test"))
DAY_US = 86_400_000_000


def test_by_default_life_is_as_fast_as_life(tmp_path: Path) -> None:
    line = timeline_of(WISH, tmp_path, None, NOON_US)
    assert line.wire(line.simulated(NOON_US + 5)) == line.simulated(NOON_US + 5) == NOON_US + 5


def test_squeezed_life_leaves_the_clocks_alone_and_goes_on_where_it_was(tmp_path: Path) -> None:
    kept = Kept(FleetSpec(), "http://x", NOON_US + DAY_US)
    line = timeline_of(replace(WISH, speed=60), tmp_path, kept, NOON_US)
    assert line.simulated(NOON_US + 1_000_000) == NOON_US + DAY_US + 60_000_000
    assert line.wire(NOON_US + DAY_US + 60_000_000) == NOON_US + 1_000_000
    assert line.box_speed == 60
    assert not (tmp_path / folder_clock.FILE_NAME).exists()


def test_a_fast_clock_is_written_once_and_is_the_collectors(tmp_path: Path) -> None:
    wish = replace(WISH, speed=60, fast_clock=True, scenario=Scenario("test", starts="mon 08:00"))
    line = timeline_of(wish, tmp_path, None, NOON_US)
    begun = local(line.simulated_us)
    assert (begun.weekday, begun.second) == (0, 8 * 3600)
    clock = FakeClock(NOON_US + 10_000_000)
    collector = folder_clock.clock_of(tmp_path, clock)
    assert isinstance(collector, FolderClock)
    assert collector.now_us() == line.simulated(clock.now_us()) == line.wire(line.simulated(clock.now_us()))
    later = timeline_of(replace(WISH, speed=1), tmp_path, None, NOON_US + 20_000_000)
    assert later.simulated(NOON_US + 30_000_000) == line.simulated(NOON_US + 30_000_000)
    with pytest.raises(UsageError, match="runs 60 times as fast"):
        timeline_of(replace(WISH, speed=30), tmp_path, None, NOON_US)


def test_a_life_that_is_not_as_fast_as_ours_begins_when_all_are_there(tmp_path: Path) -> None:
    assert prepare.lead_s(400, known=False) == 7
    slow = timeline_of(WISH, tmp_path, None, NOON_US, 7)
    assert slow.simulated(NOON_US) == NOON_US
    quick = timeline_of(replace(WISH, speed=60), tmp_path, None, NOON_US, 7)
    assert quick.simulated_us == quick.simulated(NOON_US + 7_000_000) == NOON_US + 7_000_000
    kept = Kept(FleetSpec(), "http://x", NOON_US + DAY_US)
    again = timeline_of(replace(WISH, speed=60), tmp_path, kept, NOON_US, 3)
    assert again.simulated(NOON_US) == NOON_US + DAY_US


def test_an_ordinary_folder_has_an_ordinary_clock_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    clock = FakeClock()
    assert folder_clock.clock_of(tmp_path, clock) is clock
    folder_clock.write(tmp_path, Epoch(1, 2, 3.0))
    assert folder_clock.read(tmp_path) == Epoch(1, 2, 3.0)
    (tmp_path / folder_clock.FILE_NAME).write_text("{")
    with pytest.raises(RefusedError, match="cannot be read"):
        folder_clock.read(tmp_path)


@pytest.mark.parametrize(
    ("starts", "weekday", "hour"), [("mon 08:00", 0, 8), ("sun 23:30", 6, 23.5), ("tue 00:00", 1, 0)]
)
def test_a_weekday_is_the_next_one(starts: str, weekday: int, hour: float) -> None:
    moment_us = moment_of(starts, NOON_US)
    assert NOON_US <= moment_us < NOON_US + 7 * DAY_US
    assert (local(moment_us).weekday, local(moment_us).second / 3600) == (weekday, hour)


def test_flags_win_over_the_scenario_and_neither_changes_a_fleet_that_is_kept() -> None:
    scenario = Scenario("test", fleet={"schools": 60, "districts": 9, "district_sizes": (30,)})
    spec = fleet_spec(None, scenario, {"schools": 50, "regions": None})
    assert (spec.schools, spec.districts, spec.district_sizes, spec.regions) == (50, 9, (30,), 5)
    kept = Kept(spec, "http://x")
    assert fleet_spec(kept, Scenario("other"), {"schools": 50}) == spec
    with pytest.raises(UsageError, match="--schools: the simulation kept here has 50"):
        fleet_spec(kept, scenario, {"schools": 51})


def test_those_cut_off_at_the_start_have_full_spools_and_with_days_all_have_a_thin_history() -> None:
    fleet = build_fleet(FleetSpec(schools=10, regions=1, districts=2))
    cut = Fault(Kind.LINE_DOWN, (2, 3), NOON_US - 3 * DAY_US, NOON_US + 1)
    over = Fault(Kind.LINE_DOWN, (4,), NOON_US - DAY_US, NOON_US - 1)
    found = histories(WISH, fleet, [cut, over], NOON_US, fresh=True)
    assert found == dict.fromkeys((2, 3), (NOON_US - 3 * DAY_US - 60000000, 60.0))
    thin = histories(replace(WISH, days=7), fleet, [cut], NOON_US, fresh=True)
    assert thin[0] == (NOON_US - 7 * DAY_US, 900.0)
    assert thin[2] == found[2]
    assert histories(replace(WISH, days=7), fleet, [cut], NOON_US, fresh=False) == {}


def test_agents_are_shared_out_anew_and_nobody_is_lost(tmp_path: Path) -> None:
    fleet = build_fleet(FleetSpec(schools=10, regions=1, districts=2))
    state = StateFolder(tmp_path / "state")
    state.write(Kept(FleetSpec(schools=10), "http://x", 7))
    first = state.share_out(fleet, 3)
    before = {school: item["installation"] for school, item in state.agents().items()}
    assert sorted(index for _, indexes in first for index in indexes) == list(range(10))
    assert len(state.share_out(fleet, 2)) == 2
    assert {school: item["installation"] for school, item in state.agents().items()} == before
    assert len(before) == 10
    assert state.read() == Kept(FleetSpec(schools=10), "http://x", 7)
    state.remove()
    assert not state.folder.exists()


def test_the_truth_of_an_earlier_run_ends_with_it(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    state.add_truth([json.dumps({"what": "slow", "start_us": 5, "end_us": None, "schools": ["Ғ"]})])
    state.end_truth(9)
    assert json.loads(state.truth())["end_us"] == 9


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"neither a file that can be read nor one of .*district-dark"):
        prepare.load_scenario("nonesuch")


PART: dict[str, Any] = {
    "simulated_us": NOON_US,
    "schools": 10,
    "up": 6,
    "off": 1,
    "made": 100,
    "stored": 70,
    "duplicate": 5,
    "dropped": 3,
    "power_lost": 2,
    "waiting": 20,
    "requests": 9,
    "outcomes": {"settled": 7, "overloaded": 2},
}


def test_the_screen_says_how_it_goes_over_all_processes() -> None:
    line = display.status_line(display.summed([PART, PART]), 1234.5)
    assert line == (
        "Mon 02 Mar 05:40:00 UTC · schools: 12 up, 6 cut off, 2 switched off · 1,234 records/s accepted · "
        "4 deliveries refused · 40 records wait"
    )


def test_the_summary_adds_up_or_says_what_is_missing() -> None:
    total = display.summed([PART])
    assert display.summary(total, 10)["unaccounted"] == 0
    assert display.summary({**total, "waiting": 19}, 10)["unaccounted"] == 1
    assert display.summary(total, 10)["records_per_second"] == 7.0
