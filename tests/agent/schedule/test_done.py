"""What was served: small on disk, read back as it was, and nothing believed that cannot be."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_agent.schedule.calendar import ALWAYS_OPEN
from linkbell_agent.schedule.done import Attempts, DayDone, Done, dump, load
from linkbell_agent.schedule.slots import Kind, Timetable, slots_of

MINUTES = slots_of(Timetable(Kind.CHECK_DOWNLOAD, ALWAYS_OPEN, interval_s=60), date(2026, 3, 2))


def test_a_check_each_minute_of_six_days_is_a_few_kilobytes() -> None:
    done = Done(ever=True, attempts=Attempts(MINUTES[-1].key, 1, datetime(2026, 3, 2, tzinfo=UTC)))
    for day in range(1, 13):
        for slot in slots_of(Timetable(Kind.CHECK_DOWNLOAD, ALWAYS_OPEN, interval_s=60), date(2026, 3, day)):
            done = done.served(slot)
    assert len(done.days) == 6
    assert len(json.dumps(dump(done))) < 3000
    assert load(json.loads(json.dumps(dump(done)))) == done


@given(st.integers(1, 288), st.integers(1, 288), st.integers(0, 2**288))
def test_cut_anew_a_part_is_served_if_that_in_which_it_begins_was(old: int, new: int, bits: int) -> None:
    day = DayDone(old, served=bits % 2**old).cut_into(new)
    for part in range(new):
        assert (day.served >> part & 1) == (bits % 2**old >> part * old // new & 1)


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"ever": True, "days": [["x", 0, "0", "0"]], "attempts": None},
        {"ever": True, "days": [["x", 10**9, "0", "0"]], "attempts": None},
        {"ever": True, "days": [["x", 3, "z", "0"]], "attempts": None},
        {"ever": True, "days": [], "attempts": ["x", 1, "2026-03-02T00:00:00"]},
        {"ever": True, "days": [], "attempts": ["x"]},
    ],
)
def test_what_is_no_state_is_refused(kept: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        load(kept)
