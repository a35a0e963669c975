"""What is measured on which uplink: the box and its collector can each make it less, and neither more."""

from typing import Any

import pytest

from linkbell_agent.net import Binding
from linkbell_agent.plan import Plan, Surroundings, floors_of, make_plan
from linkbell_agent.schedule.slots import Kind
from linkbell_agent.sections import BudgetSettings, OneOfUplinks, Settings
from linkbell_wire.configuration import (
    AgentConfiguration,
    BudgetConfiguration,
    SchoolConfiguration,
    UplinkConfiguration,
)
from linkbell_wire.words import BudgetProfile, Direction, UplinkRole

FIBRE = OneOfUplinks(name="fibre", device="eth0")
METERED = BudgetSettings(profile=BudgetProfile.METERED, bytes_per_month=500_000_000)
HERE = Surroundings(
    gateway="192.0.2.1",
    nameservers=["192.0.2.53"],
    collector="https://collector.example",
    binding=Binding("eth0", ("192.0.2.53",)),
)
SCHOOL = SchoolConfiguration(id="s-1", name="School", download_floor_bps=8e6, upload_floor_bps=2e6)


def plan(backup: dict[str, Any], *, of: str = "4g", remote: AgentConfiguration | None = None, **more: Any) -> Plan:
    mobile = OneOfUplinks(name="4g", device="wwan0", **backup)
    settings = Settings(uplinks=[FIBRE, mobile], **more)
    way = next(way for way in settings.ways if way.name == of)
    return make_plan(settings, remote, HERE, way)


def said(**about_4g: Any) -> AgentConfiguration:
    return AgentConfiguration(school=SCHOOL, uplinks=[UplinkConfiguration(name="4g", **about_4g)])


SPEED = [
    ("an unmetered backup is tested", {}, None, True),
    ("a metered backup is not", {"budget": METERED}, None, False),
    ("unless the box says so", {"budget": METERED, "speed": True}, None, True),
    ("or the collector", {"budget": METERED}, {"speed": True}, True),
    ("which cannot overrule the box", {"speed": False}, {"speed": True}, False),
    ("nor the box it", {"speed": True}, {"speed": False}, False),
    ("a metered primary is tested", {"budget": METERED, "role": UplinkRole.PRIMARY}, None, True),
    ("whoever calls it that", {"budget": METERED}, {"role": UplinkRole.PRIMARY}, True),
    ("the collector's budget counts as well", {}, {"budget": BudgetConfiguration(bytes_per_month=10**9)}, False),
]


@pytest.mark.parametrize(("backup", "remote", "runs"), [row[1:] for row in SPEED], ids=[row[0] for row in SPEED])
def test_full_tests_run_where_nobody_minds(backup: dict[str, Any], remote: dict[str, Any] | None, runs: bool) -> None:
    made = plan(backup, remote=None if remote is None else said(**remote))
    assert made.speed_enabled is runs
    assert (made.timetable(Kind.SPEED) is not None) is runs


def test_what_is_said_of_one_uplink_is_not_said_of_the_other() -> None:
    remote = said(speed=False, check=False, ping_interval_s=600.0, download_floor_bps=1e6)
    fibre, mobile = (plan({"budget": METERED}, of=name, remote=remote) for name in ("fibre", "4g"))
    assert (fibre.speed_enabled, mobile.speed_enabled) == (True, False)
    assert (fibre.ping_interval_s, mobile.ping_interval_s) == (60.0, 600.0)
    assert fibre.floors == {Direction.DOWNLOAD: 8e6}
    assert mobile.floors == {}
    assert (fibre.budget.bytes_per_month, mobile.budget.bytes_per_month) == (None, 500_000_000)
    assert (fibre.role, mobile.role) == (UplinkRole.PRIMARY, UplinkRole.BACKUP)


def test_of_two_budgets_the_stricter_counts_and_an_uplinks_own_stands_before_the_one_for_all() -> None:
    remote = said(budget=BudgetConfiguration(bytes_per_month=200_000_000))
    assert plan({"budget": METERED}, remote=remote).budget.bytes_per_month == 200_000_000
    remote = said(budget=BudgetConfiguration(bytes_per_month=900_000_000))
    assert plan({"budget": METERED}, remote=remote).budget.bytes_per_month == 500_000_000
    for_all = BudgetSettings(bytes_per_month=100_000_000)
    assert plan({"budget": METERED}, budget=for_all).budget.bytes_per_month == 500_000_000
    assert plan({"budget": METERED}, of="fibre", budget=for_all).budget.bytes_per_month == 100_000_000


def test_of_two_intervals_of_pings_the_longer_counts() -> None:
    assert plan({"ping_interval_s": 120}).ping_interval_s == 120
    assert plan({"ping_interval_s": 120}, remote=said(ping_interval_s=90.0)).ping_interval_s == 120
    assert plan({"ping_interval_s": 20}).ping_interval_s == 60


def test_a_floor_of_the_uplink_stands_before_the_schools() -> None:
    remote = said(download_floor_bps=1e6)
    assert floors_of(remote, "4g") == {Direction.DOWNLOAD: 1e6, Direction.UPLOAD: 2e6}
    assert floors_of(remote, "fibre") == {Direction.DOWNLOAD: 8e6, Direction.UPLOAD: 2e6}
    assert plan({}, remote=remote).floors == {Direction.DOWNLOAD: 1e6}
    assert floors_of(AgentConfiguration(), "fibre") == {}


def test_names_are_not_asked_the_way_programs_do_where_that_may_be_another_uplink() -> None:
    assert not plan({}).layers.asks_system
    assert plan({}).binding == HERE.binding
