"""How a line is doing at a moment while nothing is broken: busy hours, weather, and its own moods. Pure."""

import math
from typing import NamedTuple

from linkbell_collector.simulate.fleet import UTC_OFFSET_S, Line, Site
from linkbell_collector.simulate.noise import bell, mix, wave

STEP_US = 600_000_000
"""A line's state holds for ten minutes; what changes faster is in every single result."""

_DAY_S = 86_400
_THURSDAY = 3
"""The first of January 1970."""


class LineState(NamedTuple):
    """Rates in bits per second, times in seconds; ``loaded_s`` is what a full line adds to a round trip."""

    down_bps: float
    up_bps: float
    rtt_s: float
    jitter_s: float
    loss_ratio: float
    loaded_s: float


class LocalTime(NamedTuple):
    """Where a moment is in the school's week."""

    day: int
    """Days since 1970, by the school's clock."""
    second: float
    weekday: int
    """Monday is 0."""


def local(now_us: int) -> LocalTime:
    """Return the school's own time."""
    seconds = now_us / 1e6 + UTC_OFFSET_S
    day = int(seconds // _DAY_S)
    return LocalTime(day, seconds - day * _DAY_S, (day + _THURSDAY) % 7)


def from_local(day: int, second: float) -> int:
    """Return a moment of a school's day, in microseconds since 1970."""
    return round((day * _DAY_S + second - UTC_OFFSET_S) * 1e6)


def busy(now: LocalTime) -> float:
    """Return how much the neighbours use the network, 0 to 1: lessons, and the evening when all are at home."""
    hour = now.second / 3600
    lessons = 0.7 * math.exp(-(((hour - 10.5) / 2.6) ** 2)) if now.weekday < 6 else 0.0
    return min(1.0, 0.08 + lessons + 0.9 * math.exp(-(((hour - 20.5) / 2.2) ** 2)))


def weather(region_key: int, now_us: int) -> float:
    """Return how bad the weather of a region is, 0 to 1: mostly fair, with fronts that pass in half a day."""
    return max(0.0, 3 * wave(region_key, now_us / 43_200e6) - 2)


def _state(key: int, region_key: int, line: Line, step: int) -> LineState:
    now_us = step * STEP_US
    kind = line.technology
    crowd = busy(local(now_us))
    rain = weather(region_key, now_us) * kind.weather_loss
    mood = 1 - 0.08 * wave(mix(key, 50), now_us / 86_400e6) + 0.025 * bell(mix(key, 51), step)
    share = max(0.05, (1 - kind.busy_loss * crowd) * (1 - rain) * mood)
    jitter_s = line.jitter_s * (1 + 1.5 * crowd * kind.busy_loss + 2 * rain)
    return LineState(
        down_bps=line.down_bps * share,
        up_bps=line.up_bps * (0.5 + 0.5 * share),
        rtt_s=line.rtt_s + jitter_s * crowd,
        jitter_s=jitter_s,
        loss_ratio=min(0.5, kind.loss_ratio * (1 + 2 * crowd) + 0.06 * rain**2),
        loaded_s=line.loaded_s * (1 + crowd * kind.busy_loss),
    )


_newest: dict[tuple[int, str], tuple[int, LineState]] = {}
"""The last step that was asked for, of each line: most questions are of the same ten minutes."""


def line_state(site: Site, line: Line, now_us: int) -> LineState:
    """Return the state of a school's line at a moment; it holds for a step of ten minutes."""
    step = now_us // STEP_US
    known = _newest.get((site.key, line.uplink))
    if known is not None and known[0] == step:
        return known[1]
    state = _state(site.key, site.region_key, line, step)
    _newest[site.key, line.uplink] = (step, state)
    return state
