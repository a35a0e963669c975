"""What the writers of all stores share: limits, what a group was, what works inside a transaction."""

from dataclasses import dataclass

from linkbell_collector.errors import CollectorError
from linkbell_wire import ErrorCode


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """How many records may wait for a commit (more are refused), how many go into one, and how many jobs without
    records, such as enrolments, may wait."""

    max_waiting: int
    max_group: int
    max_jobs: int = 256


@dataclass(frozen=True, slots=True)
class Group:
    """One finished group, for those who count: its records, how long it took, and what went wrong, if anything did."""

    records: int
    duration_s: float
    error: CollectorError | None


def overloaded(reason: str) -> CollectorError:
    """Return the refusal of work for which there is no room."""
    action = "try again in a few seconds; keep everything until then"
    return CollectorError(ErrorCode.OVERLOADED, reason, action, retry_after_s=5)


STOPPING = "the collector is stopping"
TOO_MANY_RECORDS = "more records are waiting to be written than allowed"
TOO_MANY_REQUESTS = "more requests are waiting to be written than allowed"
