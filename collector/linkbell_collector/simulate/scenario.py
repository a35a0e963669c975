"""What is to happen, from a TOML file: moments in simulated time, and the schools they hit. Pure.

A scenario is resolved against a fleet into faults. With the same fleet, seed and start the faults are the same.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from linkbell_collector.simulate import names
from linkbell_collector.simulate.faults import FOREVER_US, VALUES, Fault, Kind
from linkbell_collector.simulate.fleet import Site
from linkbell_collector.simulate.noise import mix
from linkbell_collector.simulate.plan import next_speed_us

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d+)?[smhd])+)")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_FLEET = ("schools", "regions", "districts", "providers", "seed", "prefix", "district_sizes", "provider_sizes")
_WHERE = ("region", "district", "provider", "technology", "village_of", "ids", "count", "share", "backup")
_MOMENT = ("at", "lasts", "what", "where", "label", "download_bps", "upload_bps", "loss_ratio", "rtt_s")
_TOP = ("name", "description", "background", "starts", "fleet", "moment")


class ScenarioError(ValueError):
    """Something in a scenario file that cannot be; the message names the place."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One ``[[moment]]``: times in seconds after the start (negative: before it); ``lasts_s`` None: to the end."""

    what: Kind
    at_s: float
    lasts_s: float | None
    where: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole file. ``fleet`` holds values of a ``FleetSpec``; ``starts`` is a weekday and time, or None: now."""

    name: str
    description: str = ""
    background: bool = True
    starts: str | None = None
    fleet: Mapping[str, Any] = field(default_factory=dict)
    moments: Sequence[Moment] = ()


def duration_s(value: object, where: str = "duration") -> float:
    """Read ``90s``, ``1h30m``, ``-3d``. Raises :class:`ScenarioError`."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ScenarioError(f"{where}: {value!r} is not a time such as 90s, 20m, 1h30m or -3d")
    total = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(match[2]))
    return -total if match[1] else total


def read(document: Mapping[str, Any], name: str) -> Scenario:
    """Return the scenario in a parsed TOML ``document``. Raises :class:`ScenarioError`."""
    _known(document, _TOP, name)
    fleet = document.get("fleet", {})
    _known(fleet, _FLEET, f"{name}, fleet")
    sizes = {key: tuple(fleet[key]) for key in ("district_sizes", "provider_sizes") if key in fleet}
    moments = [_moment(item, f"{name}, moment {number}") for number, item in enumerate(document.get("moment", []), 1)]
    return Scenario(
        name=str(document.get("name", name)),
        description=str(document.get("description", "")),
        background=bool(document.get("background", True)),
        starts=document.get("starts"),
        fleet={**fleet, **sizes},
        moments=moments,
    )


def _moment(item: Mapping[str, Any], where: str) -> Moment:
    _known(item, _MOMENT, where)
    try:
        what = Kind(item.get("what", ""))
    except ValueError as error:
        raise ScenarioError(f"{where}, what: {item.get('what')!r} is not one of {', '.join(Kind)}") from error
    _known(item.get("where", {}), _WHERE, f"{where}, where")
    values = {key: item[key] for key in ("download_bps", "upload_bps", "loss_ratio", "rtt_s") if key in item}
    for key, value in values.items():
        if key not in VALUES.get(what, ()):
            raise ScenarioError(f"{where}: {what.value} has no {key}")
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise ScenarioError(f"{where}, {key}: {value!r} is not a number from 0")
    if what in VALUES and not values:
        raise ScenarioError(f"{where}: {what.value} needs {' or '.join(VALUES[what])}")
    lasts = item.get("lasts")
    return Moment(
        what=what,
        at_s=duration_s(item.get("at", "0s"), f"{where}, at"),
        lasts_s=None if lasts is None else duration_s(lasts, f"{where}, lasts"),
        where=item.get("where", {}),
        label=str(item.get("label", "")),
        values={key: float(value) for key, value in values.items()},
    )


def _known(found: object, known: Sequence[str], where: str) -> None:
    if not isinstance(found, Mapping):
        raise ScenarioError(f"{where}: must be a table")
    for key in found:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ScenarioError(f"{where}: there is no {key!r}; {hint}")


def resolve(scenario: Scenario, fleet: Sequence[Site], start_us: int, *, speeds_per_day: int = 3) -> list[Fault]:
    """Return the faults of a scenario that starts at ``start_us``. Raises :class:`ScenarioError`."""
    faults: list[Fault] = []
    for number, moment in enumerate(scenario.moments, 1):
        where = f"{scenario.name}, moment {number}"
        begin_us = start_us + round(moment.at_s * 1e6)
        end_us = FOREVER_US if moment.lasts_s is None else begin_us + round(moment.lasts_s * 1e6)
        if moment.what is Kind.COLLECTOR_RESTART:
            faults.append(Fault(moment.what, (), begin_us, begin_us, label=moment.label))
            continue
        sites = chosen(fleet, moment.where, where)
        if moment.what is Kind.BAD_SAMPLE:
            faults.extend(_bad_sample(moment, site, begin_us, speeds_per_day) for site in sites)
            continue
        indexes = tuple(site.index for site in sites)
        faults.append(Fault(moment.what, indexes, begin_us, end_us, "scenario", moment.label, moment.values))
    return faults


def _bad_sample(moment: Moment, site: Site, begin_us: int, speeds_per_day: int) -> Fault:
    """Spoil exactly the school's next test."""
    test_us = next_speed_us(site.key, begin_us, speeds_per_day)
    return Fault(moment.what, (site.index,), test_us, test_us + 1_000_000, "scenario", moment.label, moment.values)


def chosen(fleet: Sequence[Site], where: Mapping[str, Any], place: str) -> list[Site]:
    """Return the schools that fit every word of ``where``: then ``count`` or ``share`` of them, drawn by their keys."""
    found = [site for site in fleet if _fits(site, where, fleet, place)]
    if "count" in where or "share" in where:
        wanted = int(where["count"]) if "count" in where else round(float(where["share"]) * len(found))
        if wanted > len(found):
            raise ScenarioError(f"{place}, where: {wanted} schools are wanted, {len(found)} fit")
        found = sorted(sorted(found, key=lambda site: mix(site.key, 80))[:wanted], key=lambda site: site.index)
    if not found:
        raise ScenarioError(f"{place}, where: no school fits")
    return found


def _fits(site: Site, where: Mapping[str, Any], fleet: Sequence[Site], place: str) -> bool:
    for word, value in where.items():
        if word == "technology" and site.line.technology.name != value:
            return False
        if word == "ids" and site.id not in value:
            return False
        if word == "backup" and (site.backup is not None) != value:
            return False
        if word == "village_of" and site.village != _by_number(fleet, value, place).village:
            return False
        if word in ("region", "district", "provider") and getattr(site, word) != _named(word, value):
            return False
    return True


def _named(word: str, value: object) -> str:
    """Return the name of a region, district or provider given by name, or by its number from 1."""
    if not isinstance(value, int):
        return str(value)
    if word == "region":
        return names.region(value - 1)[0]
    return names.district(value - 1) if word == "district" else names.provider(value - 1)


def _by_number(fleet: Sequence[Site], value: object, place: str) -> Site:
    if not isinstance(value, int) or not 1 <= value <= len(fleet):
        raise ScenarioError(f"{place}, village_of: {value!r} is not the number of a school, from 1")
    return fleet[value - 1]
