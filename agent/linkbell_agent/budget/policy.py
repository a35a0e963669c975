"""What one uplink may spend, and what it is planned to. Pure."""

from dataclasses import field

from linkbell_agent.budget.months import Calendar
from linkbell_agent.slim import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one test, in bytes: the most it can come to, and what it is likely to."""

    worst_bytes: int
    expected_bytes: int


@dataclass(frozen=True, slots=True)
class Policy:
    """``bytes_per_month`` of ``None``: no budget, bytes are only counted. Checks and pings are those planned."""

    bytes_per_month: int | None = None
    calendar: Calendar = field(default_factory=Calendar)
    checks_per_day: float = 0.0
    check_bytes: int = 0
    ping_bytes_per_day: float = 0.0
