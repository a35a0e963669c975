"""What goes wrong, where, and from when to when: the truth that alerts are held against. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What can go wrong with a school."""

    LINE_DOWN = "line_down"
    MAINTENANCE = "maintenance"
    LAN_DOWN = "lan_down"
    DNS_FAULT = "dns_fault"
    CAPTIVE_PORTAL = "captive_portal"
    INTERNATIONAL_DOWN = "international_down"
    PLATFORM_DOWN = "platform_down"
    COLLECTOR_UNREACHABLE = "collector_unreachable"
    SLOW = "slow"
    LOSSY = "lossy"
    BAD_SAMPLE = "bad_sample"
    POWER_CUT = "power_cut"
    SWITCHED_OFF = "switched_off"
    COLLECTOR_RESTART = "collector_restart"


OFF = frozenset({Kind.POWER_CUT, Kind.SWITCHED_OFF})
"""The box itself is off."""

CUT_OFF = frozenset({Kind.LINE_DOWN, Kind.MAINTENANCE})
"""The main line is down; a backup line may carry on."""

MUTE = frozenset({Kind.LAN_DOWN, Kind.CAPTIVE_PORTAL, Kind.COLLECTOR_UNREACHABLE})
"""Nothing can be reported, by whatever line."""

FOREVER_US = 1 << 62

VALUES = {
    Kind.SLOW: ("download_bps", "upload_bps"),
    Kind.BAD_SAMPLE: ("download_bps", "upload_bps"),
    Kind.LOSSY: ("loss_ratio", "rtt_s"),
}
"""Numbers that a kind takes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of some schools (their indexes), from ``start_us`` to before ``end_us`` in simulated time."""

    kind: Kind
    schools: tuple[int, ...]
    start_us: int
    end_us: int = FOREVER_US
    cause: str = "scenario"
    label: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


class Active(NamedTuple):
    """What holds for a school, and from when to before when it is all that does."""

    faults: tuple[Fault, ...]
    kinds: frozenset[Kind]
    since_us: int
    until_us: int

    @property
    def off(self) -> bool:
        """Whether the box is off."""
        return bool(self.kinds & OFF)

    def value(self, kind: Kind, name: str) -> float | None:
        """Return a number of the newest fault of this kind."""
        found = [fault.values.get(name) for fault in self.faults if fault.kind is kind]
        return found[-1] if found else None


NOTHING = Active((), frozenset(), -FOREVER_US, FOREVER_US)


class FaultBook:
    """All faults, by school."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: (fault.start_us, fault.end_us))
        self._of: dict[int, list[Fault]] = {}
        for fault in self.faults:
            for index in fault.schools:
                self._of.setdefault(index, []).append(fault)
        self._edges = {
            index: sorted({edge for fault in mine for edge in (fault.start_us, fault.end_us)})
            for index, mine in self._of.items()
        }

    def at(self, school: int, now_us: int) -> Active:
        """Return what holds for a school at a moment."""
        mine = self._of.get(school)
        if mine is None:
            return NOTHING
        edges = self._edges[school]
        place = bisect_right(edges, now_us)
        since_us = edges[place - 1] if place else -FOREVER_US
        until_us = edges[place] if place < len(edges) else FOREVER_US
        faults = tuple(fault for fault in mine if fault.start_us <= now_us < fault.end_us)
        return Active(faults, frozenset(fault.kind for fault in faults), since_us, until_us)

    def of(self, school: int) -> list[Fault]:
        """Return all faults of a school, in the order they begin."""
        return self._of.get(school, [])
