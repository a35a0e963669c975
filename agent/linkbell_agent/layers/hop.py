"""The provider's first hop: remembered, and looked for again when it is gone or the gateway is another. Pure."""

from dataclasses import dataclass

LOOK_AGAIN_S = 60.0
"""Ten small packets: cheap enough to go on looking once a minute, on lines where no hop answers."""

MISSES = 3
"""So many rounds without a reply, while something beyond it answers, and it is not on our way any more."""


@dataclass(slots=True)
class FirstHop:
    """What is known of the first hop behind one gateway."""

    gateway: str | None = None
    address: str | None = None
    missed: int = 0
    looked_at_s: float | None = None

    def is_due(self, gateway: str | None, now_s: float) -> bool:
        """Say whether to look for it now; a new gateway makes everything forgotten."""
        if gateway != self.gateway:
            self.gateway, self.address, self.missed, self.looked_at_s = gateway, None, 0, None
        if self.address is not None:
            return False
        return self.looked_at_s is None or now_s - self.looked_at_s >= LOOK_AGAIN_S

    def found(self, address: str | None, now_s: float) -> None:
        """Note what came of looking."""
        self.address, self.missed, self.looked_at_s = address, 0, now_s

    def heard(self, *, answered: bool, beyond_answers: bool) -> None:
        """Note a round. Silence is held against it only while the line works: a cut line has not moved it."""
        if answered:
            self.missed = 0
        elif beyond_answers:
            self.missed += 1
            if self.missed >= MISSES:
                self.address, self.looked_at_s = None, None
