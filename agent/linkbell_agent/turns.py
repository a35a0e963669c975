"""Whose turn it is to be sent: what is new, or what waits from an outage. Pure.

After a month without a line two hundred thousand records wait. Whoever watches the school wants to see first how it is
now, then what happened, then every ping of the month; and none of the three may wait for another to end.
"""

from enum import Enum

from linkbell_agent.slim import dataclass

HISTORY_PER_LIVE = 3
"""So many batches of history for one of what is new, while both wait."""


class Lane(Enum):
    """Where a batch is taken from."""

    LIVE = "live"
    """The newest in memory."""
    NEWEST = "newest"
    """The newest on disk, where nothing is in memory: the line came back just after it was written down."""
    VALUED = "valued"
    """The newest on disk that is no mere ping: events and verdicts, then speeds and checks."""
    HISTORY = "history"
    """The oldest on disk, whatever it is."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits where. ``urgent`` says that something rarer than a ping is in memory."""

    live: int
    urgent: bool
    on_disk: int


def whose_turn(waiting: Waiting, since_live: int) -> Lane | None:
    """Return where the next batch comes from, None if nothing waits.

    ``since_live`` counts the batches of history settled since the last live one; at the start of a run, and after an
    outage, it is ``HISTORY_PER_LIVE``, for the newest goes first.
    """
    if waiting.live and (waiting.urgent or not waiting.on_disk or since_live >= HISTORY_PER_LIVE):
        return Lane.LIVE
    if waiting.on_disk:
        if since_live == HISTORY_PER_LIVE:
            return Lane.NEWEST
        return Lane.VALUED if since_live % HISTORY_PER_LIVE == 0 else Lane.HISTORY
    return None
