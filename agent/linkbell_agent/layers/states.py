"""How each layer looked in one round. Pure."""

from collections.abc import Iterable
from enum import Enum

from linkbell_agent.slim import dataclass
from linkbell_wire.words import Layer


class Health(Enum):
    """What one round says of a target or a layer.

    ``IMPAIRED`` answers, so the way there works, but not as it should: a server that refuses or answers with an
    error, or a layer only some of whose targets are well. ``UNKNOWN`` was not found out.
    """

    UP = "up"
    IMPAIRED = "impaired"
    DOWN = "down"
    UNKNOWN = "unknown"

    @property
    def answers(self) -> bool:
        """Whether something of it was heard."""
        return self in (Health.UP, Health.IMPAIRED)


@dataclass(frozen=True, slots=True)
class LayerStates:
    """All layers of one uplink in one round, nearest first.

    ``portal``: a login page answered in place of what was asked for. ``degraded``: packets are lost or late, over
    several rounds. ``local_dns``: the name servers that answer stand in the school itself, so that their answers,
    which may come from memory, prove nothing of the way out.
    """

    gateway: Health = Health.UNKNOWN
    isp: Health = Health.UNKNOWN
    dns: Health = Health.UNKNOWN
    domestic: Health = Health.UNKNOWN
    international: Health = Health.UNKNOWN
    platform: Health = Health.UNKNOWN
    collector: Health = Health.UNKNOWN
    portal: bool = False
    degraded: bool = False
    local_dns: bool = False

    def of(self, layer: Layer) -> Health:
        """Return the health of one layer."""
        health: Health = getattr(self, layer.value)
        return health

    @property
    def far(self) -> tuple[Health, ...]:
        """What lies beyond the provider's first hop."""
        return self.domestic, self.international, self.platform, self.collector


def together(healths: Iterable[Health]) -> Health:
    """Return the health of a layer from that of its targets: down only if none answers."""
    found = set(healths) - {Health.UNKNOWN}
    if not found:
        return Health.UNKNOWN
    return found.pop() if len(found) == 1 else Health.IMPAIRED
