"""The ledgers on disk: one small file, read and replaced whole under a lock, so that every command may spend.

A file that cannot be read is set aside, and every uplink's new ledger then counts what its pace allowed so far as
spent. A file that was never there is a new box, whose share begins today.
"""

import contextlib
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from linkbell_agent.budget.ledger import Ledger, Reading, begin, observe
from linkbell_agent.budget.months import Calendar
from linkbell_agent.files import StateError, read_if_there, write_whole

log = logging.getLogger(__name__)

LEDGER_FILE = "budget.json"
LOCK_FILE = "budget.lock"
FORMAT = 1
MOST_SET_ASIDE = 9


@dataclass(slots=True)
class LedgerFile:
    """The ledgers of all uplinks in the state folder. Blocks: for threads."""

    state: Path
    set_aside: Path | None = None
    """The damaged file found last, if any was."""

    _in_memory: dict[str, Ledger] = field(default_factory=dict)
    _lost: bool = False
    """Whether there were ledgers before these that are lost, for uplinks that are not among them."""

    def update(
        self,
        uplink: str,
        reading: Reading,
        calendar: Calendar,
        change: Callable[[Ledger], Ledger] = lambda old: old,
        *,
        keep: bool = True,
    ) -> Ledger:
        """Return what ``change`` makes of the ledger of ``uplink`` at ``reading``, on disk if that differs in bytes.

        Raises :class:`StateError` if it could not be put there. Then, with ``keep``, it stays in memory and is written
        with the next one; without, nothing has changed.
        """
        with self._locked() as lock_error:
            ledgers = self._read()
            old = ledgers.get(uplink)
            seen = begin(reading, calendar, lost=self._lost) if old is None else observe(old, reading, calendar)
            new = change(seen)
            if old is not None and new is seen and _says_the_same(seen, old) and not self._in_memory:
                return new
            fresh = {**ledgers, uplink: new}
            try:
                if lock_error is not None:
                    raise lock_error
                write_whole(self.state / LEDGER_FILE, _format(fresh, lost=self._lost))
            except StateError:
                self._in_memory = fresh if keep else self._in_memory
                raise
            self._in_memory = {}
            return new

    def read(self) -> dict[str, Ledger]:
        """Return all ledgers as they are. Raises :class:`StateError` if the file cannot be read; damage is none."""
        content = read_if_there(self.state / LEDGER_FILE)
        with contextlib.suppress(_DamagedError):
            return {} if content is None else _parse(content)[0]
        return {}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[StateError | None]:
        """Keep other processes off; what keeps us from that is handed in, for nothing may be written then."""
        path = self.state / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            yield StateError(f"{path}: cannot be opened ({error.strerror}).")
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield None
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Ledger]:
        if self._in_memory:  # the disk did not take them: they are newer
            return self._in_memory
        path = self.state / LEDGER_FILE
        content = read_if_there(path)
        if content is None:
            self._lost = any(True for _ in self.state.glob(f"{LEDGER_FILE}.damaged-*"))
            return {}
        try:
            ledgers, self._lost = _parse(content)
        except _DamagedError as error:
            self.set_aside = _set_aside(path)
            log.error(
                "%s cannot be read (%s) and is set aside as %s: what the pace allowed so far counts as spent",
                path,
                error,
                self.set_aside,
            )
            self._lost = True
            return {}
        return ledgers


def _says_the_same(new: Ledger, old: Ledger) -> bool:
    """Say whether nothing but the time has changed: it is written with the next bytes."""
    return new.months == old.months and (new.doubt_since_s is None) == (old.doubt_since_s is None)


class _DamagedError(Exception):
    """Not what this module wrote."""


def _set_aside(path: Path) -> Path:
    names = [path.with_name(f"{path.name}.damaged-{number}") for number in range(1, MOST_SET_ASIDE + 1)]
    free = next((name for name in names if not name.exists()), names[-1])
    try:
        os.replace(path, free)
    except OSError as error:
        raise StateError(f"{path}: cannot be set aside ({error.strerror}).") from error
    return free


def _format(ledgers: dict[str, Ledger], *, lost: bool) -> bytes:
    body = json.dumps({"lost": lost, "uplinks": {name: _to_json(one) for name, one in ledgers.items()}})
    return json.dumps({"format": FORMAT, "crc32": zlib.crc32(body.encode()), "body": body}).encode()


def _parse(content: bytes) -> tuple[dict[str, Ledger], bool]:
    try:
        whole = json.loads(content)
        if whole["format"] != FORMAT:
            raise _DamagedError("another version wrote it")
        if zlib.crc32(whole["body"].encode()) != whole["crc32"]:
            raise _DamagedError("its checksum is wrong")
        body = json.loads(whole["body"])
        return {name: _from_json(one) for name, one in body["uplinks"].items()}, bool(body["lost"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _DamagedError(type(error).__name__) from error


def _to_json(ledger: Ledger) -> dict[str, Any]:
    return {
        "book": ledger.seen.wall.isoformat(),
        "trusted": ledger.seen.trusted,
        "boot_id": ledger.seen.boot_id,
        "boottime_s": ledger.seen.boottime_s,
        "months": ledger.months,
        "unsure": ledger.unsure,
        "presumed": ledger.presumed,
        "history": ledger.history,
        "typical_bytes": ledger.typical_bytes,
        "last_day": ledger.last_day,
        "doubt_since_s": ledger.doubt_since_s,
    }


def _from_json(kept: dict[str, Any]) -> Ledger:
    seen = Reading(
        datetime.fromisoformat(kept["book"]).astimezone(UTC),
        bool(kept["trusted"]),
        str(kept["boot_id"]),
        float(kept["boottime_s"]),
    )
    months = {key: {kind: int(size) for kind, size in uses.items()} for key, uses in kept["months"].items()}
    if not months:
        raise ValueError("a ledger has a month")
    return Ledger(
        seen,
        months,
        {key: int(size) for key, size in kept["unsure"].items()},
        {key: float(share) for key, share in kept["presumed"].items()},
        str(kept["history"]),
        {kind: float(size) for kind, size in kept["typical_bytes"].items()},
        {kind: str(day) for kind, day in kept["last_day"].items()},
        None if kept["doubt_since_s"] is None else float(kept["doubt_since_s"]),
    )
