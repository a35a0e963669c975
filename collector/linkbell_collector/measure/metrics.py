"""The measurement server's own health, in its own Prometheus registry. Listed in ``docs/measurement.md``."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge

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
    INVALID_REQUEST = "invalid_request"
    SHUTDOWN = "shutdown"


class PlaceEnd(StrEnum):
    """How a test of speedtest-cli gave its place back."""

    COMPLETED = "completed"
    HARD_STOP = "hard_stop"
    SHUTDOWN = "shutdown"


class Metrics:
    """All series of this process, every label combination present from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.tests = Counter("linkbell_measure_tests", "Tests that ended.", ["direction", "outcome"], registry=registry)
        self.refused = Counter(
            "linkbell_measure_tests_refused", "Tests that were refused.", ["reason"], registry=registry
        )
        self.payload_bytes = Counter(
            "linkbell_measure_payload_bytes",
            "Payload of tests that ended, in bytes: sent in downloads, received in uploads.",
            ["direction"],
            registry=registry,
        )
        self.in_progress = Gauge(
            "linkbell_measure_tests_in_progress", "Tests under way.", ["direction"], registry=registry
        )
        self.max_tests = Gauge("linkbell_measure_max_tests", "Tests admitted at once (--max-tests).", registry=registry)
        self.bbr_available = Gauge(
            "linkbell_measure_bbr_available",
            "1 if the kernel lets this process use BBR congestion control, as ndt7 recommends.",
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
            self.payload_bytes.labels(direction)
            self.in_progress.labels(direction)
            for outcome in Outcome:
                self.tests.labels(direction, outcome)
        for reason in Refusal:
            self.refused.labels(reason)
