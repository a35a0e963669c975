"""When full speed tests run: one random moment in each part of the day, the same for this agent however often asked.

Pure: time comes in as an argument. Moments are drawn from a hash of the agent's id, the date and the slot, so that a
fleet spreads evenly over each slot and no two thousand schools test on the hour.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """One part of a day, in UTC. ``key`` names it for good."""

    key: str
    start: datetime
    end: datetime


def slot_at(now: datetime, per_day: int) -> Slot:
    """Return the slot that contains ``now``, the day being cut into ``per_day`` equal parts."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC)
    index = (now - midnight) * per_day // _DAY
    # Edges are rounded up to the microsecond, as the index is rounded down: every moment lies in its own slot.
    start, end = (midnight - (-_DAY * edge) // per_day for edge in (index, index + 1))
    return Slot(f"{midnight:%Y-%m-%d}/{index}of{per_day}", start, end)


def next_moment(now: datetime, per_day: int, seed: str, done: str | None) -> datetime:
    """Return when to test next. ``done`` is the key of the slot last served, None if none ever was.

    A slot whose moment went by while the box was off is served at a random moment of what is left of it.
    """
    slot = slot_at(now, per_day)
    if slot.key == done:
        slot = slot_at(slot.end, per_day)
    moment = _within(slot.start, slot.end, f"{seed}/{slot.key}")
    return moment if moment >= now else _within(now, slot.end, f"{seed}/{slot.key}/late")


def phase(seed: str, interval_s: float) -> float:
    """Return this agent's share of ``interval_s`` to wait before a regular task begins, in seconds."""
    return _fraction(seed) * interval_s


def _within(start: datetime, end: datetime, seed: str) -> datetime:
    return start + (end - start) * _fraction(seed)


def _fraction(seed: str) -> float:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") / 2**64
