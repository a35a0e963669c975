"""One time that a box ran from, and what its clocks show. Pure.

Two times are kept apart. *Simulated* time is when things happen in the simulated world: busy hours, outages, tests.
*Wire* time is the collector's: what clocks show when a record is made and sent. With a speed of 1, and in a folder
whose collector runs fast too, the two are one; otherwise life is squeezed, and wire time passes ``speed`` times slower.
"""

from dataclasses import dataclass

from linkbell_collector.simulate.records import Frame, frame


@dataclass(frozen=True, slots=True)
class Boot:
    """``booted_us`` is wire time. Before ``synced_from_us`` (wire) the box's clock is ``skew_us`` off, and says so."""

    id: str
    booted_us: int
    speed: float = 1.0
    skew_us: int = 0
    synced_from_us: int = 0

    def synced_at(self, wire_us: int) -> bool:
        """Tell whether the clock is right at a moment of wire time."""
        return wire_us >= self.synced_from_us

    def wall_us(self, wire_us: int) -> int:
        """Return what the box's wall clock shows; never before 1970."""
        return wire_us if self.synced_at(wire_us) else max(0, wire_us + self.skew_us)

    def boottime_s(self, wire_us: int) -> float:
        """Return what CLOCK_BOOTTIME shows."""
        return max(0.0, (wire_us - self.booted_us) / 1e6)

    def frame(self, wire_us: int) -> Frame:
        """Return what records of this moment share."""
        return frame(self.wall_us(wire_us), self.id, self.boottime_s(wire_us), synced=self.synced_at(wire_us))
