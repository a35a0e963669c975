"""Waiting for the moments of :mod:`~linkbell_agent.schedule`, and remembering which slots were served."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from linkbell_agent.clock import Clock
from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_agent.plan import Plan
from linkbell_agent.schedule import next_moment, slot_at

log = logging.getLogger(__name__)

SLOT_FILE = "speed-slot"
LONGEST_SLEEP_S = 30.0
"""Wall time is looked at again at least this often while waiting: clocks are stepped, plans change."""


class SpeedSlots:
    """Which slot of speed tests was served last, kept in the state folder. ``done`` is None if none ever was."""

    def __init__(self, clock: Clock, state: Path, seed: str, plan: Callable[[], Plan]) -> None:
        self._clock = clock
        self._file = state / SLOT_FILE
        self._seed = seed
        self._plan = plan
        self.done: str | None = None
        with contextlib.suppress(StateError, UnicodeDecodeError):
            content = read_if_there(self._file)
            self.done = None if content is None else content.decode()

    def current(self) -> str:
        """Return the key of the slot of this moment: of a test's beginning, which may end in the next one."""
        return slot_at(self._clock.now().wall, self._plan().speed_per_day).key

    def mark_done(self, key: str, *, tested: bool) -> None:
        """Remember that slot ``key`` is served. Without a test it is remembered for this run only."""
        self.done = key
        if not tested:
            return
        try:
            write_whole(self._file, key.encode())
        except StateError as error:
            log.warning("after a restart this speed test may be repeated: %s", error)

    async def wait_for_next(self) -> None:
        """Return at the next moment to test. A disabled plan waits until it is enabled."""
        moment: datetime | None = None
        drawn_in = ""
        while True:
            plan = self._plan()
            now = self._clock.now().wall
            slot = slot_at(now, plan.speed_per_day).key
            if moment is None or slot != drawn_in:
                moment, drawn_in = next_moment(now, plan.speed_per_day, self._seed, self.done), slot
            wait_s = (moment - now).total_seconds() if plan.speed_enabled else LONGEST_SLEEP_S
            if wait_s <= 0:
                return
            await asyncio.sleep(min(LONGEST_SLEEP_S, wait_s))
