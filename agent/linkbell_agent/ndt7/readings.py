"""What a test had delivered by when. Pure."""

from array import array
from bisect import bisect_left, bisect_right


class Readings:
    """Payload in bytes, by seconds of the test. Two numbers a tick and no objects: small boxes run tests too."""

    def __init__(self) -> None:
        self._times_s = array("d")
        self._counts = array("d")

    def add(self, elapsed_s: float, count: float) -> None:
        """Note what had been delivered by then. Times must not fall."""
        self._times_s.append(elapsed_s)
        self._counts.append(count)

    def most_between(self, start_s: float, end_s: float) -> float:
        """Return what was delivered between two moments, from the last look before to the first one after them."""
        if not self._times_s:
            return 0.0
        first = max(0, bisect_right(self._times_s, start_s) - 1)
        last = min(len(self._times_s) - 1, bisect_left(self._times_s, end_s))
        return self._counts[last] - self._counts[first]
