"""Scenarios: what they may say, whom they hit, and that the truth is written down as it is."""

import json
import tomllib
from typing import Any

import pytest

from linkbell_collector.simulate import prepare, truth
from linkbell_collector.simulate.background import background
from linkbell_collector.simulate.faults import FOREVER_US, Fault, FaultBook, Kind
from linkbell_collector.simulate.fleet import FleetSpec, build_fleet
from linkbell_collector.simulate.plan import next_speed_us
from linkbell_collector.simulate.scenario import Scenario, ScenarioError, duration_s, read, resolve
from linkbell_collector.simulate.timeline import Timeline, moment_of
from tests.collector.support import NOON_US

FLEET = build_fleet(FleetSpec(district_sizes=(30,), provider_sizes=(120,)))
HOUR_US = 3_600_000_000


def scenario(text: str) -> Scenario:
    return read(tomllib.loads(text), "test")


def faults(text: str) -> list[Fault]:
    return resolve(scenario(text), FLEET, NOON_US)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("-3d", -259_200), ("1.5h", 5400)]
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schols = 3", "no 'schols'; known are"),
        ("[fleet]\nschol = 3", "did you mean schools"),
        ('[[moment]]\nwhat = "line"', "moment 1, what: 'line' is not one of"),
        ('[[moment]]\nwhat = "line_down"\nat = "soon"', "moment 1, at: 'soon' is not a time"),
        ('[[moment]]\nwhat = "line_down"\nloss_ratio = 0.1', "line_down has no loss_ratio"),
        ('[[moment]]\nwhat = "slow"', "slow needs download_bps or upload_bps"),
        ('[[moment]]\nwhat = "slow"\ndownload_bps = "5M"', "'5M' is not a number"),
        ('[[moment]]\nwhat = "line_down"\nwhere = { distrct = 1 }', "did you mean district"),
    ],
)
def test_what_a_scenario_cannot_say_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        scenario(text)


@pytest.mark.parametrize(
    ("where", "words"),
    [("{ district = 99 }", "no school fits"), ("{ district = 1, count = 31 }", "31 schools are wanted, 30 fit")],
)
def test_a_moment_that_hits_nobody_is_refused(where: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        faults(f'[[moment]]\nwhat = "line_down"\nwhere = {where}')


def test_a_district_and_a_provider_are_hit_whole_and_nobody_else() -> None:
    dark, provider = faults(
        '[[moment]]\nat = "10m"\nlasts = "1h"\nwhat = "line_down"\nwhere = { district = 1 }\n'
        '[[moment]]\nwhat = "line_down"\nwhere = { provider = 1 }'
    )
    assert (dark.start_us, dark.end_us) == (NOON_US + HOUR_US // 6, NOON_US + HOUR_US // 6 + HOUR_US)
    assert len(dark.schools) == 30
    assert {FLEET[index].district for index in dark.schools} == {FLEET[0].district}
    assert len(provider.schools) == 120
    assert provider.end_us == FOREVER_US
    others = [site for site in FLEET if site.index not in provider.schools]
    assert {FLEET[index].provider for index in provider.schools}.isdisjoint({site.provider for site in others})


def test_count_draws_the_same_schools_each_time() -> None:
    text = '[[moment]]\nwhat = "line_down"\nwhere = { technology = "fibre", count = 7 }'
    (first,), (second,) = faults(text), faults(text)
    assert first == second
    assert len(first.schools) == 7
    assert {FLEET[index].line.technology.name for index in first.schools} == {"fibre"}


def test_a_bad_sample_spoils_exactly_one_test() -> None:
    (bad,) = faults('[[moment]]\nwhat = "bad_sample"\nwhere = { technology = "fibre", count = 1 }\ndownload_bps = 3e5')
    site = FLEET[bad.schools[0]]
    assert bad.start_us == next_speed_us(site.key, NOON_US, 3)
    assert next_speed_us(site.key, bad.start_us, 3) > bad.end_us


@pytest.mark.parametrize("name", prepare.scenario_names())
def test_every_ready_made_scenario_can_be_played(name: str) -> None:
    ready = prepare.load_scenario(name)
    assert len(ready.description) > 20
    fleet = build_fleet(prepare.fleet_spec(None, ready, {}))
    if ready.starts:
        assert moment_of(ready.starts, NOON_US) >= NOON_US
    found = resolve(ready, fleet, NOON_US)
    assert len(found) == len(ready.moments)
    assert all(fault.schools or fault.kind is Kind.COLLECTOR_RESTART for fault in found)


def test_the_truth_says_what_is_done_in_every_kind_of_time_and_can_be_read_again() -> None:
    done = faults(
        '[[moment]]\nat = "1h"\nlasts = "30m"\nwhat = "lossy"\nloss_ratio = 0.2\nlabel = "rain"\n'
        "where = { count = 2 }\n"
        '[[moment]]\nat = "2h"\nwhat = "power_cut"\nwhere = { village_of = 5 }'
    )
    squeezed = Timeline(NOON_US + 7, NOON_US, 60.0)
    lines = list(truth.lines(done, FLEET, squeezed))
    first: dict[str, Any] = json.loads(lines[0])
    assert first["what"] == "lossy"
    assert first["label"] == "rain"
    assert first["schools"] == [FLEET[index].id for index in done[0].schools]
    assert first["start"] == "2026-03-02T06:40:00.000Z"
    assert first["wire_start"] == first["real_start"] == "2026-03-02T05:41:00.000Z"
    assert json.loads(lines[1])["end"] is None
    fast = Timeline(NOON_US, NOON_US, 60.0, wire_is_simulated=True)
    assert json.loads(next(truth.lines(done, FLEET, fast)))["wire_start"] == first["start"]
    assert truth.read("\n".join(lines), FLEET) == done


def test_times_belong_together() -> None:
    line = Timeline(1_000_000, NOON_US, 30.0)
    assert line.simulated(3_000_000) == NOON_US + 60_000_000
    assert line.real(NOON_US + 60_000_000) == line.wire(NOON_US + 60_000_000) == 3_000_000


def test_the_book_knows_what_holds_until_when() -> None:
    book = FaultBook([Fault(Kind.LOSSY, (1,), 10, 20), Fault(Kind.LINE_DOWN, (1, 2), 15, 30)])
    assert book.at(1, 9).kinds == set()
    assert book.at(1, 9).until_us == 10
    assert book.at(1, 16).kinds == {Kind.LOSSY, Kind.LINE_DOWN}
    assert (book.at(1, 16).since_us, book.at(1, 16).until_us) == (15, 20)
    assert book.at(2, 30).kinds == set()
    assert book.at(3, 16).until_us == FOREVER_US


def test_an_ordinary_month_is_the_same_each_time_and_as_troubled_as_said() -> None:
    month_us = 30 * 24 * HOUR_US
    first = background(FLEET, NOON_US, NOON_US + month_us)
    assert first == background(FLEET, NOON_US, NOON_US + month_us)
    assert all(NOON_US <= fault.start_us < NOON_US + month_us for fault in first)
    lines = [fault for fault in first if fault.kind is Kind.LINE_DOWN and len(fault.schools) == 1]
    expected = sum(site.line.technology.outages_per_year for site in FLEET) * 30 / 365
    assert 0.7 * expected < len(lines) < 1.4 * expected
    cuts = [fault for fault in first if fault.kind is Kind.POWER_CUT]
    assert cuts
    assert all(len({FLEET[index].village for index in cut.schools}) == 1 for cut in cuts)
