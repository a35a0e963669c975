"""A simulated year with power cuts, restarts and clocks that jump: never above the budget, most of it used."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from linkbell_agent.budget.cost import check_cost, ping_bytes
from linkbell_agent.budget.months import Calendar, zone_named
from linkbell_agent.budget.policy import Policy
from tests.agent.budget.world import CHECK, SPEED, World

HOUR_S = 3600.0
YEAR_S = 365 * 24 * HOUR_S
ROUND_BYTES = 4 * ping_bytes(5)


@dataclass(frozen=True)
class Line:
    """What is planned on a line of one kind."""

    budget: int
    speeds_per_day: int
    checks_per_day: int
    ping_interval_s: float
    zone: str = "UTC"
    billing_day: int = 1

    @property
    def policy(self) -> Policy:
        return Policy(
            self.budget,
            Calendar(zone_named(self.zone), self.billing_day),
            self.checks_per_day,
            check_cost(8e6).worst_bytes,
            ROUND_BYTES * 86_400 / self.ping_interval_s,
        )


LINES = {
    "satellite": Line(1_000_000_000, 1, 4, 300.0),
    "metered": Line(1_000_000_000, 3, 12, 300.0, "Asia/Almaty", 15),
    "metered, tight": Line(250_000_000, 4, 8, 600.0, "America/Bogota", 28),
}


@pytest.fixture
def state() -> Iterator[Path]:
    """A folder in memory: a year has thousands of writes that are waited for."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def disturb(world: World) -> str:
    """Something goes wrong with the clock."""
    clock, rng = world.clock, world.rng
    trouble = rng.choice(("1970", "+10 years", "stopped", "step while synced"))
    if trouble == "1970":
        world.kill()
        clock.error, clock.is_synced = timedelta(days=-20_000), False
    elif trouble == "+10 years":
        world.kill()
        clock.error, clock.is_synced = timedelta(days=3652), None
    elif trouble == "stopped":
        off_s = rng.uniform(HOUR_S, 72 * HOUR_S)
        world.kill(off_s)
        clock.error, clock.is_synced = timedelta(seconds=-off_s), False
    else:
        clock.error = timedelta(days=rng.choice((40, 100, 3652)))
    return trouble


async def live(world: World, line: Line, *, troubled: bool) -> set[str]:
    """Let the box run for a year and return what befell it."""
    clock, rng = world.clock, world.rng
    next_trouble_s, until_s, befell = rng.uniform(0, 240 * HOUR_S) if troubled else YEAR_S, 0.0, set()
    tests = [(24 * HOUR_S / line.speeds_per_day, SPEED), (24 * HOUR_S / line.checks_per_day, CHECK)]
    due = [rng.uniform(0, every_s) for every_s, _ in tests]

    def cost_of(cap: int) -> int:
        return round(cap * min(1.0, rng.lognormvariate(-1.2, 0.8)))

    while clock.now_s < YEAR_S:
        if clock.now_s >= next_trouble_s:
            befell.add(disturb(world))
            until_s = clock.now_s + rng.uniform(HOUR_S, 60 * HOUR_S)
            next_trouble_s = until_s + rng.uniform(24 * HOUR_S, 240 * HOUR_S)
        if clock.now_s >= until_s and clock.error:
            clock.error, clock.is_synced = timedelta(), True
        for _ in range(3):
            await world.ping(ROUND_BYTES)
        for index, (every_s, ask) in enumerate(tests):
            if clock.now_s >= due[index]:
                await world.test(ask, cost_of, 0.03 if troubled else 0.0)
                due[index] = max(due[index], clock.now_s - every_s) + every_s * rng.uniform(0.5, 1.5)
        if troubled and rng.random() < 0.001:
            await world.restart()
        clock.now_s += 3 * line.ping_interval_s
    return befell


@pytest.mark.parametrize("name", LINES)
async def test_a_troubled_year_stays_within_the_budget_every_month(name: str, state: Path) -> None:
    line = LINES[name]
    world = World(state, line.policy, seed=7)
    befell = await live(world, line, troubled=True)
    assert befell == {"1970", "+10 years", "stopped", "step while synced"}
    assert world.kills > 20
    assert max(world.spent.values()) <= line.budget
    assert world.pings_refused == 0
    assert world.tests_run + world.tests_refused > 1000
    if world.tests_refused > 0.05 * world.tests_run:  # a budget that is hardly in the way need not be used up
        assert sum(world.spent[key] for key in whole_months(world)) >= 0.8 * len(whole_months(world)) * line.budget
    else:
        assert name == "satellite"


@pytest.mark.parametrize("name", LINES)
async def test_a_quiet_year_uses_the_budget_every_month_and_checks_every_day(name: str, state: Path) -> None:
    line = LINES[name]
    world = World(state, line.policy, seed=11)
    await live(world, line, troubled=False)
    assert max(world.spent.values()) <= line.budget
    assert world.pings_refused == 0
    assert [day for day, kinds in world.days.items() if "check" not in kinds] == []
    assert {month for (month, kind), size in world.by_kind.items() if kind == "speed"} >= set(whole_months(world))
    if world.tests_refused:
        assert min(world.spent[key] for key in whole_months(world)) >= 0.9 * line.budget
    else:
        assert name == "satellite"


def whole_months(world: World) -> list[str]:
    """The year begins and ends within a billing month, where there is less to spend it on."""
    return sorted(world.spent)[1:-1]


async def test_a_power_cut_in_every_test_and_a_wrong_clock_after_it_cannot_overspend(state: Path) -> None:
    line = LINES["metered, tight"]
    world = World(state, line.policy, seed=3)
    clock = world.clock
    while clock.true < world.clock.begin + timedelta(days=100):
        clock.error = timedelta(days=world.rng.choice((-20_000, -31, 31, 62, 3652)))
        clock.is_synced = None
        if world.rng.random() < 0.2:
            clock.error, clock.is_synced = timedelta(), True
        for ask in (SPEED, CHECK):
            await world.test(ask, lambda cap: cap, kill_chance=1.0)
        clock.now_s += HOUR_S
    spent = [world.spent[key] / line.budget for key in sorted(world.spent)[:4]]
    assert 0.5 < max(spent) <= 1.0
    assert world.kills > 100
