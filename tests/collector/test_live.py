"""Live state: the newest of everything, in whatever order it comes."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_collector.domain import DatedRecord, School, TimeQuality
from linkbell_collector.live import MAX_SERIES_PER_SCHOOL, LiveState, settles
from linkbell_wire import AnyRecord, RecordKind
from linkbell_wire.records import RECORD_ADAPTER
from tests.collector.support import check, data_use, dns, event, http, lost_ping, ping, speed


def record(fields: dict[str, Any]) -> AnyRecord:
    found: AnyRecord = RECORD_ADAPTER.validate_json(json.dumps(fields))
    return found


def live_with(*dated: tuple[int, dict[str, Any]], quality: TimeQuality = TimeQuality.REDATED) -> LiveState:
    live = LiveState()
    live.set_schools([School("s-1")])
    for at_us, fields in dated:
        live.apply("s-1", DatedRecord(record(fields), at_us, quality))
    return live


def contents(live: LiveState) -> dict[Any, Any]:
    """Return all readings and attempts by their labels."""
    return {
        (kind, slot.labels): (slot.reading, slot.attempt)
        for kind, slots in live.snapshot().slots.items()
        for slot in slots
    }


KINDS = [
    ping(0),
    lost_ping(0),
    ping(0, target="gateway"),
    speed(0),
    speed(0, down_bps=None),
    speed(0, down_bps=None, up_bps=None),
    check(0),
    check(0, passed=False),
    check(0, passed=None),
    dns(0),
    dns(0, duration_s=None, failure={"operation": "resolve", "code": "dns_timeout"}),
    http(0),
    ping(0, uplink="backup"),
    data_use(0),
    data_use(0, 300_000_000, None),
    data_use(0, "much"),
    event(0),
]

histories = st.lists(st.sampled_from(KINDS), min_size=1, max_size=30)


@given(histories, st.randoms(use_true_random=False))
def test_records_may_come_in_any_order_and_any_number_of_times(
    history: list[dict[str, Any]], chance: random.Random
) -> None:
    dated = list(enumerate(history, start=1))
    shuffled = dated + dated[: len(dated) // 2]
    chance.shuffle(shuffled)
    assert contents(live_with(*shuffled)) == contents(live_with(*dated))


@given(histories)
def test_nothing_older_than_a_record_that_settles_its_series_matters(history: list[dict[str, Any]]) -> None:
    dated = list(enumerate(history, start=1))
    needed: list[tuple[int, dict[str, Any]]] = []
    settled: set[tuple[str, ...]] = set()
    for at_us, fields in reversed(dated):
        series = (fields["kind"], fields["uplink"], fields.get("target") or fields.get("event", ""))
        if series not in settled:
            needed.append((at_us, fields))
            if settles(record(fields)):
                settled.add(series)
    assert contents(live_with(*needed)) == contents(live_with(*dated))


def test_a_late_record_never_moves_a_reading_backwards() -> None:
    live = live_with((2_000, ping(0, jitter_s=0.002)), (1_000, ping(1, jitter_s=0.009)))
    (slot,) = live.snapshot().slots[RecordKind.PING]
    assert slot.reading is not None
    assert slot.reading.at_us == 2_000


def test_a_record_of_an_unsynchronised_boot_says_nothing_about_now() -> None:
    assert contents(live_with((1_000, ping(0)), quality=TimeQuality.UNSYNCED)) == {}


def test_a_failed_speed_test_keeps_the_last_speed_and_marks_the_attempt() -> None:
    live = live_with((1_000, speed(0, down_bps=40e6)), (2_000, speed(1, down_bps=None)))
    down = next(slot for slot in live.snapshot().slots[RecordKind.SPEED] if slot.target == "download")
    assert down.reading is not None
    assert down.reading.at_us == 1_000
    assert down.attempt is not None
    assert down.attempt.at_us == 2_000
    assert down.attempt.failure is not None


def test_a_box_that_invents_targets_is_stopped_and_counted() -> None:
    live = live_with(*((1, ping(0, target=f"t-{index}")) for index in range(MAX_SERIES_PER_SCHOOL + 5)))
    assert live.series_count == MAX_SERIES_PER_SCHOOL
    assert live.refused_series == 5


def test_expired_series_leave_and_make_room() -> None:
    live = live_with((1_000, ping(0)), (5_000, ping(1, target="gateway")))
    live.expire(2_000)
    assert [slot.target for slot in live.snapshot().slots[RecordKind.PING]] == ["gateway"]
    live.forget("s-1")
    assert contents(live) == {}


def test_a_school_that_is_gone_takes_its_series_along() -> None:
    live = live_with((1_000, ping(0)))
    live.set_schools([])
    assert contents(live) == {}
    assert live.school_count == 0


@pytest.mark.parametrize("fields", [speed(0, down_bps=None), check(0, passed=None)])
def test_a_test_that_failed_does_not_settle_its_series(fields: dict[str, Any]) -> None:
    assert not settles(record(fields))
