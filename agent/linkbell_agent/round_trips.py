"""What became of the packets of one ping, and the numbers that sum it up. Pure: told of times, reads no clock."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypedDict

from linkbell_wire.failures import FailureCode


class RoundTripSummary(TypedDict):
    """The counted and timed part of a :class:`~linkbell_wire.records.PingRecord`."""

    sent: int
    received: int
    rtt_min_s: float | None
    rtt_mean_s: float | None
    rtt_p95_s: float | None
    rtt_max_s: float | None
    jitter_s: float | None
    failures: dict[FailureCode, int]


def summarise(rtts_s: Sequence[float], failures: Mapping[FailureCode, int]) -> RoundTripSummary:
    """Sum up round trips, given in the order of sending, and the packets that brought none, by cause.

    Times are rounded to the microsecond. The 95th percentile is the nearest rank (the maximum, below 20 replies);
    jitter is the mean of the absolute differences of consecutive replies, lost packets left out.
    """
    counted = {code: number for code, number in failures.items() if number}
    ordered = sorted(rtts_s)
    low, high = (ordered[0], ordered[-1]) if ordered else (None, None)
    return RoundTripSummary(
        sent=len(rtts_s) + sum(counted.values()),
        received=len(rtts_s),
        rtt_min_s=_rounded(low),
        rtt_mean_s=_rounded(_mean(ordered)),
        rtt_p95_s=_rounded(ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None),
        rtt_max_s=_rounded(high),
        jitter_s=_rounded(_mean([abs(after - before) for before, after in pairwise(rtts_s)])),
        failures=counted,
    )


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean, which floating point must not put outside of the values it is the mean of."""
    if not values:
        return None
    return min(max(math.fsum(values) / len(values), min(values)), max(values))


def _rounded(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s, 6)


class Train:
    """The packets of one ping: which are out, which came back after how long, which failed and why.

    A packet is settled once; later answers to it (duplicates, an error after a reply) change nothing. A reply that
    took longer than ``timeout_s`` is no reply.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._outstanding: dict[int, float] = {}
        self._rtts_s: dict[int, float] = {}
        self._failures: Counter[FailureCode] = Counter()

    def sent(self, sequence: int, at_s: float) -> None:
        """Note that a packet left, or was about to, at ``at_s`` on a monotonic clock."""
        self._outstanding[sequence] = at_s

    def replied(self, sequence: int, at_s: float) -> None:
        """Note a reply at ``at_s`` on the same clock."""
        rtt_s = self.waited_s(sequence, at_s)
        if rtt_s is None:
            return
        del self._outstanding[sequence]
        self._rtts_s[sequence] = rtt_s

    def failed(self, sequence: int, code: FailureCode) -> None:
        """Note why a packet will bring no reply."""
        if self._outstanding.pop(sequence, None) is not None:
            self._failures[code] += 1

    def fail_outstanding(self, code: FailureCode) -> None:
        """Note why none of the packets that are out will bring a reply."""
        for sequence in list(self._outstanding):
            self.failed(sequence, code)

    def waited_s(self, sequence: int, at_s: float) -> float | None:
        """Return how long a packet has been out at ``at_s``; None if it is not, or for too long."""
        sent_at_s = self._outstanding.get(sequence)
        return None if sent_at_s is None or at_s - sent_at_s > self._timeout_s else max(0.0, at_s - sent_at_s)

    @property
    def outstanding(self) -> list[int]:
        """The packets that are still waited for."""
        return sorted(self._outstanding)

    @property
    def has_outstanding(self) -> bool:
        """Whether a packet is still waited for."""
        return bool(self._outstanding)

    def summary(self) -> RoundTripSummary:
        """Sum up; whatever has brought nothing by now is a ``timeout``."""
        failures = Counter(self._failures)
        failures[FailureCode.TIMEOUT] += len(self._outstanding)
        return summarise([self._rtts_s[sequence] for sequence in sorted(self._rtts_s)], failures)
