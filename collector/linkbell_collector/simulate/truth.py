"""The truth, as JSON lines: what was done to which schools, from when to when. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from linkbell_collector.simulate.faults import FOREVER_US, Fault, Kind
from linkbell_collector.simulate.fleet import Site
from linkbell_collector.simulate.timeline import Timeline, iso


def lines(faults: Iterable[Fault], fleet: Sequence[Site], timeline: Timeline) -> Iterator[str]:
    """Yield a line for each fault, in the order they begin.

    ``start`` and ``end`` are simulated time, ``wire_start`` and ``wire_end`` the collector's, ``real_start`` and
    ``real_end`` this machine's; an end of null is that of the simulation.
    """
    for fault in faults:
        yield json.dumps(_line(fault, fleet, timeline), ensure_ascii=False)


def _line(fault: Fault, fleet: Sequence[Site], timeline: Timeline) -> dict[str, Any]:
    ends = fault.end_us < FOREVER_US
    return {
        "what": fault.kind.value,
        "cause": fault.cause,
        "label": fault.label,
        "schools": [fleet[index].id for index in fault.schools],
        "values": dict(fault.values),
        "start": iso(fault.start_us),
        "end": iso(fault.end_us) if ends else None,
        "wire_start": iso(timeline.wire(fault.start_us)),
        "wire_end": iso(timeline.wire(fault.end_us)) if ends else None,
        "real_start": iso(timeline.real(fault.start_us)),
        "real_end": iso(timeline.real(fault.end_us)) if ends else None,
        "start_us": fault.start_us,
        "end_us": fault.end_us if ends else None,
    }


def read(text: str, fleet: Sequence[Site]) -> list[Fault]:
    """Return the faults of earlier runs; lines that are not faults are left out."""
    index = {site.id: site.index for site in fleet}
    faults = []
    for line in text.splitlines():
        item: Mapping[str, Any] = json.loads(line)
        if item["what"] in Kind.__members__.values():
            schools = tuple(index[school] for school in item["schools"])
            end_us = FOREVER_US if item["end_us"] is None else item["end_us"]
            values = item["values"]
            faults.append(
                Fault(Kind(item["what"]), schools, item["start_us"], end_us, item["cause"], item["label"], values)
            )
    return faults
