"""How many records of an agent are lost, from gaps in their sequence numbers. Pure.

Every sequence number up to the highest one seen was handed out. Those neither stored nor refused are missing; some
of them the agent explains: they still wait in its spool, or it dropped them on purpose and counted that. Numbers
that wait may also lie beyond the highest one seen, so what is left is a lower bound, exact once the spool is empty:
it never cries loss where there is none.
"""

from collections.abc import Iterable, Set
from typing import NamedTuple

MAX_MISSING = 2**53 - 1


class Counted(NamedTuple):
    """A counter of an agent: its newest value, and what it had come to ``before`` it last started anew.

    An agent whose spool was set aside counts from 0 again. What it explained before stays explained.
    """

    newest: int = 0
    before: int = 0

    @property
    def total(self) -> int:
        """All it ever counted."""
        return self.before + self.newest

    def then(self, reported: int) -> "Counted":
        """Return the counter after the agent has ``reported`` its value; one that fell has started anew."""
        before = self.total if reported < self.newest else self.before
        return Counted(reported, min(before, MAX_MISSING))


class Account(NamedTuple):
    """The numbers of an agent over its whole life, as :func:`records_lost` takes them."""

    missing: int = 0
    refused: int = 0
    dropped: int = 0
    rejected: int = 0


NO_ACCOUNT = Account()


def missing_in_stream(max_seq: int, settled: int) -> int:
    """Return the gaps of one stream. ``max_seq`` is -1 while nothing was seen; ``settled`` counts distinct numbers."""
    return min(MAX_MISSING, max(0, max_seq + 1 - settled))


def newly_settled(stored: Iterable[int], refused: Iterable[int], known: Set[int]) -> int:
    """Return how many numbers a batch settles for the first time.

    ``stored`` and ``refused`` are the numbers of the batch, which may name one twice or in both; ``known`` are those
    of them that were stored or refused before.
    """
    return len({*stored, *refused} - known)


def records_lost(account: Account, *, spooled: int) -> int:
    """Return how many records are gone unexplained.

    Of the ``account``, ``missing`` sums the gaps of all streams, ``refused`` are the records we refused by number (no
    gap), ``dropped`` and ``rejected`` what the agent counted. What it counts as rejected beyond ``refused`` was
    unreadable down to its number, and is therefore a gap that is explained. ``spooled`` is its newest report.
    """
    unreadable = max(0, account.rejected - account.refused)
    return max(0, account.missing - spooled - account.dropped - unreadable)
