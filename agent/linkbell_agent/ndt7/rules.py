"""When a test stops. Pure: a rule sees samples and says when it has seen enough."""

from collections.abc import Callable
from dataclasses import dataclass

from linkbell_wire.words import Stop


@dataclass(frozen=True, slots=True)
class Sample:
    """What has arrived at the receiver by now: payload bytes, and seconds since the end of the handshake."""

    elapsed_s: float
    bytes: int


StopRule = Callable[[Sample], Stop | None]
"""Called at every read of a download and every tick of both directions; the first answer ends the test.

A rule may keep state. It must be quick: a fast line calls it thousands of times a second.
"""


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits that always hold, and ``then``: a rule that may end a test sooner."""

    max_duration_s: float
    max_bytes: int | None = None
    then: StopRule | None = None

    def __call__(self, sample: Sample) -> Stop | None:
        """Say why to stop now, ``None`` to go on."""
        if self.max_bytes is not None and sample.bytes >= self.max_bytes:
            return Stop.BYTES
        if sample.elapsed_s >= self.max_duration_s:
            return Stop.TIME
        return None if self.then is None else self.then(sample)
