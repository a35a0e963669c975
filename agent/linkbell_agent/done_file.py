"""What was served of the schedule, kept in the state folder: few writes, and none lost that matters."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

from linkbell_agent.files import StateError, read_if_there, write_whole
from linkbell_agent.schedule.done import Done, dump, load

log = logging.getLogger(__name__)

FILE = "schedule.json"
LEAST_INTERVAL_S = 600.0
"""Flash wears: what may be lost without harm is written no more often."""


class DoneFile:
    """One :class:`Done` for each name, such as ``main/speed``. A file that cannot be read counts as none."""

    def __init__(self, state: Path, monotonic: Callable[[], float]) -> None:
        self._file = state / FILE
        self._monotonic = monotonic
        self._written_s: float | None = None
        self._is_dirty = False
        self._all = self._read()

    def get(self, name: str) -> Done:
        """Return what was served under that name."""
        return self._all.get(name, Done())

    def put(self, name: str, done: Done, *, soon: bool) -> None:
        """Remember. On disk when this returns if ``soon``, else once ten minutes have passed since the last write.

        The first of a run always is: a box that a test brings down must not repeat it for ever.
        """
        if self._all.get(name) == done:
            return
        self._all[name] = done
        self._is_dirty = True
        if soon or self._written_s is None or self._monotonic() - self._written_s >= LEAST_INTERVAL_S:
            self.flush()

    def hold(self, name: str, done: Done) -> None:
        """Remember for this run, and beyond it if something else is written."""
        self._is_dirty |= self._all.get(name) != done
        self._all[name] = done

    def flush(self) -> None:
        """Write what is not on disk yet."""
        if not self._is_dirty:
            return
        content = json.dumps({name: dump(done) for name, done in self._all.items()}).encode()
        self._written_s = self._monotonic()
        try:
            write_whole(self._file, content)
        except StateError as error:
            log.warning("after a restart a test may be repeated: %s", error)
            return
        self._is_dirty = False

    def _read(self) -> dict[str, Done]:
        try:
            content = read_if_there(self._file)
            if content is None:
                return {}
            return {str(name): load(kept) for name, kept in json.loads(content).items()}
        except (StateError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("which tests were made cannot be read, and is begun anew (%s)", type(error).__name__)
            return {}
