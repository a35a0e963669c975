"""The lines schools have. Rates are of IP packets, round trips twice the one-way delay, queues as modems have them."""

from collections.abc import Callable

from tests.linkbed.lines import Line, Others, boosted, shared, steady, wandering, with_gaps


def _adsl_2(seed: int) -> Line:
    return Line("ADSL 2/0.5", steady(2, delay_s=0.02, queue_s=0.3), steady(0.5, delay_s=0.02, queue_s=0.6), seed=seed)


def _adsl_8(seed: int) -> Line:
    return Line("ADSL 8/1", steady(8, delay_s=0.015, queue_s=0.2), steady(1, delay_s=0.015, queue_s=0.4), seed=seed)


def _vdsl(seed: int) -> Line:
    deep = steady(40, delay_s=0.01, queue_s=1.0), steady(8, delay_s=0.01, queue_s=1.0)
    return Line("VDSL 40/8, deep buffer", *deep, seed=seed)


def _lte(seed: int) -> Line:
    down = wandering(20, 0.5, seed, delay_s=0.03, queue_s=0.4, jitter_s=0.008)
    up = wandering(5, 0.5, seed + 1000, delay_s=0.03, queue_s=0.6, jitter_s=0.008)
    return Line("4G 20/5 ±50 %", down, up, is_steady=False, seed=seed)


def _lte_lossy(seed: int) -> Line:
    down = steady(10, delay_s=0.035, queue_s=0.3, jitter_s=0.01, loss=0.005)
    up = steady(3, delay_s=0.035, queue_s=0.5, jitter_s=0.01, loss=0.005)
    return Line("4G 10/3, 0.5 % loss", down, up, seed=seed)


def _geo(seed: int) -> Line:
    return Line("GEO 20/3", steady(20, delay_s=0.29, queue_s=0.6), steady(3, delay_s=0.29, queue_s=0.8), seed=seed)


def _geo_lossy(seed: int) -> Line:
    down = steady(20, delay_s=0.29, queue_s=0.6, loss=0.001)
    up = steady(3, delay_s=0.29, queue_s=0.8, loss=0.001)
    return Line("GEO 20/3, 0.1 % loss", down, up, seed=seed)


def _leo(seed: int) -> Line:
    down = wandering(60, 0.4, seed, delay_s=0.02, queue_s=0.1, jitter_s=0.006, loss=0.002, burst_packets=4)
    up = wandering(10, 0.4, seed + 1000, delay_s=0.02, queue_s=0.2, jitter_s=0.006, loss=0.002, burst_packets=4)
    offset_s = 5 + seed * 7.3 % 15
    return Line(
        "LEO 60/10 ±40 %, 0.2 % loss, gaps",
        with_gaps(down, 15, 0.1, offset_s),
        with_gaps(up, 15, 0.1, offset_s),
        is_steady=False,
        seed=seed,
    )


def _fibre_100(seed: int) -> Line:
    way = steady(100, delay_s=0.004, queue_s=0.05)
    return Line("fibre 100/100", way, way, seed=seed)


def _fibre_300(seed: int) -> Line:
    way = steady(300, delay_s=0.004, queue_s=0.05)
    return Line("fibre 300/300", way, way, seed=seed)


def _just_below(seed: int) -> Line:
    return Line("7.6/2", steady(7.6, delay_s=0.02, queue_s=0.2), steady(2, delay_s=0.02, queue_s=0.4), seed=seed)


def _just_above(seed: int) -> Line:
    return Line("8.4/2", steady(8.4, delay_s=0.02, queue_s=0.2), steady(2, delay_s=0.02, queue_s=0.4), seed=seed)


PROFILES: dict[str, Callable[[int], Line]] = {
    "adsl-2": _adsl_2,
    "adsl-8": _adsl_8,
    "vdsl-40": _vdsl,
    "4g-20": _lte,
    "4g-10-loss": _lte_lossy,
    "geo-20": _geo,
    "geo-20-loss": _geo_lossy,
    "leo-60": _leo,
    "fibre-100": _fibre_100,
    "fibre-300": _fibre_300,
    "below-floor": _just_below,
    "above-floor": _just_above,
}
"""By short name: a seed in, a line out."""


def _cable_boost(seed: int) -> Line:
    down = boosted(steady(30, delay_s=0.01, queue_s=0.2), 60, 10_000_000)
    up = boosted(steady(5, delay_s=0.01, queue_s=0.3), 10, 2_000_000)
    return Line("cable 30/5, boost to 60/10 for 10/2 MB", down, up, seed=seed)


def _shared(seed: int) -> Line:
    down = shared(steady(20, delay_s=0.015, queue_s=0.2), Others(6e6, 1200))
    up = shared(steady(5, delay_s=0.015, queue_s=0.3), Others(1.5e6, 600))
    return Line("shared 20/5, 30 % others", down, up, seed=seed)


def _shared_bursts(seed: int) -> Line:
    down = shared(steady(20, delay_s=0.015, queue_s=0.2), Others(6e6, 1200, burst_s=0.3))
    up = shared(steady(5, delay_s=0.015, queue_s=0.3), Others(1.5e6, 600, burst_s=0.3))
    return Line("shared 20/5, 30 % others in bursts", down, up, seed=seed)


MORE_PROFILES: dict[str, Callable[[int], Line]] = {
    "cable-30-boost": _cable_boost,
    "school-shared-20": _shared,
    "school-bursts-20": _shared_bursts,
}
"""Lines that are not the school's alone, or give more at first: what they carry depends on more than the line. For
tests; the accuracy benchmark and its page have a chart for each of ``PROFILES``, and none for these."""
