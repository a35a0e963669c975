"""When a simulated school tests its speed and checks its floor: at moments of its own in school hours. Pure."""

from bisect import bisect_right
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from linkbell_collector.simulate.line import from_local, local
from linkbell_collector.simulate.noise import mix, unit

OPEN_S = 8 * 3600
CLOSE_S = 18 * 3600
SCHOOL_DAYS = 6
"""Monday to Saturday."""

CHECK_INTERVAL_S = 1800
BUSY_SHARE = 0.04
"""Slots in which others had the line, and the test was skipped."""


class Act(Enum):
    """What is due."""

    SPEED = auto()
    SKIP = auto()
    CHECK = auto()


class Due(NamedTuple):
    """What, and when."""

    at_us: int
    act: Act


@lru_cache(1 << 16)
def of_day(key: int, day: int, per_day: int) -> tuple[Due, ...]:
    """Return what a school does in one of its days, in order. ``per_day`` is how many speed tests it makes."""
    if local(from_local(day, OPEN_S)).weekday >= SCHOOL_DAYS:
        return ()
    draw = mix(mix(key, 60), day)
    slot_s = (CLOSE_S - OPEN_S) / max(1, per_day)
    speeds = [
        Due(
            from_local(day, OPEN_S + (slot + unit(draw, slot)) * slot_s),
            Act.SKIP if unit(draw, 1000 + slot) < BUSY_SHARE else Act.SPEED,
        )
        for slot in range(per_day)
    ]
    first_s = OPEN_S + unit(key, 61) * CHECK_INTERVAL_S
    checks = [
        Due(from_local(day, first_s + number * CHECK_INTERVAL_S), Act.CHECK)
        for number in range((CLOSE_S - OPEN_S) // CHECK_INTERVAL_S)
    ]
    return tuple(sorted([*speeds, *checks]))


_quiet: dict[tuple[int, int], tuple[int, int]] = {}
"""From when to before when nothing is due, of each school: what the last question found out."""


def due(key: int, after_us: int, until_us: int, per_day: int) -> list[Due]:
    """Return what is due after ``after_us``, up to and with ``until_us``."""
    known = _quiet.get((key, per_day))
    if known is not None and known[0] <= after_us and until_us < known[1]:
        return []
    found: list[Due] = []
    for day in range(local(after_us).day, local(until_us).day + 1):
        acts = of_day(key, day, per_day)
        first = bisect_right(acts, after_us, key=_moment)
        last = bisect_right(acts, until_us, key=_moment)
        found.extend(acts[first:last])
        if last < len(acts):
            _quiet[key, per_day] = (until_us, acts[last].at_us)
    return found


def next_speed_us(key: int, after_us: int, per_day: int) -> int:
    """Return when the next speed test that is not skipped comes, within a fortnight; after that, never."""
    for day in range(local(after_us).day, local(after_us).day + 14):
        for act in of_day(key, day, per_day):
            if act.at_us > after_us and act.act is Act.SPEED:
                return act.at_us
    return after_us


def _moment(item: Due) -> int:
    return item.at_us
