"""The measurement server's own health, in its own Prometheus registry. Listed in ``docs/measurement.md``."""

from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge

from linkbell_collector.measure.admission import AddressBusyError, NoSlotError
from linkbell_wire.words import Direction


class Outcome(StrEnum):
    """How a test ended."""

    COMPLETED = "completed"
    EARLY_EXIT = "early_exit"
    CLIENT_CLOSED = "client_closed"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    HARD_STOP = "hard_stop"
    SHUTDOWN = "shutdown"


class Refusal(StrEnum):
    """Why a test was not begun."""

    BUSY = "busy"
    ADDRESS_BUSY = "address_busy"
    """The server had room, but the client's address has as many as one may have."""
    INVALID_REQUEST = "invalid_request"
    SHUTDOWN = "shutdown"


def refusal(error: NoSlotError) -> Refusal:
    """Return the reason under which a test that was not admitted is counted."""
    return Refusal.ADDRESS_BUSY if isinstance(error, AddressBusyError) else Refusal.BUSY


class PlaceEnd(StrEnum):
    """How a test of speedtest-cli gave its place back."""

    COMPLETED = "completed"
    HARD_STOP = "hard_stop"
    SHUTDOWN = "shutdown"


class Tally:
    """What is counted of one kind of measurement."""

    def __init__(self, name: str, title: str, registry: CollectorRegistry) -> None:
        prefix = "linkbell_measure" if name == "tests" else f"linkbell_measure_{name}"
        self.ended = Counter(
            f"linkbell_measure_{name}", f"{title} that ended.", ["direction", "outcome"], registry=registry
        )
        self.refused = Counter(
            f"linkbell_measure_{name}_refused", f"{title} that were refused.", ["reason"], registry=registry
        )
        self.payload_bytes = Counter(
            f"{prefix}_payload_bytes",
            f"Payload of {title.lower()} that ended, in bytes: sent in downloads, received in uploads.",
            ["direction"],
            registry=registry,
        )
        self.in_progress = Gauge(
            f"linkbell_measure_{name}_in_progress", f"{title} under way.", ["direction"], registry=registry
        )
        for direction in Direction:
            self.payload_bytes.labels(direction)
            self.in_progress.labels(direction)
            for outcome in Outcome:
                self.ended.labels(direction, outcome)
        for reason in Refusal:
            self.refused.labels(reason)

    def of(self, direction: Direction, weight: int = 1) -> "Count":
        """Return what counts one connection; further streams of one test have the weight 0."""
        return Count(self, direction, weight)


@dataclass(frozen=True, slots=True)
class Count:
    """Counts one connection of a measurement."""

    tally: Tally
    direction: Direction
    weight: int

    def begin(self) -> None:
        """It is under way."""
        self.tally.in_progress.labels(self.direction).inc(self.weight)

    def end(self) -> None:
        """It is no longer under way."""
        self.tally.in_progress.labels(self.direction).dec(self.weight)

    def ended(self, outcome: Outcome, payload_bytes: int) -> None:
        """It ended so, and moved so much."""
        self.tally.ended.labels(self.direction, outcome).inc(self.weight)
        self.tally.payload_bytes.labels(self.direction).inc(payload_bytes)


class Metrics:
    """All series of this process, every label combination present from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.tests = Tally("tests", "Tests", registry)
        self.checks = Tally("checks", "Floor checks", registry)
        self.max_tests = Gauge("linkbell_measure_max_tests", "Tests admitted at once (--max-tests).", registry=registry)
        self.max_tests_per_address = Gauge(
            "linkbell_measure_max_tests_per_address",
            "Tests admitted at once from one address (--max-tests-per-address), 0 for no limit.",
            registry=registry,
        )
        self.connections_refused = Counter(
            "linkbell_measure_connections_refused",
            "Connections closed at once because their address had too many open.",
            registry=registry,
        )
        self.bbr_available = Gauge(
            "linkbell_measure_bbr_available",
            "1 if the kernel lets this process use BBR congestion control, as ndt7 recommends.",
            registry=registry,
        )
        self.max_check_bps = Gauge(
            "linkbell_measure_max_check_bytes_per_second",
            "What all floor checks may send together (--max-check-rate).",
            registry=registry,
        )
        self.places = Counter(
            "linkbell_measure_speedtest_tests",
            "Tests of speedtest-cli that gave their place back.",
            ["outcome"],
            registry=registry,
        )
        self.places_in_progress = Gauge(
            "linkbell_measure_speedtest_tests_in_progress",
            "Tests of speedtest-cli that hold a place.",
            registry=registry,
        )
        self.places_payload_bytes = Counter(
            "linkbell_measure_speedtest_payload_bytes",
            "Payload of speedtest-cli's requests, in bytes, as it goes.",
            ["direction"],
            registry=registry,
        )
        for how in PlaceEnd:
            self.places.labels(how)
        for direction in Direction:
            self.places_payload_bytes.labels(direction)
