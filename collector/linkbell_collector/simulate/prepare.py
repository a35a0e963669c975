"""From what was asked for to what is run: fleet, time, truth, histories. Reads and writes the state folder only."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from linkbell_collector import folder_clock
from linkbell_collector.errors import RefusedError, UsageError
from linkbell_collector.folder_clock import Epoch
from linkbell_collector.simulate import truth
from linkbell_collector.simulate.background import background
from linkbell_collector.simulate.driver import Rhythm
from linkbell_collector.simulate.faults import FOREVER_US, Fault, Kind
from linkbell_collector.simulate.fleet import FleetSpec, Site, build_fleet
from linkbell_collector.simulate.run_file import spec_from
from linkbell_collector.simulate.scenario import Scenario, ScenarioError, read, resolve
from linkbell_collector.simulate.state import Kept, StateFolder
from linkbell_collector.simulate.timeline import Timeline, moment_of

_DAY_US = 86_400_000_000
BACKGROUND_DAYS = 40
"""Troubles of any week are drawn for so many simulated days ahead."""

SCENARIOS = resources.files("linkbell_collector.simulate") / "scenarios"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for, apart from the fleet: times in seconds of simulated time, ``speed`` as a factor."""

    scenario: Scenario
    speed: float = 1.0
    fast_clock: bool = False
    days: float = 0.0
    lasts_s: float | None = None
    speeds_per_day: int = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is run. ``histories``: since when, and at what interval (s), a box has measured before the start."""

    fleet: list[Site]
    spec: FleetSpec
    timeline: Timeline
    faults: list[Fault]
    histories: dict[int, tuple[int, float]]


def scenario_names() -> list[str]:
    """Return the ready-made scenarios."""
    return sorted(item.name.removesuffix(".toml") for item in SCENARIOS.iterdir() if item.name.endswith(".toml"))


def scenario_text(name: str) -> str:
    """Return the text of a ready-made scenario, or of a file. Raises ``UsageError``."""
    if name in scenario_names():
        return (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(scenario_names())
        raise UsageError(f"--scenario: {name!r} is neither a file that can be read nor one of {known}") from error


def load_scenario(name: str) -> Scenario:
    """Return a scenario by name or file. Raises ``UsageError``."""
    try:
        return read(tomllib.loads(scenario_text(name)), Path(name).stem)
    except (tomllib.TOMLDecodeError, ScenarioError) as error:
        raise UsageError(f"--scenario: {error}") from error


def fleet_spec(kept: Kept | None, scenario: Scenario, flags: Mapping[str, Any]) -> FleetSpec:
    """Return the fleet: of the state folder if there is one, else from the flags, then the scenario, then defaults.

    Raises ``UsageError`` if the flags want another one than is kept.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if kept is None:
        return spec_from({**asdict(FleetSpec()), **scenario.fleet, **given})
    for name, value in given.items():
        if getattr(kept.spec, name) != value:
            raise UsageError(
                f"--{name}: the simulation kept here has {getattr(kept.spec, name)}; "
                "remove it with simulate --remove, or choose another --state"
            )
    return kept.spec


def prepare(wish: Wish, spec: FleetSpec, kept: Kept | None, state: StateFolder, timeline: Timeline) -> Prepared:
    """Build the fleet, resolve the scenario, and write the truth down. Raises ``UsageError``."""
    try:
        fleet = build_fleet(spec)
        faults = resolve(wish.scenario, fleet, timeline.simulated_us, speeds_per_day=wish.speeds_per_day)
    except ValueError as error:
        raise UsageError(str(error)) from error
    start_us, fresh = timeline.simulated_us, kept is None or kept.simulated_us is None
    if wish.scenario.background:
        since_us = start_us - round(wish.days * _DAY_US) if fresh else start_us
        ahead_us = round(wish.lasts_s * 1e6) if wish.lasts_s is not None else BACKGROUND_DAYS * _DAY_US
        faults.extend(background(fleet, since_us, start_us + ahead_us))
    faults.sort(key=lambda fault: fault.start_us)
    if kept is not None and kept.simulated_us is not None:
        state.end_truth(kept.simulated_us)
    else:
        state.forget_truth()  # of a run that never began
    state.add_truth(truth.lines(faults, fleet, timeline))
    return Prepared(fleet, spec, timeline, faults, histories(wish, fleet, faults, start_us, fresh=fresh))


def histories(
    wish: Wish, fleet: Sequence[Site], faults: Sequence[Fault], start_us: int, *, fresh: bool
) -> dict[int, tuple[int, float]]:
    """Return what the boxes measured before the start.

    With ``days`` all have, thinly. Those that a fault cuts off from before the start until after it have measured
    every minute since then: their spools are full.
    """
    if not fresh:
        return {}
    rhythm = Rhythm()
    found: dict[int, tuple[int, float]] = {}
    if wish.days:
        since_us = start_us - round(wish.days * _DAY_US)
        found = {site.index: (since_us, rhythm.history_interval_s) for site in fleet}
    for fault in faults:
        if (
            fault.cause == "scenario"
            and fault.start_us < start_us < fault.end_us < FOREVER_US
            and fault.kind != Kind.SLOW
        ):
            for index in fault.schools:
                found[index] = (fault.start_us - 60_000_000, rhythm.interval_s)
    return found


def lead_s(schools: int, *, known: bool) -> float:
    """Return how long it takes until all report: registration, a collector's start, and about 100 enrolments a second.

    A life that is not as fast as ours begins so much later, or the first moments of a scenario would pass unseen.
    """
    return 3.0 if known else 3.0 + schools / 100


def timeline_of(wish: Wish, data: Path | None, kept: Kept | None, now_us: int, lead_s: float = 0.0) -> Timeline:
    """Return how time passes. Raises ``UsageError`` or ``RefusedError`` where that cannot be.

    A folder with a clock of its own has settled it; with ``fast_clock`` a new folder gets one. A scenario that says
    when it starts, or that is sped up, starts in ``lead_s``.
    """
    epoch = None if data is None else folder_clock.read(data)
    if epoch is not None:
        return _of_folder(wish, epoch, now_us, lead_s)
    if wish.scenario.starts is None and wish.speed == 1.0:
        lead_s = 0.0
    began_us = now_us + round(lead_s * 1e6)
    start_us = began_us if wish.scenario.starts is None else _starts(wish.scenario.starts, began_us)
    if kept is not None and kept.simulated_us is not None:
        start_us = max(start_us, kept.simulated_us + round(lead_s * wish.speed * 1e6))
    if not wish.fast_clock:
        return Timeline(began_us, start_us, wish.speed)
    if data is None:
        raise UsageError("--clock fast: needs the collector's own folder, --data DIR")
    if kept is not None:
        raise RefusedError("this simulation began with an ordinary clock", "begin anew: simulate --remove")
    folder_clock.write(data, Epoch(began_us, start_us, wish.speed))
    return Timeline(began_us, start_us, wish.speed, wire_is_simulated=True)


def _of_folder(wish: Wish, epoch: Epoch, now_us: int, lead_s: float) -> Timeline:
    if wish.speed not in (1.0, epoch.speed):
        raise UsageError(f"--speed: the clock of this folder runs {epoch.speed:g} times as fast, from its first day on")
    began = Timeline(epoch.real_us, epoch.simulated_us, epoch.speed, wire_is_simulated=True)
    start_us = now_us + round(lead_s * 1e6)
    return Timeline(start_us, began.simulated(start_us), epoch.speed, wire_is_simulated=True)


def _starts(text: str, now_us: int) -> int:
    try:
        return moment_of(text, now_us)
    except ValueError as error:
        raise UsageError(f"starts: {text!r} is neither such as 'mon 09:00' nor an ISO time") from error
