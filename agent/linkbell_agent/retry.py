"""When to try again: the only place that decides how long to wait after a failure."""

import random

FIRST_CEILING_S = 2.0
LONGEST_CEILING_S = 300.0
LONGEST_RETRY_AFTER_S = 3600.0

FIRST_WAIT_IN_SLOT_S = 120.0
MAX_ATTEMPTS_IN_SLOT = 3
LONGEST_WAIT_IN_SLOT_S = 1.5 * LONGEST_RETRY_AFTER_S


class Backoff:
    """Exponential backoff with full jitter: a wait is uniform between 0 and a ceiling that doubles.

    Full jitter spreads a fleet that failed at the same moment evenly (Brooker, "Exponential Backoff And Jitter",
    AWS Architecture Blog, 2015).
    """

    def __init__(
        self, rng: random.Random, *, first_s: float = FIRST_CEILING_S, longest_s: float = LONGEST_CEILING_S
    ) -> None:
        self._rng = rng
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many failures in a row."""
        return self._failures

    def next_wait_s(self) -> float:
        """Count one more failure and return how long to wait before the next try, in seconds."""
        ceiling = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._rng.uniform(0, ceiling)

    def reset(self) -> None:
        """Forget the failures: something worked."""
        self._failures = 0


def retry_after_s(header: str | None, now_unix_s: float) -> float | None:
    """Read a Retry-After header, seconds or a date; None if it is missing or nonsense. Bounded to an hour."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        # Imported late: hardly any server gives a date, and the parser of electronic mail's takes 0.3 MB.
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(header).timestamp() - now_unix_s
        except (ValueError, TypeError, OverflowError):
            return None
    if not seconds >= 0:
        return 0.0
    return min(seconds, LONGEST_RETRY_AFTER_S)


def wait_in_slot_s(attempts: int, share: float, asked_s: float | None = None) -> float:
    """Return how long to wait after so many failed tests of a slot: 2, 4, 8 … minutes, up to half more or less.

    ``share``, 0 to under 1, says where in that range. A server that asked for longer gets it, and up to half more, so
    that those it sent away do not come back together; an hour at most is granted.
    """
    wait_s = FIRST_WAIT_IN_SLOT_S * 2.0 ** (attempts - 1) * (0.5 + share)
    return wait_s if asked_s is None else max(wait_s, min(asked_s, LONGEST_RETRY_AFTER_S) * (1 + share / 2))
