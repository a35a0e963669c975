"""How many records of an agent are lost, from gaps in their sequence numbers. Pure.

Every sequence number up to the highest one seen was handed out. Those neither stored nor refused are missing; some
of them the agent explains: they still wait in its spool, or it dropped them on purpose and counted that. Numbers
that wait may also lie beyond the highest one seen, so what is left is a lower bound, exact once the spool is empty:
it never cries loss where there is none.
"""

MAX_MISSING = 2**53 - 1


def missing_in_stream(max_seq: int, settled: int) -> int:
    """Return the gaps of one stream. ``max_seq`` is -1 while nothing was seen; ``settled`` counts distinct numbers."""
    return min(MAX_MISSING, max(0, max_seq + 1 - settled))


def records_lost(*, missing: int, refused: int, spooled: int, dropped: int, rejected: int) -> int:
    """Return how many records are gone unexplained.

    ``missing`` sums the gaps of all streams; ``refused`` are the records we refused by number (no gap).
    ``spooled``, ``dropped`` and ``rejected`` are the agent's newest report. What it counts as rejected beyond
    ``refused`` was unreadable down to its number, and is therefore a gap that is explained.
    """
    unreadable = max(0, rejected - refused)
    return max(0, missing - spooled - dropped - unreadable)
