"""The clocks of this box. The only module of the agent that reads them; everything else is handed a :class:`Clock`."""

import ctypes
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from linkbell_agent.slim import dataclass

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_LATEST = datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)
"""The wire knows no later time. A clock that a dead battery left in 2232 must not keep the agent from measuring."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on all clocks: ``wall`` in UTC, ``boottime_s`` since this boot, sleep included."""

    wall: datetime
    boottime_s: float


class Clock(Protocol):
    """What the agent needs to know of time."""

    @property
    def boot_id(self) -> str:
        """Identity of this boot of the box."""

    def now(self) -> Moment:
        """Return the present instant on all clocks."""

    def monotonic(self) -> float:
        """Return seconds that never jump, for durations. Its zero means nothing."""

    def synced(self) -> bool | None:
        """Say whether the kernel holds the wall clock to be synchronised; ``None`` if it cannot be known."""


class SystemClock:
    """The real clocks (Linux)."""

    def __init__(self, boot_id_file: Path = _BOOT_ID_FILE) -> None:
        self._boot_id = boot_id_file.read_text(encoding="ascii").strip()
        self._libc = ctypes.CDLL(None, use_errno=True)

    @property
    def boot_id(self) -> str:
        """Identity of this boot, made by the kernel."""
        return self._boot_id

    def now(self) -> Moment:
        """Return wall time and CLOCK_BOOTTIME, read one after the other."""
        return Moment(min(datetime.now(UTC), _LATEST), time.clock_gettime(time.CLOCK_BOOTTIME))

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
        return time.monotonic()

    def synced(self) -> bool | None:
        """Ask the kernel's clock discipline (adjtimex(2)): what NTP clients of every kind report to."""
        timex = ctypes.create_string_buffer(208)
        if not hasattr(self._libc, "adjtimex"):
            return None
        state = self._libc.adjtimex(timex)
        if state < 0:
            return None
        status = ctypes.c_int.from_buffer(timex, _TIMEX_STATUS_OFFSET).value
        return state != _TIME_ERROR and not status & _STA_UNSYNC


# struct timex: unsigned int modes; long offset, freq, maxerror, esterror; int status. Longs are padded to their size.
_TIMEX_STATUS_OFFSET = 5 * ctypes.sizeof(ctypes.c_long)
