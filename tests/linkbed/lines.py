"""What a line is: rates, delay, jitter, loss and queue, each way on its own. Plain data, the same for the same seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

STEP_S = 0.1
"""How long a varying line keeps one rate."""

PATTERN_S = 120.0
"""A varying line's pattern repeats after this long."""


@dataclass(frozen=True)
class Others:
    """Other people's traffic: ``bps`` of IP packets for ``on_s`` on average, then nothing for ``off_s`` on average.

    It is not elastic: it gives way to nobody but by losing packets to a full queue.
    """

    bps: float = 0.0
    on_s: float = 1.0
    off_s: float = 0.0


@dataclass(frozen=True)
class Way:
    """One direction. ``rates_bps`` are IP packets' bits per second, each for ``step_s``, repeated for ever.

    ``jitter_s`` is added to the delay and wanders between 0 and that. ``loss`` is the share of packets lost on the way,
    in bursts of ``burst_packets`` on average. The queue before the line holds ``queue_bytes``, headers included.
    """

    rates_bps: Sequence[float]
    delay_s: float
    queue_bytes: int
    jitter_s: float = 0.0
    loss: float = 0.0
    burst_packets: float = 1.0
    step_s: float = STEP_S
    others: Others = field(default_factory=Others)

    @property
    def mean_bps(self) -> float:
        """The mean rate of the whole pattern."""
        return sum(self.rates_bps) / len(self.rates_bps)

    def described(self) -> str:
        """Return this direction as ``linkbed.c`` reads it."""
        head = (
            f"{self.delay_s * 1e6:.0f} {self.jitter_s * 1e6:.0f} {self.loss * 1e6:.3f} {self.burst_packets} "
            f"{self.queue_bytes} {self.step_s * 1e6:.0f} {len(self.rates_bps)} "
            f"{self.others.bps:.0f} {self.others.on_s * 1e6:.0f} {self.others.off_s * 1e6:.0f}"
        )
        return "\n".join([head, *(f"{rate:.0f}" for rate in self.rates_bps), ""])


@dataclass(frozen=True)
class Line:
    """Both directions, seen from the school. ``is_steady`` lines carry the same all the time."""

    name: str
    down: Way
    up: Way
    is_steady: bool = True
    seed: int = field(default=1, kw_only=True)


def steady(rate_mbit: float, *, delay_s: float, queue_s: float, **more: Any) -> Way:
    """Return a direction of one rate. The queue holds ``queue_s`` seconds of it, and never fewer than 16 packets."""
    rate_bps = rate_mbit * 1e6
    return Way([rate_bps], delay_s, max(24_000, round(rate_bps / 8 * queue_s)), **more)


def wandering(
    rate_mbit: float, swing: float, seed: int, *, delay_s: float, queue_s: float, settle_s: float = 1.0, **more: Any
) -> Way:
    """Return a direction whose rate wanders around ``rate_mbit`` within plus or minus ``swing`` of it.

    An Ornstein-Uhlenbeck walk with a memory of ``settle_s``, held within the limits, as cells with other users do.
    """
    dice = random.Random(seed)
    keep = 1 - STEP_S / settle_s
    position, rates = 0.0, []
    for _ in range(round(PATTERN_S / STEP_S)):
        position = keep * position + dice.gauss(0, (1 - keep**2) ** 0.5) * swing / 1.6
        position = min(swing, max(-swing, position))
        rates.append(rate_mbit * 1e6 * (1 + position))
    return Way(rates, delay_s, max(24_000, round(rate_mbit * 1e6 / 8 * queue_s)), **more)


def with_gaps(way: Way, every_s: float, gap_s: float, offset_s: float) -> Way:
    """Return ``way`` with nothing carried for ``gap_s`` in every ``every_s``, as when a satellite hands over."""
    rates = list(way.rates_bps) if len(way.rates_bps) > 1 else list(way.rates_bps) * round(PATTERN_S / way.step_s)
    step_of = [round((offset_s + turn * every_s) / way.step_s) for turn in range(round(PATTERN_S / every_s) + 1)]
    for start, _ in pairwise(step_of):
        for step in range(start, start + max(1, round(gap_s / way.step_s))):
            rates[step % len(rates)] = 0.0
    return replace(way, rates_bps=rates)
