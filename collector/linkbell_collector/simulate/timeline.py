"""How simulated time, wire time and this machine's time belong together. Pure.

Wire time is what the collector's clock shows. In a folder whose collector runs fast (``folder_clock``) it passes as
fast as simulated time and is the same; otherwise it is this machine's time, and simulated life is squeezed into it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from linkbell_collector.clock import from_us
from linkbell_collector.simulate.line import from_local, local

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Timeline:
    """At ``real_us`` of this machine it is ``simulated_us`` there, and ``speed`` times as much time passes.

    ``wire_is_simulated``: the collector's clock runs with the simulated one.
    """

    real_us: int
    simulated_us: int
    speed: float = 1.0
    wire_is_simulated: bool = False

    def simulated(self, real_us: int) -> int:
        """Return simulated time at a moment of this machine."""
        return self.simulated_us + round((real_us - self.real_us) * self.speed)

    def real(self, simulated_us: int) -> int:
        """Return this machine's time at a simulated moment."""
        return self.real_us + round((simulated_us - self.simulated_us) / self.speed)

    def wire(self, simulated_us: int) -> int:
        """Return the collector's time at a simulated moment."""
        return simulated_us if self.wire_is_simulated else self.real(simulated_us)

    @property
    def box_speed(self) -> float:
        """How much faster simulated time passes than that of the boxes' clocks."""
        return 1.0 if self.wire_is_simulated else self.speed


def iso(moment_us: int) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    return from_us(moment_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(starts: str, now_us: int) -> int:
    """Return when a scenario starts: ``mon 09:00`` is the next such moment of the schools' own time, or an ISO time.

    Raises ``ValueError``.
    """
    words = starts.lower().split()
    if len(words) == 2 and words[0] in WEEKDAYS:
        hours, _, minutes = words[1].partition(":")
        today = local(now_us)
        day = today.day + (WEEKDAYS.index(words[0]) - today.weekday) % 7
        moment_us = from_local(day, int(hours) * 3600 + int(minutes or 0) * 60)
        return moment_us if moment_us >= now_us else moment_us + 7 * 86_400_000_000
    moment = datetime.fromisoformat(starts)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)
