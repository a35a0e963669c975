"""Honest time: when did it happen, whatever the clock of the box says. Pure.

A record made in the boot that sends it is dated from the collector's own clock: it was received ``age`` ago, and
CLOCK_BOOTTIME, which never steps and counts sleep, gives the age. Only an earlier boot needs the box's wall clock.
"""

from collections.abc import Iterable, Iterator

from linkbell_collector.clock import to_us
from linkbell_collector.domain import DatedRecord, TimeQuality
from linkbell_wire import AnyRecord, Clock
from linkbell_wire.words import ClockQuality

BOOT_TOLERANCE_US = 60_000_000
"""An earlier boot's record may lie this far past the start of the present one before its clock is disbelieved."""


def date_records(records: Iterable[AnyRecord], clock: Clock, received_us: int) -> Iterator[DatedRecord]:
    """Yield each record with its believed time. ``received_us`` is the collector's clock when the batch came."""
    booted_us = received_us - round(clock.boottime_s * 1e6)
    for record in records:
        if record.boot_id == clock.boot_id:
            # A measurement cannot end after it was sent: then the box miscounted, and "now" is nearest the truth.
            at_us = booted_us + round(min(record.boottime_s, clock.boottime_s) * 1e6)
            yield DatedRecord(record, max(0, at_us), TimeQuality.REDATED)
        else:
            at_us = to_us(record.at)
            yield DatedRecord(record, at_us, _quality(record.clock, at_us, booted_us))


def clock_offset_s(clock: Clock, received_us: int) -> float:
    """Return how far the box's wall clock is ahead of ours, in seconds, transfer time included."""
    return (to_us(clock.wall) - received_us) / 1e6


def _quality(claimed: ClockQuality | None, at_us: int, booted_us: int) -> TimeQuality:
    """Judge a record of an earlier boot.

    That the clock is synchronised now says nothing about then, so unknown is unsynced: a box without a battery
    starts where it stopped, and looks plausible. An earlier boot cannot have measured after the present one began.
    """
    if claimed is not ClockQuality.SYNCED or at_us > booted_us + BOOT_TOLERANCE_US:
        return TimeQuality.UNSYNCED
    return TimeQuality.SYNCED
