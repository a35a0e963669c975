"""The records of simulated schools: what the wire takes, the same from the same seed, and believable."""

import json
import statistics
from dataclasses import replace

import pytest

from linkbell_collector.simulate.boot import Boot
from linkbell_collector.simulate.faults import Fault, FaultBook, Kind
from linkbell_collector.simulate.fleet import FleetSpec, Site, build_fleet
from linkbell_collector.simulate.line import from_local, line_state, local
from linkbell_collector.simulate.plan import Act, due
from linkbell_collector.simulate.rounds import Span, World, compose, count
from linkbell_wire import AnyRecord, CheckRecord, DnsRecord, HttpRecord, PingRecord, SkipRecord, SpeedRecord
from linkbell_wire.records import RECORD_ADAPTER
from tests.collector.support import NOON_US

FLEET = build_fleet(FleetSpec(schools=60, regions=2, districts=4))
MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
BOOT = Boot("boot-1", NOON_US - DAY_US, 1.0)
CALM = World(FaultBook([]))


def texts_of(site: Site, world: World, *, hours: float = 24, boot: Boot = BOOT) -> list[str]:
    """Return all records of a school from the tests' noon on."""
    found: list[str] = []
    for minute in range(1, round(hours * 60)):
        at_us = NOON_US + minute * MINUTE_US
        found += compose(site, Span(at_us - MINUTE_US, at_us, at_us), boot, world, len(found))
    return found


def records_of(site: Site, world: World, **arguments: float) -> list[AnyRecord]:
    return [RECORD_ADAPTER.validate_json(text) for text in texts_of(site, world, **arguments)]  # type: ignore[arg-type]


def troubled(*kinds: Kind, **values: float) -> World:
    """Return a world in which all of this is wrong with every school for all time."""
    everybody = tuple(site.index for site in FLEET)
    return World(FaultBook([Fault(kind, everybody, 0, values=values) for kind in kinds]))


@pytest.mark.parametrize("kind", [None, *Kind])
def test_every_record_is_one_of_the_wires_and_says_nothing_that_the_wire_does_not_know(kind: Kind | None) -> None:
    world = CALM if kind is None else troubled(kind, download_bps=3e6, loss_ratio=0.3, rtt_s=0.1)
    for site in FLEET[:6]:
        for text in texts_of(site, world, hours=2):
            sent = json.loads(text)
            read = json.loads(RECORD_ADAPTER.validate_json(text).model_dump_json(exclude_none=True))
            assert {name: read[name] for name in sent} == sent


def test_numbers_run_on_without_a_gap() -> None:
    assert [json.loads(text)["seq"] for text in texts_of(FLEET[0], CALM)] == list(range(len(texts_of(FLEET[0], CALM))))


def test_the_same_seed_gives_the_same_records_and_another_gives_others() -> None:
    again = build_fleet(FleetSpec(schools=60, regions=2, districts=4))
    other = build_fleet(FleetSpec(schools=60, regions=2, districts=4, seed=2))
    assert texts_of(again[7], CALM, hours=2) == texts_of(FLEET[7], CALM, hours=2)
    assert texts_of(other[7], CALM, hours=2) != texts_of(FLEET[7], CALM, hours=2)


@pytest.mark.parametrize("kind", [None, Kind.LINE_DOWN, Kind.DNS_FAULT, Kind.POWER_CUT])
def test_counting_records_gives_as_many_as_writing_them(kind: Kind | None) -> None:
    faults = [] if kind is None else [Fault(kind, (3,), NOON_US + 5 * MINUTE_US, NOON_US + 95 * MINUTE_US)]
    world = World(FaultBook(faults))
    for step in (1, 15, 200):
        for number in range(1, 1200 // step):
            at_us = NOON_US + number * step * MINUTE_US
            span = Span(at_us - step * MINUTE_US, at_us, at_us)
            active = world.book.at(3, at_us)
            assert count(FLEET[3], span, active, world) == len(compose(FLEET[3], span, BOOT, world, 0))


def test_a_day_has_its_speed_tests_and_floor_checks_in_school_hours_only() -> None:
    monday = from_local(local(NOON_US).day - local(NOON_US).weekday, 0)
    for site in FLEET[:20]:
        acts = due(site.key, monday, monday + DAY_US, 3)
        assert sum(item.act in (Act.SPEED, Act.SKIP) for item in acts) == 3
        assert sum(item.act is Act.CHECK for item in acts) == 20
        assert all(8 * 3600 <= local(item.at_us).second < 18 * 3600 + 60 for item in acts)
        assert due(site.key, monday + 6 * DAY_US, monday + 7 * DAY_US, 3) == []
    moments = {item.at_us for site in FLEET for item in due(site.key, monday, monday + DAY_US, 3)}
    assert len(moments) > 0.99 * len(FLEET) * 23


def test_a_fine_line_loses_few_packets_and_reads_about_what_was_bought() -> None:
    site = next(site for site in FLEET if site.line.technology.name == "fibre")
    records = records_of(site, CALM)
    isp = [record for record in records if isinstance(record, PingRecord) and record.layer == "isp"]
    assert 1 - sum(ping.received for ping in isp) / sum(ping.sent for ping in isp) < 0.003
    assert statistics.median(ping.rtt_mean_s or 9 for ping in isp) == pytest.approx(site.line.rtt_s, rel=0.5)
    speeds = [r.download.bps for r in records if isinstance(r, SpeedRecord) and r.download and r.download.bps]
    assert speeds
    assert all(0.6 * site.line.down_bps < bps < 1.15 * site.line.down_bps for bps in speeds)


def test_lossy_lines_lose_what_they_were_told_to() -> None:
    pings = [
        record
        for record in records_of(FLEET[0], troubled(Kind.LOSSY, loss_ratio=0.2), hours=20)
        if isinstance(record, PingRecord) and record.layer == "isp"
    ]
    assert sum(ping.sent - ping.received for ping in pings) / sum(ping.sent for ping in pings) == pytest.approx(
        0.2, abs=0.02
    )


def test_busy_evenings_are_slower_than_nights() -> None:
    mobile = [site for site in FLEET if site.line.technology.name == "4g"]
    day = local(NOON_US).day
    evening, night = from_local(day, 20.5 * 3600), from_local(day, 3.5 * 3600)
    for site in mobile:
        assert line_state(site, site.line, evening).down_bps < 0.85 * line_state(site, site.line, night).down_bps


def test_a_cut_line_answers_at_the_gateway_only_and_tests_fail_or_go_over_the_backup() -> None:
    world = troubled(Kind.LINE_DOWN)
    alone = next(site for site in FLEET if site.backup is None)
    second = next(site for site in FLEET if site.backup is not None)
    for record in records_of(alone, world):
        if isinstance(record, PingRecord):
            assert (record.received == 0) == (record.layer != "gateway")
        elif isinstance(record, DnsRecord | HttpRecord | SpeedRecord | CheckRecord):
            assert record.failure is not None
    tests = [record for record in records_of(second, world) if isinstance(record, SpeedRecord | CheckRecord)]
    assert tests
    assert all(record.failure is None and record.uplink == "backup" for record in tests)


def test_a_slow_school_reads_its_new_speed_and_fails_its_floor() -> None:
    site = next(site for site in FLEET if site.line.technology.name == "fibre")
    records = records_of(site, troubled(Kind.SLOW, download_bps=5e6))
    speeds = [r.download.bps for r in records if isinstance(r, SpeedRecord) and r.download and r.download.bps]
    assert all(4.2e6 < bps < 5.8e6 for bps in speeds)
    checks = [record for record in records if isinstance(record, CheckRecord)]
    assert checks
    assert not any(check.passed for check in checks)


def test_a_box_without_a_battery_shows_the_wrong_time_until_its_clock_is_set_and_says_so() -> None:
    boot = Boot("boot-2", NOON_US, 1.0, skew_us=-3600_000_000, synced_from_us=NOON_US + 90_000_000)
    early, late = boot.frame(NOON_US + 60_000_000), boot.frame(NOON_US + 120_000_000)
    assert (early.synced, late.synced) == (False, True)
    assert late.wall_us - early.wall_us == 3660_000_000
    assert late.boottime_s - early.boottime_s == 60
    (first, *_) = compose(FLEET[0], Span(NOON_US, NOON_US + MINUTE_US, NOON_US + MINUTE_US), boot, CALM, 0)
    assert json.loads(first)["clock"] == "unsynced"


def test_fleets_have_the_sizes_that_were_asked_for() -> None:
    spec = FleetSpec(447, 5, 20, 4, district_sizes=(30,), provider_sizes=(120,))
    fleet = build_fleet(spec)
    assert len(fleet) == len({site.id for site in fleet}) == 447
    assert len({site.region for site in fleet}) == 5
    by_district = [site.district for site in fleet]
    by_provider = [site.provider for site in fleet]
    assert by_district.count(fleet[0].district) == 30
    assert len(set(by_district)) == 20
    assert sorted(by_provider.count(name) for name in set(by_provider)).count(120) == 1
    assert len({site.district for site in fleet if by_provider.count(site.provider) == 120}) > 15
    assert all(40 < site.latitude < 57 and 46 < site.longitude < 88 for site in fleet)
    assert build_fleet(spec) == fleet
    assert build_fleet(replace(spec, seed=3)) != fleet


@pytest.mark.parametrize(
    "changes",
    [{"schools": 0}, {"districts": 3, "regions": 4}, {"district_sizes": (999,)}, {"provider_sizes": (1, 1, 1, 1)}],
)
def test_a_fleet_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        build_fleet(replace(FleetSpec(), **changes))  # type: ignore[arg-type]


def test_skips_say_what_others_used() -> None:
    skips = [record for site in FLEET for record in records_of(site, CALM, hours=6) if isinstance(record, SkipRecord)]
    assert skips
    assert all(skip.value and skip.reason == "busy" for skip in skips)
