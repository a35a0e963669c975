"""What is known of earlier runs and boots of this box: what to say of them, and when their records really were. Pure.

A box without a clock battery starts in 1970, or where it stopped, and learns the time when its line comes back. From
then on it knows when this boot began, and so when everything was that it measured in it. That is worth keeping: the
records may go out only after the next power cut.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from linkbell_agent.slim import dataclass
from linkbell_wire.words import ClockQuality, EventName

STEP_S = 2.0
"""A jump of the wall clock worth an event. A leap second is not one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S = (datetime(2199, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds()

Details = dict[str, str | bool | int | float | None]
Event = tuple[EventName, Details]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A moment at which a run was seen alive, or stopping in good order. ``synced`` is as the kernel had it then."""

    boot_id: str
    boottime_s: float
    wall: datetime
    synced: bool | None
    stopped: bool = False

    @property
    def booted_unix_s(self) -> float:
        """When this boot began by the wall clock of the sighting, in seconds since 1970."""
        return (self.wall - _EPOCH).total_seconds() - self.boottime_s


def events_at_start(last: Sighting | None, now: Sighting, version: str) -> list[Event]:
    """Return what a start has to say. ``last`` is the newest sighting of the run before, None if none is known.

    What was in memory only is lost with the power: nobody can tell the numbers of those records, but from when to when
    they were measured is said here.
    """
    start: Details = {"version": version}
    if last is None:
        return [(EventName.START, start)]
    if not last.stopped:
        start |= {"unclean": True, "last_seen": _iso(last.wall), "last_seen_boottime_s": round(last.boottime_s, 1)}
    if last.boot_id == now.boot_id:
        return [(EventName.START, start)]
    boot: Details = {"uptime_s": round(now.boottime_s, 1), "stopped": last.stopped}
    events: list[Event] = [(EventName.BOOT, boot), (EventName.START, start)]
    if not last.stopped:
        gap: Details = {
            "last_seen": _iso(last.wall),
            "last_seen_synced": last.synced,
            "gap_s": _gap_s(last, now),
        }
        events.insert(1, (EventName.POWER_GAP, gap))
    return events


def _gap_s(last: Sighting, now: Sighting) -> float | None:
    """Return how long nobody was there, at most. Two clocks that were both right can be subtracted, no others."""
    if not (last.synced and now.synced):
        return None
    gap_s = now.booted_unix_s - (last.wall - _EPOCH).total_seconds()
    return round(gap_s, 1) if gap_s >= 0 else None


class StepDetector:
    """Notices steps of the wall clock: it and CLOCK_BOOTTIME run together through sleep and slewing, but not a step.

    Both are slewed by the same kernel, and both count sleep (clock_gettime(2)); only setting the time moves one alone.
    """

    def __init__(self) -> None:
        self._booted_unix_s: float | None = None

    def look(self, wall: datetime, boottime_s: float) -> float | None:
        """Return how far the wall clock was stepped since the last step or the first look, in seconds, or None.

        Small steps add up until they are worth telling.
        """
        booted = (wall - _EPOCH).total_seconds() - boottime_s
        if self._booted_unix_s is None:
            self._booted_unix_s = booted
        offset_s = booted - self._booted_unix_s
        if abs(offset_s) <= STEP_S:
            return None
        self._booted_unix_s = booted
        return offset_s


def step_event(offset_s: float, *, synced: bool | None) -> Event:
    """Return the event of a step; ``offset_s`` is positive if the clock was put forward."""
    direction = "forward" if offset_s > 0 else "backward"
    return EventName.CLOCK_STEPPED, {"offset_s": round(offset_s, 3), "direction": direction, "synced": synced}


def redated(body: str, present_boot: str, booted_unix_s: Mapping[str, float]) -> str:
    """Return a record with its true time, if its own clock did not know it and the beginning of its boot is known.

    ``body`` is its JSON. Records of the present boot are left to the collector, whose clock is better.
    """
    if f'"clock":"{ClockQuality.UNSYNCED}"' not in body:
        return body
    record: dict[str, Any] = json.loads(body)
    booted = booted_unix_s.get(record["boot_id"])
    if booted is None or record["boot_id"] == present_boot or record.get("clock") != ClockQuality.UNSYNCED:
        return body
    at_s = booted + record["boottime_s"]
    if not 0 <= at_s <= _LATEST_S:
        return body
    at = _EPOCH + timedelta(seconds=at_s)
    return json.dumps(record | {"at": _iso(at), "clock": str(ClockQuality.SYNCED)}, ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
