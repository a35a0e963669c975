"""What the page and ``status`` show, worked out once for all of them. Pure.

Times are seconds since 1970 here; :meth:`View.local` turns one into the school's own time.
"""

import bisect
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any

from linkbell_agent.language.terms import TONES
from linkbell_agent.page.facts import Facts
from linkbell_agent.recent.history import History
from linkbell_agent.recent.minutes import WIDTH
from linkbell_agent.recent.stretch import Stretch, Track
from linkbell_agent.slim import dataclass

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
SILENCE_S = 300.0
"""Without any result for so long nothing was measured, unless pings are rarer than that."""

LAYER_ORDER = ("gateway", "isp", "dns", "domestic", "international", "platform", "collector")
SLOW_OF = 3
"""The latest so many measurements decide whether the line is slow: more than half of them below the floor."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in one state; ``state`` is None where nothing was measured."""

    start_s: float
    end_s: float
    state: str | None

    @property
    def tone(self) -> str:
        """How bad it was."""
        return TONES.get(self.state or "", "unknown")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured download or a check of it, against the floor. ``bps`` of a check is a lower bound."""

    at: float
    bps: float | None
    is_below: bool
    is_check: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One of several uplinks in short. ``entry`` is that of the facts; rates and round trip are the latest."""

    entry: dict[str, Any]
    verdict: str | None
    since_s: float | None
    tone: str
    is_slow: bool
    download_bps: float | None
    rtt_s: float | None


@dataclass(frozen=True, slots=True)
class View:
    """Everything there is to show. ``since_s`` is when the verdict began; ``last_s`` when the last result came."""

    facts: Facts
    found: Stretch
    zone: tzinfo | None
    verdict: str | None
    since_s: float | None
    last_s: float | None
    evidence: Sequence[tuple[str, str, bool, str | None]]
    tracks: Sequence[Track]
    timeline: Sequence[Span]
    outages: Sequence[Span]
    downloads: Sequence[Measure]
    uplinks: Sequence[Line] = ()
    """Of a box with several: all of them, the one shown included."""

    @property
    def now_s(self) -> float:
        """The moment the page is of."""
        return self.facts.now_s

    @property
    def is_slow(self) -> bool:
        """Whether most of the latest measurements of a day were below the floor."""
        latest = [one for one in self.downloads if one.at > self.now_s - DAY_S][-SLOW_OF:]
        return 2 * sum(one.is_below for one in latest) > len(latest)

    @property
    def tone(self) -> str:
        """``good``, ``moderate``, ``bad`` or ``unknown``."""
        if self.verdict == "ok" and self.is_slow:
            return "moderate"
        return TONES.get(self.verdict or "", "unknown")

    def local(self, at_s: float) -> datetime:
        """Return a moment in the school's time; in the box's own where the school's is not known."""
        return datetime.fromtimestamp(at_s, UTC).astimezone(self.zone)


def make_view(facts: Facts, history: History, zone: tzinfo | None) -> View:
    """Work out what is to be shown at ``facts.now_s``, of the uplink ``facts.uplink``; the others in short."""
    lines = []
    for entry in facts.uplinks:
        shown = facts.of(entry["name"])
        lines.append(_line(entry, _view(shown, history.of(shown.uplink), zone)))
    return replace(_view(facts, history.of(facts.uplink), zone), uplinks=lines)


def _line(entry: dict[str, Any], view: View) -> Line:
    tests = [one.download_bps for one in view.found.speeds if one.download_bps is not None]
    track = farthest(view)
    rtt_s = None if track is None or track.last is None else track.last.rtt_s
    download_bps = tests[-1] if tests else None
    return Line(entry, view.verdict, view.since_s, view.tone, view.is_slow, download_bps, rtt_s)


def farthest(view: View) -> Track | None:
    """Return the ping that goes farthest of those that answer: what a lesson feels."""
    pings = [one for one in view.tracks if one.kind == "ping" and one.last is not None and one.last.rtt_s is not None]
    order = ("international", "domestic", "platform", "collector", "isp", "dns", "gateway")
    return min(pings, key=lambda one: order.index(one.layer), default=None)


def _view(facts: Facts, history: History, zone: tzinfo | None) -> View:
    found = history.dated(facts.now_s, facts.boottime_s)
    tracks = sorted(found.tracks.values(), key=_order)
    seen = _minutes_seen(tracks)
    silence_s = max(SILENCE_S, 2 * facts.ping_interval_s)
    spans = _spans(found, seen, facts, silence_s)
    last = history.last_verdict() if facts.running else None
    offset_s = facts.now_s - facts.boottime_s
    return View(
        facts=facts,
        found=found,
        zone=zone,
        verdict=None if last is None else last.state,
        since_s=None if last is None else _began(spans, last.state, last.at + offset_s),
        last_s=max((track.last.at for track in tracks if track.last is not None), default=None),
        evidence=history.evidence if last is not None else [],
        tracks=tracks,
        timeline=_clipped(spans, facts.now_s - DAY_S, facts.now_s),
        outages=[one for one in _clipped(spans, facts.now_s - WEEK_S, facts.now_s) if one.tone in ("moderate", "bad")],
        downloads=_downloads(found, facts),
    )


def _order(track: Track) -> tuple[int, str, str]:
    place = LAYER_ORDER.index(track.layer) if track.layer in LAYER_ORDER else len(LAYER_ORDER)
    return place, track.kind, track.target


def _minutes_seen(tracks: Sequence[Track]) -> list[int]:
    return sorted({minute for track in tracks for minute, _ in track.minutes.known()})


def _spans(found: Stretch, seen: Sequence[int], facts: Facts, silence_s: float) -> list[Span]:
    """Return the states one after the other, without holes, from the first to now.

    A verdict holds until the next one or a stop of the agent; without a stop (the power went) until its last result.
    """
    marks: list[tuple[float, str | None]] = [(one.at, one.state) for one in found.verdicts]
    for event in found.events:
        if event.event == "stop":
            marks.append((event.at, None))
        elif event.event == "start":
            marks.append((min(event.at, _last_seen(seen, event.at, silence_s)), None))
    if not facts.running:
        marks.append((_last_seen(seen, facts.now_s, silence_s), None))
    marks.sort(key=lambda mark: (mark[0], mark[1] is not None))
    spans: list[Span] = []
    for (start_s, state), (end_s, _) in pairwise([*marks, (facts.now_s, None)]):
        if end_s <= start_s:
            continue
        # A restart is no hole: what held before it held a minute later as well.
        is_restart = state is None and end_s - start_s < silence_s and end_s < facts.now_s
        if spans and (spans[-1].state == state or is_restart):
            spans[-1] = Span(spans[-1].start_s, end_s, spans[-1].state)
        else:
            spans.append(Span(start_s, end_s, state))
    return spans


def _last_seen(seen: Sequence[int], before_s: float, silence_s: float) -> float:
    """Return when the last result before ``before_s`` came; ``before_s`` if that was just then, or none is known."""
    place = bisect.bisect_left(seen, int(before_s // 60))
    if not place:
        return before_s
    last_s = 60.0 * seen[place - 1] + 60.0
    return before_s if before_s - last_s < silence_s else last_s


def _began(spans: Sequence[Span], state: str, at_s: float) -> float:
    return spans[-1].start_s if spans and spans[-1].state == state else at_s


def _clipped(spans: Sequence[Span], start_s: float, end_s: float) -> list[Span]:
    cut = [Span(max(one.start_s, start_s), min(one.end_s, end_s), one.state) for one in spans]
    return [one for one in cut if one.end_s > one.start_s]


def _downloads(found: Stretch, facts: Facts) -> list[Measure]:
    """Return what is known of the download against its floor, oldest first."""
    floor_bps = facts.download_floor_bps
    measures = [
        Measure(one.at, one.download_bps, floor_bps is not None and one.download_bps < floor_bps, False)
        for one in found.speeds
        if one.download_bps is not None
    ]
    measures += [
        Measure(one.at, one.bps, not one.passed, True)
        for one in found.checks
        if one.direction == "download" and one.passed is not None
    ]
    return sorted(measures, key=lambda one: one.at)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A few minutes of a track: mean round trip, and the share lost."""

    rtt_s: float | None
    loss_ratio: float | None


def buckets(track: Track, now_s: float, count: int) -> list[Bucket]:
    """Return the last day of a track in ``count`` equal parts, oldest first. ``count`` divides 1440."""
    newest, size = int(now_s // 60), WIDTH // count
    made = []
    for part in range(count):
        first = newest - WIDTH + 1 + part * size
        minutes = [track.minutes.at(minute) for minute in range(first, first + size)]
        made.append(
            Bucket(
                _mean([one.rtt_s for one in minutes if one.rtt_s is not None]),
                _mean([one.loss_ratio for one in minutes if one.loss_ratio is not None]),
            )
        )
    return made


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
