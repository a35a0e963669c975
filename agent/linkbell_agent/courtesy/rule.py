"""Do others use the line? Pure."""

from collections.abc import Collection

from linkbell_agent.slim import dataclass
from linkbell_wire.words import Direction


@dataclass(frozen=True, slots=True)
class Manners:
    """Busy is more than ``busy_share`` of the last known speed, and more than ``busy_bps``, over ``look_s`` seconds.

    A busy line is looked at again for ``wait_s``; after ``skips`` tests that were skipped in a row one runs anyway.
    """

    enabled: bool = True
    busy_share: float = 0.1
    busy_bps: float = 256_000.0
    look_s: float = 2.0
    wait_s: float = 30.0
    skips: int = 3


@dataclass(frozen=True, slots=True)
class Rates:
    """Bits per second each way, ``None`` where not known: a line's speed, or what others take of it."""

    download_bps: float | None = None
    upload_bps: float | None = None

    def way(self, direction: Direction) -> float | None:
        """Return that of one direction."""
        return self.download_bps if direction is Direction.DOWNLOAD else self.upload_bps


@dataclass(frozen=True, slots=True)
class Busy:
    """Others take ``bps`` of the line, where ``limit_bps`` would still have been let pass."""

    bps: float
    limit_bps: float


def busy(others: Rates, speed: Rates, manners: Manners, ways: Collection[Direction]) -> Busy | None:
    """Return how much others use, in the direction that is furthest over its limit; ``None`` if neither is.

    Traffic that cannot be seen is no reason to wait.
    """
    found = []
    for way in ways:
        bps, known_bps = others.way(way), speed.way(way)
        limit_bps = max(manners.busy_bps, manners.busy_share * (known_bps or 0.0))
        if bps is not None and bps > limit_bps:
            found.append(Busy(bps, limit_bps))
    return max(found, key=lambda one: one.bps / one.limit_bps, default=None)
