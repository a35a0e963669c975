"""What one process of a simulation is told, as JSON and back. Pure."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from linkbell_collector.simulate.driver import Rhythm
from linkbell_collector.simulate.enrolling import AT_ONCE
from linkbell_collector.simulate.fleet import FleetSpec
from linkbell_collector.simulate.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Shard:
    """One process: where its agents are kept, the indexes of its schools, and what all processes share.

    ``tokens`` are join tokens by region, or one for all under the empty name. ``histories`` tells by index since when
    (simulated) and at what interval (s) a box has measured already.
    """

    url: str
    agents_file: str
    truth_file: str
    schools: list[int]
    spec: FleetSpec
    timeline: Timeline
    rhythm: Rhythm
    speeds_per_day: int = 3
    drain_s: float = 5.0
    enrol_at_once: int = AT_ONCE
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    histories: dict[int, tuple[int, float]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as one line."""
        nested = {name: asdict(getattr(self, name)) for name in ("spec", "timeline", "rhythm")}
        return json.dumps({**{item.name: getattr(self, item.name) for item in fields(self)}, **nested})


def spec_from(values: dict[str, Any]) -> FleetSpec:
    """Return a fleet's values as read from JSON or TOML."""
    sizes: dict[str, Any] = {
        name: tuple(values[name]) for name in ("district_sizes", "provider_sizes") if name in values
    }
    return FleetSpec(**(values | sizes))


def shard_from(text: str) -> Shard:
    """Read it again."""
    values: dict[str, Any] = json.loads(text)
    values["spec"] = spec_from(values["spec"])
    values["timeline"] = Timeline(**values["timeline"])
    values["rhythm"] = Rhythm(**values["rhythm"])
    values["histories"] = {int(index): (since, step) for index, (since, step) in values["histories"].items()}
    return Shard(**values)
