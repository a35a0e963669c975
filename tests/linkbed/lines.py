"""What a line is, each way on its own: rates, delay, jitter, loss, queue, an allowance, and who else is on it.

Plain data, the same for the same seed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypedDict, Unpack

STEP_S = 0.1
"""How long a varying line keeps one rate."""

PATTERN_S = 120.0
"""A varying line's pattern repeats after this long."""


LEAST_PACKET_BYTES, MOST_PACKET_BYTES = 28, 1500
"""IPv4 and UDP headers alone; the MTU."""


@dataclass(frozen=True)
class Others:
    """Traffic of other people in one direction, which yields to nobody. It shares the line's queue and rate.

    ``mean_bps`` counts IP packets, of ``packet_bytes`` each. With ``burst_s`` it comes in bursts of that mean length at
    ``peak_bps`` (default: twice the mean), with pauses between; both last as chance has it (exponentially
    distributed, the same for the same seed). The emulator makes it, so it costs no process. It comes out of the line
    only if ``passes_school``: then the school's interface counts it, as a router's does, and nobody there takes it.
    """

    mean_bps: float
    packet_bytes: int = MOST_PACKET_BYTES
    burst_s: float = 0.0
    peak_bps: float | None = None
    passes_school: bool = False

    def __post_init__(self) -> None:
        if self.mean_bps <= 0 or self.burst_s < 0 or self.highest_bps < self.mean_bps:
            raise ValueError(f"others send something, and no more on average than at their peak: {self}")
        if not LEAST_PACKET_BYTES <= self.packet_bytes <= MOST_PACKET_BYTES:
            raise ValueError(f"packet_bytes is {LEAST_PACKET_BYTES} to {MOST_PACKET_BYTES}, not {self.packet_bytes}")
        if self.peak_bps is not None and not self.burst_s:
            raise ValueError("a constant rate has no peak: peak_bps goes with burst_s")

    @property
    def highest_bps(self) -> float:
        """The rate while they send."""
        if not self.burst_s:
            return self.mean_bps
        return 2 * self.mean_bps if self.peak_bps is None else self.peak_bps

    def described(self) -> str:
        """Return this as ``linkbed.c`` reads it."""
        return (
            f"{self.mean_bps:.0f} {self.highest_bps:.0f} {self.burst_s * 1e6:.0f} {self.packet_bytes} "
            f"{self.passes_school:d}\n"
        )


@dataclass(frozen=True)
class Allowance:
    """What a line gives above its sustained rate, as providers' "boost": a bucket of ``size_bytes``, full at first.

    While it holds something, the line carries ``peak_bps``; each byte carried is taken out, and it refills at the
    sustained rate, up to its size.
    """

    peak_bps: float
    size_bytes: int


@dataclass(frozen=True)
class Way:
    """One direction. ``rates_bps`` are IP packets' bits per second, each for ``step_s``, repeated for ever.

    ``jitter_s`` is added to the delay and wanders between 0 and that. ``loss`` is the share of packets lost on the way,
    in bursts of ``burst_packets`` on average. The queue before the line holds ``queue_bytes``, headers included. What
    ``others`` send is in the same queue. With an ``allowance`` there is one rate, the sustained one.
    """

    rates_bps: Sequence[float]
    delay_s: float
    queue_bytes: int
    jitter_s: float = 0.0
    loss: float = 0.0
    burst_packets: float = 1.0
    step_s: float = STEP_S
    others: Sequence[Others] = ()
    allowance: Allowance | None = None

    def __post_init__(self) -> None:
        given = self.allowance
        if given is not None and (len(self.rates_bps) != 1 or not 0 < self.rates_bps[0] < given.peak_bps):
            raise ValueError("an allowance goes with one sustained rate above 0 and a peak above that")

    @property
    def mean_bps(self) -> float:
        """The mean rate of the whole pattern."""
        return sum(self.rates_bps) / len(self.rates_bps)

    def described(self) -> str:
        """Return this direction as ``linkbed.c`` reads it."""
        head = (
            f"{self.delay_s * 1e6:.0f} {self.jitter_s * 1e6:.0f} {self.loss * 1e6:.3f} {self.burst_packets} "
            f"{self.queue_bytes} {self.step_s * 1e6:.0f} {len(self.rates_bps)} "
            f"{self.allowance.peak_bps if self.allowance else 0:.0f} "
            f"{self.allowance.size_bytes if self.allowance else 0} {len(self.others)}"
        )
        rates = "".join(f"{rate:.0f}\n" for rate in self.rates_bps)
        return f"{head}\n{rates}{''.join(one.described() for one in self.others)}"


@dataclass(frozen=True)
class Line:
    """Both directions, seen from the school. ``is_steady`` lines carry the same all the time, others' part left out."""

    name: str
    down: Way
    up: Way
    is_steady: bool = True
    seed: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if any(one.passes_school for one in self.up.others):
            raise ValueError("what goes out of the school's interface is sent in the school: see Bed.competitor")


class Hazards(TypedDict, total=False):
    """What may befall packets of a :class:`Way`."""

    jitter_s: float
    loss: float
    burst_packets: float


def steady(rate_mbit: float, *, delay_s: float, queue_s: float, **more: Unpack[Hazards]) -> Way:
    """Return a direction of one rate. The queue holds ``queue_s`` seconds of it, and never fewer than 16 packets."""
    rate_bps = rate_mbit * 1e6
    return Way([rate_bps], delay_s, max(24_000, round(rate_bps / 8 * queue_s)), **more)


def wandering(
    rate_mbit: float,
    swing: float,
    seed: int,
    *,
    delay_s: float,
    queue_s: float,
    settle_s: float = 1.0,
    **more: Unpack[Hazards],
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


def shared(way: Way, *others: Others) -> Way:
    """Return ``way`` with more people on it."""
    return replace(way, others=(*way.others, *others))


def boosted(way: Way, peak_mbit: float, size_bytes: int) -> Way:
    """Return ``way`` with an allowance of ``size_bytes``, full at first, that is carried at up to ``peak_mbit``."""
    return replace(way, allowance=Allowance(peak_mbit * 1e6, size_bytes))
