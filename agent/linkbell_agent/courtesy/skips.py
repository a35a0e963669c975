"""How many tests in a row were skipped because others used the line, kept in the state folder."""

import json
import logging
from pathlib import Path

from linkbell_agent.files import StateError, read_if_there, write_whole

log = logging.getLogger(__name__)

SKIPS_FILE = "busy-skips.json"


class Skips:
    """Counts by name, such as ``main/speed``. A file that cannot be read counts as none skipped. Blocks."""

    def __init__(self, state: Path) -> None:
        self._file = state / SKIPS_FILE
        self._counts: dict[str, int] | None = None

    def of(self, name: str) -> int:
        """Return how many in a row."""
        return self._read().get(name, 0)

    def set(self, name: str, count: int) -> None:
        """Remember; what the disk does not take is remembered for this run."""
        counts = self._read()
        if counts.get(name, 0) == count:
            return
        self._counts = {**counts, name: count}
        try:
            write_whole(self._file, json.dumps(self._counts).encode())
        except StateError as error:
            log.warning("after a restart more tests may be skipped in a row: %s", error)

    def _read(self) -> dict[str, int]:
        if self._counts is None:
            try:
                kept = json.loads(read_if_there(self._file) or b"{}")
                self._counts = {str(name): int(count) for name, count in kept.items()}
            except (StateError, ValueError, TypeError, AttributeError):
                self._counts = {}
        return self._counts
