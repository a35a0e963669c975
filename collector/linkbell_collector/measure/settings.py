"""What the measurement server is told: where to listen, how many tests at once, and how long they may take."""

import math
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

LEAST_TESTS_PER_ADDRESS = 2
"""A school may have several boxes, and a whole district one address: by default never fewer than this."""

CONNECTIONS_PER_TEST = 50
"""For each test that an address may have, so many connections: a test has 8 streams or 16 requests, floor checks of up
to 24 come besides, and 20 probes a second stay open for 1.2 s by satellite."""


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
    max_tests_per_address: int | None = None
    """Of ``max_tests``, for one client address; ``None``: half of them. 0: no limit, where a proxy hides addresses."""
    certificate: Path | None = None
    key: Path | None = None
    drain_s: float = DEFAULT_DRAIN_S
    """How long a stop waits for tests under way."""
    timings: Timings = field(default_factory=Timings)
    places: PlaceLimits = field(default_factory=PlaceLimits)

    @property
    def tests_per_address(self) -> int:
        """How many tests one address may have at once, 0 for no limit of its own."""
        if self.max_tests_per_address is not None:
            return self.max_tests_per_address
        return max(LEAST_TESTS_PER_ADDRESS, math.ceil(self.max_tests / 2))

    @property
    def check_share(self) -> float:
        """The part of the floor checks' rate that one address may use: the same as of the places."""
        return min(1.0, self.tests_per_address / self.max_tests) if self.tests_per_address else 1.0

    @property
    def connections_per_address(self) -> int:
        """How many connections one address may have open, 0 for no limit."""
        return CONNECTIONS_PER_TEST * self.tests_per_address

    @property
    def scheme(self) -> str:
        """``https`` with a certificate, else ``http``."""
        return "http" if self.certificate is None else "https"
