"""Honest time, as a table."""

import pytest

from linkbell_collector.clock import from_us
from linkbell_collector.domain import TimeQuality
from linkbell_collector.redate import LONGEST_WAY_US, Boot, clock_offset_s, date_records, see_boot
from linkbell_wire import Clock, EventRecord
from linkbell_wire.words import ClockQuality, EventName

RECEIVED_US = 1_772_430_000_000_000
SECOND = 1_000_000
BOOTED_US = RECEIVED_US - 5000 * SECOND


def clock(wall_us: int = RECEIVED_US, *, synced: bool | None = True) -> Clock:
    return Clock(boot_id="now", boottime_s=5000.0, wall=from_us(wall_us), synced=synced)


def record(boot_id: str, boottime_s: float, at_us: int, quality: ClockQuality | None) -> EventRecord:
    return EventRecord(
        seq=0,
        uplink="main",
        at=from_us(at_us),
        boot_id=boot_id,
        boottime_s=boottime_s,
        clock=quality,
        event=EventName.START,
    )


LAST_WEEK_US = RECEIVED_US - 7 * 86_400 * SECOND

CASES = {
    "a record of this boot is as old as its boot clock says": (
        record("now", 4700.0, RECEIVED_US - 300 * SECOND, ClockQuality.SYNCED),
        (RECEIVED_US - 300 * SECOND, TimeQuality.REDATED),
    ),
    "a box that believes it is 1970 still reports true times": (
        record("now", 4700.0, 300 * SECOND, ClockQuality.UNSYNCED),
        (RECEIVED_US - 300 * SECOND, TimeQuality.REDATED),
    ),
    "a record of this boot cannot be younger than its batch": (
        record("now", 5010.0, RECEIVED_US, None),
        (RECEIVED_US, TimeQuality.REDATED),
    ),
    "an earlier boot with a synchronised clock keeps its wall time": (
        record("before", 900.0, LAST_WEEK_US, ClockQuality.SYNCED),
        (LAST_WEEK_US, TimeQuality.SYNCED),
    ),
    "an earlier boot with an unsynchronised clock is marked": (
        record("before", 900.0, LAST_WEEK_US, ClockQuality.UNSYNCED),
        (LAST_WEEK_US, TimeQuality.UNSYNCED),
    ),
    "an earlier boot that does not know is marked, for a clock that is right now need not have been right then": (
        record("before", 900.0, LAST_WEEK_US, None),
        (LAST_WEEK_US, TimeQuality.UNSYNCED),
    ),
    "an earlier boot cannot have measured after this one began, whatever it claims": (
        record("before", 900.0, BOOTED_US + 61 * SECOND, ClockQuality.SYNCED),
        (BOOTED_US + 61 * SECOND, TimeQuality.UNSYNCED),
    ),
    "small disagreement of two synchronised clocks is tolerated": (
        record("before", 900.0, BOOTED_US + 59 * SECOND, ClockQuality.SYNCED),
        (BOOTED_US + 59 * SECOND, TimeQuality.SYNCED),
    ),
    "a record of the future is never believed": (
        record("before", 900.0, RECEIVED_US + 10**15, ClockQuality.SYNCED),
        (RECEIVED_US + 10**15, TimeQuality.UNSYNCED),
    ),
}


@pytest.mark.parametrize(("given", "believed"), CASES.values(), ids=CASES.keys())
def test_the_time_of_a_record_is_believed_as_far_as_it_can_be(
    given: EventRecord, believed: tuple[int, TimeQuality]
) -> None:
    (dated,) = date_records([given], clock(), BOOTED_US)
    assert (dated.at_us, dated.quality) == believed


def test_a_boot_clock_longer_than_our_own_time_does_not_lead_before_1970() -> None:
    long_ago = Clock(boot_id="now", boottime_s=4e9, wall=from_us(0))
    boot = see_boot(None, long_ago, RECEIVED_US)
    (dated,) = date_records([record("now", 0.0, 0, None)], long_ago, boot.booted_us)
    assert dated.at_us == 0


def test_the_clock_offset_is_positive_when_the_box_is_ahead() -> None:
    assert clock_offset_s(clock(RECEIVED_US + 90 * SECOND), RECEIVED_US) == 90.0
    assert clock_offset_s(clock(0), RECEIVED_US) == -RECEIVED_US / 1e6


HOUR_US = 3600 * SECOND
KNOWN = Boot("now", BOOTED_US, RECEIVED_US)
BOOTS = {
    "the first batch is believed": (None, 0, 0, BOOTED_US),
    "one that was under way for a minute is not dated a minute late": (
        KNOWN,
        HOUR_US,
        60 * SECOND,
        BOOTED_US + 732_000,
    ),
    "one that was quicker than those before is believed": (KNOWN, HOUR_US, -SECOND, BOOTED_US - SECOND),
    "clocks that run apart by 100 ppm are followed": (KNOWN, 100 * HOUR_US, 36 * SECOND, BOOTED_US + 36 * SECOND),
    "our own clock that was set ahead is followed": (
        KNOWN,
        0,
        LONGEST_WAY_US + SECOND,
        BOOTED_US + LONGEST_WAY_US + SECOND,
    ),
    "our own clock that was set back is followed": (KNOWN, -HOUR_US, -2 * HOUR_US, BOOTED_US - 2 * HOUR_US),
    "another boot is another boot": (Boot("before", 0, RECEIVED_US), 0, 50 * SECOND, BOOTED_US + 50 * SECOND),
}


@pytest.mark.parametrize(("before", "later_us", "late_us", "booted_us"), BOOTS.values(), ids=BOOTS.keys())
def test_when_a_box_was_booted_is_known_from_the_quickest_of_its_batches(
    before: Boot | None, later_us: int, late_us: int, booted_us: int
) -> None:
    """The batch is made ``later_us`` after the known one, and seems to have been ``late_us`` under way."""
    made_us = RECEIVED_US + later_us
    sent = Clock(boot_id="now", boottime_s=5000.0 + later_us / 1e6, wall=from_us(made_us))
    assert see_boot(before, sent, made_us + late_us).booted_us == booted_us
