"""What was found in one stretch of time, on one axis: seconds since the boot, or since 1970. Pure."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from linkbell_agent.recent.minutes import Minutes

MAX_TRACKS = 24


class Speed(NamedTuple):
    """A speed test. A direction without a result is ``None``; ``failure`` is the code of what failed."""

    at: float
    download_bps: float | None
    upload_bps: float | None
    failure: str | None
    server: str
    engine: str
    trigger: str
    rtt_idle_s: float | None
    rtt_loaded_s: float | None
    limited_by: str
    cost_bytes: int


class Check(NamedTuple):
    """A floor check; ``passed`` is ``None`` if it did not find out."""

    at: float
    direction: str
    passed: bool | None
    bps: float | None
    floor_bps: float
    failure: str | None


class Verdict(NamedTuple):
    """Where the fault was from this moment on."""

    at: float
    state: str


class Skip(NamedTuple):
    """What was not measured, and why."""

    at: float
    skipped: str
    reason: str


class Event(NamedTuple):
    """Something that happened to the agent or its line."""

    at: float
    event: str


class Last(NamedTuple):
    """The newest result of a track. ``answers`` says whether the target is there, ``None`` if that is not known."""

    at: float
    answers: bool | None
    rtt_s: float | None
    loss_ratio: float | None
    failure: str | None


Entry = TypeVar("Entry", Speed, Check, Verdict, Skip, Event)

KINDS: dict[str, tuple[type[Speed] | type[Check] | type[Verdict] | type[Skip] | type[Event], int]] = {
    "speeds": (Speed, 300),
    "checks": (Check, 700),
    "verdicts": (Verdict, 300),
    "skips": (Skip, 60),
    "events": (Event, 100),
}
"""What is kept besides pings, and how many of each at most."""


@dataclass(slots=True)
class Track:
    """One thing that is measured again and again: a ``kind`` of probe at a target."""

    kind: str
    target: str
    layer: str
    host: str
    minutes: Minutes = field(default_factory=Minutes)
    last: Last | None = None


@dataclass(slots=True)
class Stretch:
    """Everything of one stretch. Each list is bounded; the oldest goes first."""

    tracks: dict[tuple[str, str], Track] = field(default_factory=dict)
    speeds: deque[Speed] = field(default_factory=lambda: deque(maxlen=KINDS["speeds"][1]))
    checks: deque[Check] = field(default_factory=lambda: deque(maxlen=KINDS["checks"][1]))
    verdicts: deque[Verdict] = field(default_factory=lambda: deque(maxlen=KINDS["verdicts"][1]))
    skips: deque[Skip] = field(default_factory=lambda: deque(maxlen=KINDS["skips"][1]))
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=KINDS["events"][1]))

    def track(self, kind: str, target: str, layer: str, host: str) -> Track:
        """Return the track of a target, made if need be; past :data:`MAX_TRACKS` the one silent longest goes."""
        found = self.tracks.get((kind, target))
        if found is None:
            if len(self.tracks) >= MAX_TRACKS:
                del self.tracks[min(self.tracks, key=lambda key: self.tracks[key].minutes.newest_or(0))]
            found = self.tracks[kind, target] = Track(kind, target, layer, host)
        found.layer, found.host = layer, host
        return found

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        lists = {name: [list(entry) for entry in getattr(self, name)] for name in KINDS}
        tracks = [
            {
                **{name: getattr(track, name) for name in ("kind", "target", "layer", "host")},
                "minutes": track.minutes.state(),
                "last": None if track.last is None else list(track.last),
            }
            for track in self.tracks.values()
            if track.minutes.newest is not None
        ]
        return {"tracks": tracks, **lists}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Stretch":
        """Read what :meth:`state` wrote. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for anything else."""
        made = cls()
        for name, (kind, _) in KINDS.items():
            getattr(made, name).extend(kind(*_timed(values)) for values in state[name])
        for one in state["tracks"][:MAX_TRACKS]:
            track = made.track(*(str(one[name]) for name in ("kind", "target", "layer", "host")))
            track.minutes = Minutes.from_state(one["minutes"])
            track.last = None if one["last"] is None else Last(*_timed(one["last"]))
        return made

    def add(self, other: "Stretch", offset_s: float = 0.0, until_s: float = math.inf) -> None:
        """Take over what ``other`` holds, its times moved by ``offset_s``, and nothing that is later than ``until_s``.

        What is there already is older.
        """
        for name in KINDS:
            moved = (entry._replace(at=entry.at + offset_s) for entry in getattr(other, name))
            getattr(self, name).extend(entry for entry in moved if entry.at <= until_s)
        for track in other.tracks.values():
            known = [(minute + round(offset_s / 60), found) for minute, found in track.minutes.known()]
            in_time = [one for one in known if one[0] * 60 <= until_s]
            if not in_time:
                continue
            mine = self.track(track.kind, track.target, track.layer, track.host)
            for minute, found in in_time:
                mine.minutes.put(minute, *found)
            if track.last is not None and track.last.at + offset_s <= until_s:
                mine.last = track.last._replace(at=track.last.at + offset_s)


def _timed(values: Iterable[Any]) -> list[Any]:
    """Return the fields of an entry, of which the first has to be a time."""
    fields = list(values)
    if not fields or isinstance(fields[0], bool) or not isinstance(fields[0], int | float):
        raise ValueError("an entry without a time")
    return fields
