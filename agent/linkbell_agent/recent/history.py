"""The past and the present boot of this box, each on its own axis of time. Pure.

A box without a clock battery starts in 1970 and learns the time later. What it finds meanwhile is kept by the boot-time
clock, which never jumps, and gets its dates only when somebody looks.
"""

import json
import zlib
from typing import Any

from linkbell_agent.recent.stretch import Event, Stretch, Verdict
from linkbell_agent.squeeze import squeeze

FORMAT = 1
AHEAD_S = 60.0
"""What lies further in the future than this is of a clock that was wrong; it is not shown."""

DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error, MemoryError)
"""What reading something that is no history raises."""

MAX_BYTES = 4_000_000


class History:
    """``past`` is dated in seconds since 1970, ``present`` in seconds of this boot (``boot_id``).

    ``evidence`` goes with the latest verdict of this boot: (layer, target, up, failure code or None). It is of the
    box's first uplink; ``others`` has one for each other, by name.
    """

    def __init__(self, boot_id: str) -> None:
        self.boot_id = boot_id
        self.past = Stretch()
        self.present = Stretch()
        self.offset_s: float | None = None
        self.evidence: list[tuple[str, str, bool, str | None]] = []
        self.others: dict[str, History] = {}

    def of(self, uplink: str) -> "History":
        """Return the history of one uplink; the first's if that name has none of its own."""
        return self.others.get(uplink, self)

    def dated(self, now_s: float, boottime_s: float) -> Stretch:
        """Return everything in seconds since 1970, the present by the clock as it is now."""
        found = Stretch()
        found.add(self.past, until_s=now_s + AHEAD_S)
        found.add(self.present, now_s - boottime_s, until_s=now_s + AHEAD_S)
        return found

    def last_verdict(self) -> Verdict | None:
        """Return the verdict in force: the last one since the agent's last start in this boot."""
        starts = [entry for entry in self.present.events if entry.event == "start"]
        since_s = starts[-1].at if starts else float("-inf")
        verdicts = self.present.verdicts
        return verdicts[-1] if verdicts and verdicts[-1].at >= since_s else None

    def last_event(self, name: str) -> Event | None:
        """Return the newest event of one name in this boot."""
        return next((entry for entry in reversed(self.present.events) if entry.event == name), None)

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "format": FORMAT,
            "boot_id": self.boot_id,
            "offset_s": self.offset_s,
            "evidence": [list(one) for one in self.evidence],
            "past": self.past.state(),
            "present": self.present.state(),
            **({"others": {name: one.state() for name, one in self.others.items()}} if self.others else {}),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], boot_id: str) -> "History":
        """Read what :meth:`state` wrote. What another boot called its present is past. Raises one of :data:`DAMAGE`."""
        if state["format"] != FORMAT:
            raise ValueError("written by another version")
        made = cls(boot_id)
        made.others = {str(name): cls.from_state(one, boot_id) for name, one in state.get("others", {}).items()}
        made.past = Stretch.from_state(state["past"])
        present = Stretch.from_state(state["present"])
        offset_s = state["offset_s"]
        if state["boot_id"] == boot_id:
            made.present = present
            made.evidence = [(str(layer), str(name), bool(up), code) for layer, name, up, code in state["evidence"]]
            made.offset_s = None if offset_s is None else float(offset_s)
        elif offset_s is not None:
            made.past.add(present, float(offset_s))
        return made

    def packed(self) -> bytes:
        """Return all of it as a file holds it: JSON, compressed."""
        return squeeze(json.dumps(self.state(), separators=(",", ":")).encode())

    @classmethod
    def unpacked(cls, content: bytes, boot_id: str) -> "History":
        """Read what :meth:`packed` wrote. Raises one of :data:`DAMAGE`."""
        unzip = zlib.decompressobj()
        text = unzip.decompress(content, MAX_BYTES)
        if not unzip.eof:
            raise ValueError("cut off, or far too large")
        return cls.from_state(json.loads(text), boot_id)
