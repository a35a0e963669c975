"""The month moves by time that is certain, and no clock makes what was spent disappear."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.budget.ledger import DOUBT_S, Ledger, Reading, begin, charge, learn, observe
from linkbell_agent.budget.months import Calendar

MONTH = Calendar()
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
DAY_S = 86_400.0


def at(wall: datetime, *, trusted: bool = True, boot: str = "a", boottime_s: float = 0.0) -> Reading:
    return Reading(wall, trusted, boot, boottime_s)


def spent_in_march(day: int = 10) -> Ledger:
    """Return a ledger of March with a thousand bytes, its clock trusted."""
    ledger = begin(at(MARCH), MONTH, lost=False)
    return charge(observe(ledger, later(day), MONTH), "speed", 1000)


def later(days: float, *, trusted: bool = True, boot: str = "a", step: timedelta = timedelta()) -> Reading:
    """Return a reading of the same boot, so many days after the beginning of March."""
    return at(MARCH + timedelta(days=days) + step, trusted=trusted, boot=boot, boottime_s=days * DAY_S)


def test_a_new_month_begins_with_nothing() -> None:
    ledger = observe(spent_in_march(), later(31.5), MONTH)
    assert (ledger.key, dict(ledger.used)) == ("2026-04", {})
    assert ledger.months["2026-03"] == {"speed": 1000}


def test_after_a_restart_in_1970_the_month_is_the_same_until_the_clock_is_right() -> None:
    ledger = spent_in_march()
    ledger = observe(ledger, at(datetime(1970, 1, 1, tzinfo=UTC), trusted=False, boot="b", boottime_s=9.0), MONTH)
    assert (ledger.key, ledger.seen.wall) == ("2026-03", MARCH + timedelta(days=10))
    ledger = observe(charge(ledger, "ping", 5), at(MARCH + timedelta(days=11), boot="b", boottime_s=99.0), MONTH)
    assert (ledger.key, dict(ledger.used), dict(ledger.unsure)) == ("2026-03", {"speed": 1000, "ping": 5}, {})


def test_ten_years_ahead_without_a_synchronised_clock_is_the_same_month() -> None:
    ledger = observe(spent_in_march(), later(10.1, trusted=False, step=timedelta(days=3652)), MONTH)
    assert (ledger.key, ledger.used["speed"]) == ("2026-03", 1000)


def test_without_certain_time_the_month_moves_by_the_time_the_box_is_up() -> None:
    ledger = observe(spent_in_march(), later(30.9, trusted=False), MONTH)
    assert ledger.key == "2026-03"
    assert observe(ledger, later(31.1, trusted=False), MONTH).key == "2026-04"


def test_what_was_spent_in_uncertain_time_counts_in_the_month_it_turns_out_to_be() -> None:
    ledger = observe(spent_in_march(), later(10, trusted=False, boot="b"), MONTH)
    ledger = charge(ledger, "speed", 300)
    ledger = observe(ledger, at(datetime(2026, 4, 20, tzinfo=UTC), boot="b", boottime_s=11 * DAY_S), MONTH)
    assert (ledger.key, sum(ledger.used.values())) == ("2026-04", 300)
    assert ledger.months["2026-03"]["speed"] == 1300


def test_two_months_without_certain_time_may_be_one_and_count_as_one() -> None:
    ledger = observe(spent_in_march(), later(11, trusted=False), MONTH)
    ledger = charge(ledger, "speed", 300)
    ledger = charge(observe(ledger, later(32, trusted=False), MONTH), "speed", 50)
    assert (ledger.key, ledger.unsure_bytes) == ("2026-04", 350)


def test_a_clock_that_contradicts_itself_is_not_believed_at_first_and_takes_everything_along_later() -> None:
    ledger = spent_in_march()
    ledger = observe(ledger, later(10.1, step=timedelta(days=100)), MONTH)
    assert (ledger.key, ledger.seen.trusted) == ("2026-03", False)
    forgiven = observe(charge(ledger, "speed", 1), later(11), MONTH)
    assert (forgiven.key, forgiven.used["speed"], forgiven.doubt_since_s) == ("2026-03", 1001, None)
    moved = observe(ledger, later(10.2 + DOUBT_S / DAY_S, step=timedelta(days=100)), MONTH)
    assert (moved.key, moved.used["speed"], "2026-03" in moved.months) == ("2026-06", 1000, False)
    back = observe(charge(moved, "check", 7), at(MARCH + timedelta(days=14), boot="c"), MONTH)
    assert (back.key, dict(back.used)) == ("2026-03", {"speed": 1000, "check": 7})


def test_a_doubted_clock_is_doubted_after_a_restart_too() -> None:
    doubted = observe(spent_in_march(), later(10.1, step=timedelta(days=100)), MONTH)
    again = observe(doubted, at(MARCH + timedelta(days=110), boot="b", boottime_s=5.0), MONTH)
    assert (again.key, again.seen.trusted) == ("2026-03", False)


def test_back_in_a_known_month_later_ones_are_added_to_it() -> None:
    april = charge(observe(spent_in_march(), later(31.01), MONTH), "speed", 40)
    back = observe(april, later(31.02, step=timedelta(minutes=-30)), MONTH)
    assert (back.key, back.used["speed"]) == ("2026-03", 1040)
    again = observe(back, later(31.03), MONTH)
    assert (again.key, dict(again.used)) == ("2026-04", {})


def test_more_than_a_year_ahead_is_no_new_budget() -> None:
    ledger = observe(spent_in_march(), at(datetime(2036, 3, 5, tzinfo=UTC), boot="b"), MONTH)
    assert (ledger.key, ledger.used["speed"]) == ("2036-03", 1000)


def test_a_box_that_was_off_for_the_summer_has_a_new_month() -> None:
    ledger = observe(spent_in_march(), at(datetime(2026, 9, 1, tzinfo=UTC), boot="b"), MONTH)
    assert (ledger.key, dict(ledger.used)) == ("2026-09", {})


def test_a_new_box_has_the_rest_of_the_month_and_a_lost_ledger_less() -> None:
    now = at(MARCH + timedelta(days=20.5))
    assert begin(now, MONTH, lost=False).presumed == {"2026-03": 20 / 31}
    assert begin(now, MONTH, lost=True).presumed == {"2026-03": 21 / 31 + 0.1}
    unknown = begin(replace(now, trusted=False), MONTH, lost=True)
    assert unknown.presumed == {"2026-03": 1.0}
    assert observe(unknown, replace(now, boottime_s=5.0), MONTH).presumed == {"2026-03": 21 / 31 + 0.1}
    assert observe(begin(at(MARCH), MONTH, lost=True), later(32), MONTH).presumed.get("2026-04") is None


def test_a_new_box_that_starts_in_1970_takes_what_it_spent_along() -> None:
    ledger = begin(at(datetime(1970, 1, 1, tzinfo=UTC), trusted=False), MONTH, lost=False)
    ledger = charge(ledger, "speed", 70)
    ledger = observe(ledger, at(MARCH + timedelta(days=3), boottime_s=60.0), MONTH)
    assert (ledger.key, dict(ledger.used), ledger.presumed) == ("2026-03", {"speed": 70}, {"2026-03": 3 / 31})


def test_what_is_given_back_never_makes_less_than_nothing() -> None:
    ledger = charge(spent_in_march(), "speed", -5000)
    assert ledger.used["speed"] == 0
    assert charge(ledger, "speed", 5, "1999-01").used["speed"] == 5


def test_the_typical_cost_follows_what_tests_cost() -> None:
    ledger = learn(learn(spent_in_march(), "speed", 100), "speed", 200)
    assert round(ledger.typical_bytes["speed"], 6) == 130


readings = st.tuples(st.integers(-700, 4000), st.booleans(), st.sampled_from("ab"), st.integers(1, 40))


@given(st.lists(readings, max_size=25))
def test_whatever_clocks_say_months_are_bounded_and_bytes_of_the_last_day_are_not_forgotten(
    story: list[tuple[int, bool, str, int]],
) -> None:
    ledger, boottime_s = spent_in_march(), 0.0
    for days, trusted, boot, size in story:
        boottime_s += 60.0
        ledger = observe(
            ledger, at(MARCH + timedelta(days=days), trusted=trusted, boot=boot, boottime_s=boottime_s), MONTH
        )
        before = sum(ledger.used.values())
        ledger = charge(ledger, "ping", size)
        assert sum(ledger.used.values()) == before + size
        assert 1 <= len(ledger.months) <= 7
        assert ledger.key == MONTH.period(ledger.seen.wall).key
