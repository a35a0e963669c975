"""The history on disk: read at the start, written at a stop and once an hour."""

import asyncio
import logging
from pathlib import Path

from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_agent.recent.history import DAMAGE, MAX_BYTES, History
from linkbell_agent.threads import Worker

log = logging.getLogger(__name__)

HISTORY_FILE = "history"
SAVE_INTERVAL_S = 3600.0
"""An hour of the charts is what a power cut may cost. Ten targets are about 25 kB each time, 0.6 MB a day."""


def load_history(state: Path, boot_id: str) -> History:
    """Return the history kept in ``state``; an empty one if there is none, or none that can be read."""
    try:
        content = read_if_there(state / HISTORY_FILE)
        if content is None:
            return History(boot_id)
        if len(content) > MAX_BYTES:
            raise ValueError("far too large")
        return History.unpacked(content, boot_id)
    except StateError as error:
        log.warning("the charts begin anew: %s", error)
    except DAMAGE as error:
        # It is a convenience for whoever looks at the page; the results themselves are in the spool.
        log.warning("the charts begin anew: what was kept of them cannot be read (%s)", type(error).__name__)
    return History(boot_id)


class HistoryKeeper:
    """Saves one history, in a thread of its own."""

    def __init__(self, history: History, state: Path) -> None:
        self._history = history
        self._path = state / HISTORY_FILE
        self._worker = Worker("linkbell-history")
        self._works = True

    async def save_for_ever(self) -> None:
        """Save once an hour."""
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            await self.save()

    async def save(self) -> bool:
        """Save now. Says once if it cannot; returns whether it could."""
        content = self._history.packed()
        try:
            await self._worker.run(lambda: write_whole(self._path, content))
        except StateError as error:
            if self._works:
                log.warning("the charts cannot be kept, and go on in memory: %s", error)
            self._works = False
            return False
        self._works = True
        return True
