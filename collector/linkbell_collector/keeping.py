"""Removes what is kept no longer, in small steps beside everything else."""

import asyncio
import logging

from linkbell_collector.clock import Clock
from linkbell_collector.errors import CollectorError
from linkbell_collector.store.interface import Store

log = logging.getLogger(__name__)
INTERVAL_S = 600.0
SHORTEST_PAUSE_S = 0.01


class Keeper:
    """Has the store pruned every ten minutes. After each step it rests as long as the step took."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._trouble = False

    async def watch(self) -> None:
        """Prune, until cancelled. Whatever goes wrong is logged, and tried again the next time."""
        while True:
            await self.tidy()
            await asyncio.sleep(INTERVAL_S)

    async def tidy(self) -> None:
        """Remove all that is kept no longer."""
        try:
            await self._tidy()
        except CollectorError as error:
            if not self._trouble:
                log.error("what is kept no longer cannot be removed: %s", error.message)
            self._trouble = True
        except Exception:  # the supervisor of the task: if it ended, the disk would fill up
            if not self._trouble:
                log.exception("what is kept no longer cannot be removed, by a defect of the collector")
            self._trouble = True
        else:
            self._trouble = False

    async def _tidy(self) -> None:
        records = hours = 0
        more = True
        while more:
            began_s = self._clock.monotonic_s()
            done = await self._store.prune(self._clock.now_us())
            records, hours, more = records + done.records, hours + done.hours, done.more
            if more:
                await asyncio.sleep(max(SHORTEST_PAUSE_S, self._clock.monotonic_s() - began_s))
        if records or hours:
            log.info("%d records and %d sums of hours were older than they are kept, and are removed", records, hours)
