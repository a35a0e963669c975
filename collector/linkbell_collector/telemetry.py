"""The collector's own health, as Prometheus metrics in a registry of its own. Listed in docs/metrics.md."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from linkbell_collector.ingest.batches import REJECTION_CODES
from linkbell_collector.ingest.service import Receipt
from linkbell_wire import ErrorCode, __version__

SETTLED = "settled"
_DURATIONS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 5, 10, 30, 60, 100, 250, 500, 1000, 2500, 5000)


class Telemetry:
    """Every counter exists, at zero, from the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        # Process-wide, but ours is the only registry: half of all lines would say when a counter was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("linkbell_collector_build", "Version of the collector.", registry=registry).info({"version": __version__})
        self._make_batch_metrics(registry)
        self._make_other_metrics(registry)
        self._zero()

    def _make_batch_metrics(self, registry: CollectorRegistry) -> None:
        self._batches = Counter("linkbell_collector_batches", "Batches by outcome.", ["outcome"], registry=registry)
        self._batch_duration = Histogram(
            "linkbell_collector_batch_duration_seconds",
            "From the whole body read to the answer, by outcome.",
            ["outcome"],
            registry=registry,
            buckets=_DURATIONS_S,
        )
        self._records = Counter("linkbell_collector_records", "Records by outcome.", ["outcome"], registry=registry)
        self._rejected = Counter(
            "linkbell_collector_records_rejected", "Records refused for good, by code.", ["code"], registry=registry
        )
        self._batch_records = Histogram(
            "linkbell_collector_batch_records", "Records in a settled batch.", registry=registry, buckets=_SIZES
        )

    def _make_other_metrics(self, registry: CollectorRegistry) -> None:
        self._enrolments = Counter(
            "linkbell_collector_enrolments", "Enrolments by outcome.", ["outcome"], registry=registry
        )
        self._commits = Counter(
            "linkbell_collector_commits", "Group commits that held records, by outcome.", ["outcome"], registry=registry
        )
        self._commit_duration = Histogram(
            "linkbell_collector_commit_duration_seconds",
            "Duration of one group commit, fsync included.",
            registry=registry,
            buckets=_DURATIONS_S,
        )
        self._commit_records = Histogram(
            "linkbell_collector_commit_records", "Records in one group commit.", registry=registry, buckets=_SIZES
        )
        self._requests = Counter(
            "linkbell_collector_http_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=registry,
        )

    def _zero(self) -> None:
        """Make every series; those of the hot path are kept at hand, for looking them up by label costs as much."""
        self._batch = {outcome: self._batches.labels(outcome) for outcome in (SETTLED, *map(str, ErrorCode))}
        self._settled_duration = self._batch_duration.labels(SETTLED)
        self._refused_duration = self._batch_duration.labels("refused")
        self._stored = self._records.labels("stored")
        self._duplicate = self._records.labels("duplicate")
        self._refused = self._records.labels("rejected")
        self._answered: dict[tuple[str, int], Counter] = {}
        for outcome in ("active", "pending", *ErrorCode):
            self._enrolments.labels(str(outcome))
        for code in REJECTION_CODES:
            self._rejected.labels(code)
        for outcome in ("done", "failed"):
            self._commits.labels(outcome)

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Export ``read()`` as a gauge at every scrape."""
        Gauge(name, help_text, registry=self.registry).set_function(read)

    def batch_settled(self, receipt: Receipt, duration_s: float) -> None:
        """Count a batch that was answered 200."""
        self._batch[SETTLED].inc()
        self._settled_duration.observe(duration_s)
        self._batch_records.observe(receipt.stored + receipt.duplicate + len(receipt.rejected))
        self._stored.inc(receipt.stored)
        if receipt.duplicate:
            self._duplicate.inc(receipt.duplicate)
        for rejection in receipt.rejected:
            self._refused.inc()
            self._rejected.labels(rejection.code).inc()

    def batch_refused(self, code: ErrorCode, duration_s: float) -> None:
        """Count a batch that was refused whole."""
        self._batch[code.value].inc()
        self._refused_duration.observe(duration_s)

    def enrolment(self, outcome: str) -> None:
        """Count an enrolment by the agent's status or the code of the refusal."""
        self._enrolments.labels(outcome).inc()

    def commit(self, records: int, duration_s: float, *, failed: bool) -> None:
        """Count a group commit."""
        self._commits.labels("failed" if failed else "done").inc()
        self._commit_duration.observe(duration_s)
        self._commit_records.observe(records)

    def request(self, route: str, status: int) -> None:
        """Count an answered request. Routes and statuses are few."""
        counter = self._answered.get((route, status))
        if counter is None:
            counter = self._answered[route, status] = self._requests.labels(route, str(status))
        counter.inc()
