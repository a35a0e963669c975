"""How long what is kept, and the steps in which the rest is removed. Pure."""

from dataclasses import dataclass

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    """In days. Records count from when they were received, hours from when they were; days are kept for ever."""

    raw_days: float = 90.0
    hourly_days: float = 730.0

    def oldest_received_us(self, now_us: int) -> int:
        """Return since when records received are kept."""
        return now_us - round(self.raw_days * DAY_US)

    def oldest_hour_us(self, now_us: int) -> int:
        """Return since when sums of hours are kept."""
        return now_us - round(self.hourly_days * DAY_US)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step has removed, and whether there may be more to do."""

    records: int = 0
    hours: int = 0
    more: bool = False
