"""Who gives way to whom when a budget runs short, and that what is kept back is kept back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.budget.account import account, projected
from linkbell_agent.budget.decide import Allow, Instead, Kind, Skip, decide, ping_interval_s
from linkbell_agent.budget.ledger import Ledger, Reading, mark_day
from linkbell_agent.budget.policy import Cost, Policy

MB = 1_000_000
ANY = -1.0
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = Policy(1000 * MB, checks_per_day=4, check_bytes=2 * MB, ping_bytes_per_day=1 * MB)
TEST = Cost(40 * MB, 20 * MB)
CHECK = Cost(2 * MB, 1 * MB)


def ledger(day: float, *, checked: bool = True, **used_mb: float) -> Ledger:
    """Return a ledger of March with so many megabytes spent, ``checked`` today or not."""
    seen = Reading(MARCH + timedelta(days=day), True, "a", 0.0)
    made = Ledger(seen, {"2026-03": {kind: round(size * MB) for kind, size in used_mb.items()}})
    return mark_day(made, "check", POLICY.calendar.period(seen.wall)) if checked else made


# March has 31 days. Of 980 MB, pings have 31, checks 248 (4 a day of 2 MB), full tests 701: 22.6 MB a day.
@pytest.mark.parametrize(
    ("kind", "cost", "state", "expected"),
    [
        (Kind.SPEED, TEST, ledger(0), Allow),
        (Kind.SPEED, TEST, ledger(0.5, speed=45), Instead(Kind.CHECK, 65 * MB, (701 / 31 + 40) * MB)),
        (Kind.SPEED, TEST, ledger(1.5, speed=45), Allow),
        (
            Kind.SPEED,
            TEST,
            ledger(15.5, speed=400, check=120),
            Instead(Kind.CHECK, 420 * MB, (701 * 16 / 31 + 40) * MB),
        ),
        (Kind.SPEED, TEST, ledger(15.5, speed=400), Allow),  # checks left theirs over
        (Kind.SPEED, TEST, ledger(30.5, speed=700, check=240, ping=30), Instead(Kind.CHECK, 1010 * MB, ANY)),
        (Kind.SPEED, TEST, ledger(30.5, speed=730, check=249), Instead(Kind.PING, 1019 * MB, ANY)),
        (Kind.SPEED, TEST, ledger(30.5, speed=700, check=281), Skip(1021 * MB, ANY)),
        (Kind.CHECK, CHECK, ledger(0.5, check=7), Allow),
        (Kind.CHECK, CHECK, ledger(0.5, check=7.5), Instead(Kind.PING, 8.5 * MB, 8 * MB)),
        (Kind.CHECK, CHECK, ledger(0.5, check=7.5, checked=False), Allow),
        (Kind.CHECK, CHECK, ledger(20.5, check=200), Allow),
        (Kind.CHECK, CHECK, ledger(30.5, speed=730, check=249, checked=False), Instead(Kind.PING, 981 * MB, ANY)),
        (Kind.PING, Cost(1000, 1000), ledger(30.5, speed=979), Allow),
        (Kind.PING, Cost(2 * MB, 2 * MB), ledger(30.5, speed=979), Skip(981 * MB, 980 * MB)),
        (Kind.SPEED, TEST, ledger(30.998), Instead(Kind.PING, 40 * MB, 0.0)),
        (Kind.CHECK, CHECK, ledger(30.998), Instead(Kind.PING, 2 * MB, 0.0)),
        (Kind.PING, Cost(1000, 1000), ledger(30.998), Allow),
    ],
)
def test_full_tests_give_way_to_checks_and_checks_to_pings(
    kind: Kind, cost: Cost, state: Ledger, expected: type[Allow] | Instead | Skip
) -> None:
    found = decide(kind, state, POLICY, cost)
    if isinstance(expected, type):
        assert found == Allow(cost.worst_bytes)
        return
    assert not isinstance(found, Allow)
    assert type(found) is type(expected)
    assert found.value == pytest.approx(expected.value)
    if expected.limit != ANY:
        assert found.limit == pytest.approx(expected.limit)
    if isinstance(found, Instead) and isinstance(expected, Instead):
        assert found.kind is expected.kind


def test_without_a_budget_everything_is_allowed_and_nothing_reserved() -> None:
    for kind in Kind:
        assert decide(kind, ledger(5, speed=10**9), Policy(), TEST) == Allow(0)


def test_where_no_checks_are_planned_a_full_test_gives_way_to_pings() -> None:
    policy = replace(POLICY, checks_per_day=0)
    found = decide(Kind.SPEED, ledger(0.5, speed=200), policy, TEST)
    assert isinstance(found, Instead)
    assert (found.kind, found.value, round(found.limit)) == (Kind.PING, 220 * MB, round(949 / 31 * MB + 40 * MB))


uses = st.fixed_dictionaries({kind: st.floats(0, 1200) for kind in ("speed", "check", "ping", "other")})
policies = st.builds(
    Policy,
    st.integers(10 * MB, 10_000 * MB),
    checks_per_day=st.sampled_from([0, 1, 4, 24]),
    check_bytes=st.integers(200_000, 20 * MB),
    ping_bytes_per_day=st.floats(0, 50 * MB),
)


@given(policies, uses, st.floats(0, 30.99), st.sampled_from(list(Kind)), st.integers(0, 200 * MB), st.booleans())
def test_what_is_allowed_fits_and_leaves_room_for_pings(
    policy: Policy, used: dict[str, float], day: float, kind: Kind, worst: int, checked: bool
) -> None:
    state = ledger(day, checked=checked, **used)
    found = decide(kind, state, policy, Cost(worst, worst // 2))
    books = account(state, policy)
    if isinstance(found, Allow):
        assert books.spent + worst <= books.limit <= 0.98 * books.budget
        if kind is not Kind.PING:
            assert books.spent + worst <= books.limit - books.ping_left
    else:
        assert found.value is not None
        assert found.limit is not None
        assert found.value > found.limit


def test_what_nobody_knows_of_is_presumed_but_leaves_pings_theirs() -> None:
    lost = replace(ledger(10.5), presumed={"2026-03": 1.0})
    assert isinstance(decide(Kind.SPEED, lost, POLICY, TEST), Instead)
    assert decide(Kind.PING, lost, POLICY, Cost(1 * MB, 1 * MB)) == Allow(1 * MB)
    assert account(lost, POLICY).spent == pytest.approx(980 * MB - 31 * MB * 20.5 / 31)


def test_spending_in_uncertain_time_holds_for_both_months_it_may_be_in() -> None:
    seen = Reading(MARCH + timedelta(days=1), False, "a", 0.0)
    state = Ledger(seen, {"2026-02": {"speed": 900 * MB}, "2026-03": {}}, unsure={"2026-02": 900 * MB})
    assert not isinstance(decide(Kind.SPEED, state, POLICY, Cost(100 * MB, 1 * MB)), Allow)
    assert isinstance(decide(Kind.SPEED, replace(state, unsure={}), POLICY, Cost(100 * MB, 1 * MB)), Allow)


def test_pings_that_cost_too_much_are_spread_further_apart() -> None:
    rich = replace(POLICY, ping_bytes_per_day=20 * MB)  # 620 MB of 980: they have 294
    assert ping_interval_s(ledger(3), POLICY, 60.0) == 60.0
    assert ping_interval_s(ledger(3), rich, 60.0) == pytest.approx(60 * 620 / 294)
    assert ping_interval_s(ledger(3, other=979), rich, 60.0) == 3600.0
    assert ping_interval_s(ledger(3, other=990), rich, 60.0) == 3600.0
    assert ping_interval_s(ledger(3, other=10**9), Policy(), 60.0) == 60.0


@pytest.mark.parametrize(
    ("spent", "elapsed", "days", "expected"),
    [(100, 0.5, 30, 200), (100, 1.0, 30, 100), (0, 0.3, 30, 0), (30, 0.001, 30, 30 + 30 * 30 * 0.999)],
)
def test_the_projection_goes_on_as_before(spent: float, elapsed: float, days: int, expected: float) -> None:
    assert projected(spent, elapsed, days) == pytest.approx(expected)
