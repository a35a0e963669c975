"""A day of minutes in a ring: nothing is invented, nothing outlives a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.recent.minutes import NOTHING, WIDTH, Minute, Minutes, MinutesState


def test_what_was_put_is_there_to_a_tenth_of_a_millisecond_and_half_a_percent() -> None:
    minutes = Minutes()
    minutes.put(100, 0.02345, 0.103)
    rtt_s, loss = minutes.at(100)
    assert rtt_s == pytest.approx(0.02345, abs=6e-5)
    assert loss == pytest.approx(0.103, abs=0.003)


def test_nothing_found_out_is_none_and_no_loss_is_zero() -> None:
    minutes = Minutes()
    minutes.put(5, None, 1.0)
    minutes.put(6, 0.0, 0.0)
    assert minutes.at(5) == Minute(None, 1.0)
    assert minutes.at(6).loss_ratio == 0.0
    assert minutes.at(6).rtt_s is not None
    assert minutes.at(4) == minutes.at(7) == NOTHING


def test_several_results_of_the_newest_minute_are_averaged() -> None:
    minutes = Minutes()
    for rtt_s, loss in ((0.010, 0.0), (0.020, 0.5), (None, 1.0)):
        minutes.put(9, rtt_s, loss)
    assert minutes.at(9).rtt_s == pytest.approx(0.015, abs=1e-4)
    assert minutes.at(9).loss_ratio == pytest.approx(0.5, abs=0.003)


def test_a_minute_is_forgotten_a_day_later_and_older_ones_do_not_come_back() -> None:
    minutes = Minutes()
    minutes.put(0, 0.01, 0.0)
    minutes.put(WIDTH - 1, 0.02, 0.0)
    assert minutes.at(0) != NOTHING
    minutes.put(WIDTH, 0.03, 0.0)
    assert minutes.at(0) == NOTHING
    minutes.put(0, 0.5, 0.0)
    assert minutes.at(0) == NOTHING
    assert minutes.at(WIDTH).rtt_s == pytest.approx(0.03, abs=1e-4)


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.one_of(st.none(), st.floats(0, 10)),
        st.one_of(st.none(), st.floats(0, 1)),
    ),
    min_size=1,
    max_size=60,
)


@given(ENTRIES)
def test_what_was_written_reads_back_the_same(entries: list[tuple[int, float | None, float | None]]) -> None:
    minutes = Minutes()
    for entry in entries:
        minutes.put(*entry)
    again = Minutes.from_state(minutes.state())
    assert list(again.known()) == list(minutes.known())
    assert again.newest == max(minute for minute, _, _ in entries)
    again.put(again.newest + 1, 0.001, 0.0)
    assert again.at(again.newest).rtt_s == pytest.approx(0.001)


@pytest.mark.parametrize(
    "damage",
    [
        MinutesState(newest=5, rtt="", loss=""),
        MinutesState(newest=5, rtt="AAAA", loss="AAAA"),
        MinutesState(newest=5, rtt="=" * 3841, loss="?"),
    ],
)
def test_what_is_no_day_of_minutes_is_refused(damage: MinutesState) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Minutes.from_state(damage)
