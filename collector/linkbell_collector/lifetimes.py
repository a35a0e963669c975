"""How long things count as current. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds. What each means is said with the settings of the same names."""

    silent_after_s: float
    reading_ttl_s: float
    speed_ttl_s: float
    school_ttl_s: float

    def at(self, now_us: int) -> "Horizon":
        """Return the oldest times that still count at ``now_us``."""
        return Horizon(
            now_us=now_us,
            silent_us=now_us - round(self.silent_after_s * 1e6),
            reading_us=now_us - round(self.reading_ttl_s * 1e6),
            speed_us=now_us - round(self.speed_ttl_s * 1e6),
            school_us=now_us - round(self.school_ttl_s * 1e6),
        )


@dataclass(frozen=True, slots=True)
class Horizon:
    """Microseconds since 1970: older than this is silent, or no longer shown."""

    now_us: int
    silent_us: int
    reading_us: int
    speed_us: int
    school_us: int
