"""Profiles hold a plan to what a line can bear; of two budgets the stricter counts."""

from typing import Any

import pytest

from linkbell_agent.budget.planned import HANDSHAKE_BYTES, LOOK_UP_BYTES, SMALL_PAGE_BYTES, policy_of, round_bytes
from linkbell_agent.budget.profiles import PROFILES, BudgetPlan, Wish, merge
from linkbell_agent.plan import Plan, Surroundings, make_plan
from linkbell_agent.sections import Settings
from linkbell_wire.configuration import (
    AgentConfiguration,
    BudgetConfiguration,
    CheckConfiguration,
    SchoolConfiguration,
    SpeedConfiguration,
)
from linkbell_wire.words import BudgetProfile

FREE, METERED, SATELLITE = BudgetProfile.UNMETERED, BudgetProfile.METERED, BudgetProfile.SATELLITE
HERE = Surroundings("192.0.2.1", ["192.0.2.53"], "https://collector.example")


def plan(remote: AgentConfiguration | None = None, **settings: Any) -> Plan:
    return make_plan(Settings(**settings), remote, HERE)


def test_there_is_a_profile_for_every_word() -> None:
    assert set(PROFILES) == set(BudgetProfile)


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        (Wish(), Wish(), BudgetPlan(FREE, None, 1)),
        (Wish(bytes_per_month=10**8), Wish(), BudgetPlan(METERED, 10**8, 1)),
        (Wish(METERED), Wish(), BudgetPlan(METERED, 10**9, 1)),
        (Wish(METERED), Wish(bytes_per_month=7 * 10**9, billing_day=9), BudgetPlan(METERED, 7 * 10**9, 9)),
        (Wish(FREE, 10**8), Wish(METERED, 10**9), BudgetPlan(METERED, 10**8, 1)),
        (Wish(SATELLITE, billing_day=4), Wish(FREE), BudgetPlan(SATELLITE, 10**9, 4)),
        (Wish(SATELLITE, 5 * 10**9), Wish(METERED), BudgetPlan(SATELLITE, 5 * 10**9, 1)),
        (Wish(), Wish(SATELLITE, 2 * 10**9), BudgetPlan(SATELLITE, 2 * 10**9, 1)),
    ],
)
def test_the_stricter_of_both_sides_counts(local: Wish, remote: Wish, expected: BudgetPlan) -> None:
    assert merge(local, remote) == expected


def test_a_satellite_line_is_measured_less_whoever_asks_for_more() -> None:
    asked = AgentConfiguration(speed=SpeedConfiguration(per_day=24, max_bytes=10**9))
    found = plan(asked, budget={"profile": "satellite"})
    assert (found.speed_per_day, found.speed_max_bytes) == (1, 20_000_000)
    assert (found.ping_interval_s, found.ping_count) == (300.0, 5)
    assert found.budget.limits.checks_per_day == 4
    slower = plan(asked, budget={"profile": "satellite"}, ping={"interval_s": 900, "count": 2})
    assert (slower.ping_interval_s, slower.ping_count) == (900.0, 2)


def test_without_a_budget_the_plan_is_as_it_was_asked_for() -> None:
    found = plan()
    assert (found.speed_per_day, found.speed_max_bytes, found.ping_interval_s, found.ping_count) == (3, None, 60, 10)
    assert found.budget.bytes_per_month is None


def test_the_budget_and_the_time_zone_come_from_the_collector_too() -> None:
    school = SchoolConfiguration(id="s", name="s", timezone="Asia/Almaty")
    remote = AgentConfiguration(school=school, budget=BudgetConfiguration(bytes_per_month=10**9, billing_day=15))
    policy = policy_of(plan(remote), checks_per_day=8, floor_bps=8e6)
    assert (policy.bytes_per_month, policy.calendar.billing_day) == (10**9, 15)
    assert str(policy.calendar.zone) == "Asia/Almaty"


def test_a_plan_costs_what_its_pings_and_checks_cost() -> None:
    found = plan(budget={"profile": "satellite"})
    # The gateway's pings stay in the school: two targets by ICMP, one by TCP. Two resolvers are asked for two names,
    # and the collector and the check for a login page are fetched.
    assert round_bytes(found) == 5 * (2 * 196 + 296) + 4 * LOOK_UP_BYTES + 2 * SMALL_PAGE_BYTES + HANDSHAKE_BYTES
    assert found.layers.collector is not None
    assert found.layers.collector.startswith("https:")
    policy = policy_of(found, checks_per_day=24, floor_bps=8e6)
    assert policy.checks_per_day == 4
    assert policy.ping_bytes_per_day == 288 * round_bytes(found)
    assert policy_of(found, checks_per_day=24, floor_bps=None).checks_per_day == 0


@pytest.mark.parametrize("floor_bps", [8e6, 20e6])
def test_the_satellite_profile_fits_its_own_budget(floor_bps: float) -> None:
    found = plan(budget={"profile": "satellite"})
    policy = policy_of(found, checks_per_day=24, floor_bps=floor_bps)
    assert 31 * (policy.ping_bytes_per_day + 4 * policy.check_bytes) <= 0.98 * 10**9


def test_a_satellite_line_has_four_checks_in_a_long_school_day_whoever_asks_for_more() -> None:
    check = CheckConfiguration(interval_s=600)
    assert plan(AgentConfiguration(check=check)).check_interval_s == 600
    assert plan(AgentConfiguration(check=check), budget={"profile": "satellite"}).check_interval_s == 3 * 3600
