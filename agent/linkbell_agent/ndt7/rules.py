"""When a test stops. Pure: a rule sees samples and says when it has seen enough."""

from typing import Protocol

from linkbell_agent.slim import dataclass
from linkbell_wire.words import Stop


@dataclass(frozen=True, slots=True)
class Sample:
    """What has arrived at the receiver by now: bytes, and seconds since the end of the handshake.

    ``is_queued`` says whether it had to wait in a queue on the way, ``None`` if that cannot be told.
    """

    elapsed_s: float
    bytes: float
    is_queued: bool | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Speed of a full line in the window from ``start_s`` to ``end_s``, on the clock of the samples.

    ``low_bps`` and ``high_bps`` are two standard errors away from ``bps``, and at least a packet. A speed that was
    still rising has no upper bound: ``inf``.
    """

    bps: float
    low_bps: float
    high_bps: float
    start_s: float
    end_s: float


class StopRule(Protocol):
    """Sees every sample of a test in order, a hundred a second, and may keep state."""

    estimate: Estimate | None
    """What the samples say so far, ``None`` while they say nothing yet."""

    def __call__(self, sample: Sample) -> Stop | None:
        """Say why to stop now, ``None`` to go on."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits that always hold, whatever a rule says."""

    max_duration_s: float
    max_bytes: int | None = None

    def __call__(self, elapsed_s: float, cost_bytes: int) -> Stop | None:
        """Say why to stop now, ``None`` to go on."""
        if self.max_bytes is not None and cost_bytes >= self.max_bytes:
            return Stop.BYTES
        return Stop.TIME if elapsed_s >= self.max_duration_s else None
