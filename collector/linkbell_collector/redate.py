"""Honest time: when did it happen, whatever the clock of the box says. Pure.

A record made in the boot that sends it is dated from the collector's own clock: it was received ``age`` ago, and
CLOCK_BOOTTIME, which never steps and counts sleep, gives the age. Only an earlier boot needs the box's wall clock.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from linkbell_collector.clock import to_us
from linkbell_collector.domain import DatedRecord, TimeQuality
from linkbell_wire import AnyRecord, Clock
from linkbell_wire.words import ClockQuality

BOOT_TOLERANCE_US = 60_000_000
"""An earlier boot's record may lie this far past the start of the present one before its clock is disbelieved."""


LONGEST_WAY_US = 120_000_000
"""What TCP takes at most to bring a batch over a line that fails and comes back. More is a step of our own clock."""

DRIFT = 200e-6
"""By how much two clocks may run apart; crystals without a battery's company reach half of it."""


class Boot(NamedTuple):
    """When a box was booted, by our clock, as the batch that came at ``seen_us`` left it."""

    boot_id: str
    booted_us: int
    seen_us: int


def see_boot(before: Boot | None, clock: Clock, received_us: int) -> Boot:
    """Return when the box that sent ``clock`` was booted; ``before`` is what its batches so far have said.

    Each batch says it, later by as long as it was under way. That is milliseconds, or minutes when a line fails under
    it: TCP brings it once the line is back. So the earliest is the truest, as far as clocks do not run apart.
    """
    booted_us = received_us - round(clock.boottime_s * 1e6)
    if before is not None and before.boot_id == clock.boot_id:
        expected_us = before.booted_us + round(max(0, received_us - before.seen_us) * DRIFT)
        if booted_us - expected_us <= LONGEST_WAY_US:
            booted_us = min(booted_us, expected_us)
    return Boot(clock.boot_id, booted_us, received_us)


def date_records(records: Iterable[AnyRecord], clock: Clock, booted_us: int) -> Iterator[DatedRecord]:
    """Yield each record with its believed time. ``booted_us`` is when the box was booted, by the collector's clock."""
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
