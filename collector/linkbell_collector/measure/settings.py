"""What the measurement server is told: where to listen, how many tests at once, and how long they may take."""

from dataclasses import dataclass, field
from pathlib import Path

from linkbell_collector.measure.places import PlaceLimits
from linkbell_wire import floor
from linkbell_wire.ndt7 import HARD_STOP_S, MEASUREMENT_INTERVAL_S, TEST_DURATION_S

DEFAULT_PORT = 8471
DEFAULT_MAX_TESTS = 10
DEFAULT_MAX_CHECK_BPS = 200e6
"""About twenty checks of an 8 Mbit/s floor at once."""

DEFAULT_DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Timings:
    """The clock of one test, in seconds from the end of the handshake. The defaults are the ndt7 specification's."""

    test_s: float = TEST_DURATION_S
    hard_stop_s: float = HARD_STOP_S
    interval_s: float = MEASUREMENT_INTERVAL_S
    linger_s: float = 1.0
    """A peer that broke the protocol may read its close frame for this long before it is cut off."""
    idle_s: float = 15.0
    """A connection that has not asked for anything, or not to the end, is closed after this long."""
    check_s: float = floor.SERVER_DURATION_S
    check_hard_stop_s: float = floor.HARD_STOP_S
    check_interval_s: float = floor.REPORT_INTERVAL_S


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Everything :func:`linkbell_collector.measure.app.build` needs."""

    host: str = "0.0.0.0"  # noqa: S104 - a measurement server exists to be reached
    port: int = DEFAULT_PORT
    max_tests: int = DEFAULT_MAX_TESTS
    max_check_bps: float = DEFAULT_MAX_CHECK_BPS
    """What all floor checks may send together."""
    certificate: Path | None = None
    key: Path | None = None
    drain_s: float = DEFAULT_DRAIN_S
    """How long a stop waits for tests under way."""
    timings: Timings = field(default_factory=Timings)
    places: PlaceLimits = field(default_factory=PlaceLimits)

    @property
    def scheme(self) -> str:
        """``https`` with a certificate, else ``http``."""
        return "http" if self.certificate is None else "https"
