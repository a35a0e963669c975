"""The life of this box as the agent sees it: boots, power cuts, stops, and steps of its clock.

One small file is overwritten in place each ten minutes: how long ago a run was last seen is known that exactly after
a power cut, and it costs 1.6 MB of flash a day with all that ext4 writes for it (measured, blocks of 4 kB).
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from linkbell_agent.clock import Clock
from linkbell_agent.past_boots import STEP_S, Event, Sighting, StepDetector, events_at_start, redated, step_event
from linkbell_agent.threads import BlockingCalls
from linkbell_wire.version import __version__

log = logging.getLogger(__name__)

LIFE_FILE = "life"
SIGHTING_INTERVAL_S = 600.0
MAX_BOOTS = 8
"""Boots whose beginning is remembered, the newest."""

_FILE_BYTES = 1024
"""Always so many, padded: overwriting them changes no other block of the file system."""


class Life:
    """Writes down now and then that this run lives. A disk that cannot be written costs only this knowledge."""

    def __init__(self, clock: Clock, state: Path) -> None:
        self._clock = clock
        self._path = state / LIFE_FILE
        self._steps = StepDetector()
        self._calls = BlockingCalls(limit=1)
        self._written_s = 0.0
        self._works = True
        self._last: Sighting | None = None
        self._booted: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            self._last, self._booted = _parse(self._path.read_bytes())

    @property
    def ended_badly(self) -> bool:
        """Whether the run before was killed, or lost its power."""
        return self._last is not None and not self._last.stopped

    def look_back(self) -> list[Event]:
        """Return the events of this start."""
        return events_at_start(self._last, self._sight(), __version__)

    async def begin(self) -> None:
        """Write down that this run lives. What :meth:`look_back` returned is forgotten with it."""
        now = self._sight()
        self._steps.look(now.wall, now.boottime_s)
        await self._write(now)

    async def tick(self) -> list[Event]:
        """Look at the clocks, and write if it is time to. Returns what is to be said; call it every few seconds."""
        now = self._sight()
        offset_s = self._steps.look(now.wall, now.boottime_s)
        known = self._booted.get(now.boot_id)
        is_news = bool(now.synced) and (known is None or abs(known - now.booted_unix_s) > STEP_S)
        if is_news or self._clock.monotonic() - self._written_s >= SIGHTING_INTERVAL_S:
            await self._write(now)
        return [] if offset_s is None else [step_event(offset_s, synced=now.synced)]

    async def end(self) -> None:
        """Write down that this run ends in good order."""
        await self._write(self._sight(stopped=True))

    def redate(self, body: str) -> str:
        """Return a record's JSON with its true time, as far as that is known by now."""
        return redated(body, self._clock.boot_id, self._booted)

    def _sight(self, *, stopped: bool = False) -> Sighting:
        moment = self._clock.now()
        return Sighting(self._clock.boot_id, moment.boottime_s, moment.wall, self._clock.synced(), stopped)

    async def _write(self, now: Sighting) -> None:
        if now.synced:
            self._booted.pop(now.boot_id, None)
            self._booted[now.boot_id] = round(now.booted_unix_s, 3)
            for oldest in list(self._booted)[:-MAX_BOOTS]:
                del self._booted[oldest]
        self._written_s = self._clock.monotonic()
        try:
            await self._calls.run(_overwrite, self._path, _text(now, self._booted.items()))
        except OSError as error:
            if self._works:
                log.warning("after a power cut it will not be known when it was (%s: %s)", self._path, error.strerror)
            self._works = False
        else:
            self._works = True


def _text(now: Sighting, booted: Iterable[tuple[str, float]]) -> bytes:
    content = {
        "boot_id": now.boot_id,
        "boottime_s": round(now.boottime_s, 3),
        "wall": now.wall.isoformat(),
        "synced": now.synced,
        "stopped": now.stopped,
        "booted": dict(booted),
    }
    return json.dumps(content).encode().ljust(_FILE_BYTES - 1) + b"\n"


def _parse(content: bytes) -> tuple[Sighting, dict[str, float]]:
    read = json.loads(content)
    wall = datetime.fromisoformat(read["wall"])
    if wall.tzinfo is None:
        raise ValueError("a time without its zone")
    synced = read["synced"] if isinstance(read["synced"], bool) else None
    last = Sighting(str(read["boot_id"]), float(read["boottime_s"]), wall, synced, read["stopped"] is True)
    return last, {str(boot): float(since) for boot, since in read["booted"].items()}


def _overwrite(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, content, 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
