"""What goes wrong in any week: lines that drop out, power cuts in villages, a provider's bad hour. Pure."""

import math
from collections.abc import Iterator, Sequence

from linkbell_collector.simulate.faults import Fault, Kind
from linkbell_collector.simulate.fleet import Site
from linkbell_collector.simulate.noise import bell, key_of, mix, unit

POWER_CUTS_PER_YEAR = 14
"""Of a village. SAIFI of rural grids in the region is from 5 to 30."""

PROVIDER_FAULTS_PER_YEAR = 4
_DAY_US = 86_400_000_000
_MINUTE_US = 60_000_000


def background(fleet: Sequence[Site], start_us: int, end_us: int) -> list[Fault]:
    """Return the faults that begin from ``start_us`` to ``end_us``: each day of each school is drawn alone."""
    days = range(start_us // _DAY_US, end_us // _DAY_US + 1)
    found = [*_of_lines(fleet, days), *_of_villages(fleet, days), *_of_providers(fleet, days)]
    return sorted(
        (fault for fault in found if start_us <= fault.start_us < end_us),
        key=lambda fault: (fault.start_us, fault.schools),
    )


def _of_lines(fleet: Sequence[Site], days: range) -> Iterator[Fault]:
    for site in fleet:
        share = site.line.technology.outages_per_year / 365
        for day in days:
            key = mix(mix(site.key, 40), day)
            draw = unit(key, 0)
            if draw < share:
                yield _fault(Kind.LINE_DOWN, (site.index,), day, key, 25)
            elif draw < 1.4 * share:
                values = {"loss_ratio": 0.08 + 0.2 * unit(key, 5), "rtt_s": 0.2 * unit(key, 6)}
                yield _fault(Kind.LOSSY, (site.index,), day, key, 60, values)


def _of_villages(fleet: Sequence[Site], days: range) -> Iterator[Fault]:
    villages: dict[str, list[int]] = {}
    for site in fleet:
        villages.setdefault(site.village, []).append(site.index)
    for village, indexes in villages.items():
        key = mix(key_of(village), fleet[indexes[0]].key)
        for day in days:
            today = mix(key, day)
            if unit(today, 0) < POWER_CUTS_PER_YEAR / 365:
                yield _fault(Kind.POWER_CUT, tuple(indexes), day, today, 45)


def _of_providers(fleet: Sequence[Site], days: range) -> Iterator[Fault]:
    areas: dict[tuple[str, str], list[int]] = {}
    for site in fleet:
        areas.setdefault((site.provider, site.district), []).append(site.index)
    for indexes in areas.values():
        key = mix(fleet[indexes[0]].key, 42)
        for day in days:
            today = mix(key, day)
            if unit(today, 0) < PROVIDER_FAULTS_PER_YEAR / 365:
                kind = Kind.LINE_DOWN if unit(today, 7) < 0.7 else Kind.INTERNATIONAL_DOWN
                yield _fault(kind, tuple(indexes), day, today, 40)


def _fault(
    kind: Kind,
    schools: tuple[int, ...],
    day: int,
    key: int,
    median_minutes: float,
    values: dict[str, float] | None = None,
) -> Fault:
    """Return a fault at a random moment of a day, of log-normal length: most are short, a few last for hours."""
    start_us = day * _DAY_US + round(unit(key, 1) * _DAY_US)
    minutes = max(2.0, median_minutes * math.exp(bell(key, 2)))
    return Fault(kind, schools, start_us, start_us + round(minutes * _MINUTE_US), "background", values=values or {})
