"""A status document as lines for a terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

from linkbell_agent.language import terms
from linkbell_agent.language.quantities import Quantities
from linkbell_agent.language.speech import Speech
from linkbell_agent.slim import dataclass
from linkbell_agent.status.source import Origin

CHART = 48
"""Columns of a chart: half an hour each."""

LABEL = 24


@dataclass(frozen=True, slots=True)
class Signs:
    """What charts and marks are drawn with. ``levels`` go from low to high."""

    levels: str
    good: str
    moderate: str
    bad: str
    unknown: str
    nothing: str

    def of(self, tone: str) -> str:
        """Return the mark of a tone."""
        return str(getattr(self, tone))


UNICODE = Signs("▁▂▃▄▅▆▇█", "✓", "!", "✗", "?", "·")
ASCII = Signs("_.-~=+*#", "+", "!", "x", "?", ":")


def signs_for(encoding: str | None) -> Signs:
    """Return the signs a terminal of this encoding can show."""
    try:
        "▁█✓✗·".encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return ASCII
    return UNICODE


class Screen:
    """Says one document in one language."""

    def __init__(self, document: dict[str, Any], speech: Speech, signs: Signs, zone: tzinfo | None) -> None:
        self._document = document
        self._speech = speech
        self._say = speech.say
        self._quantities = Quantities(speech)
        self._signs = signs
        self._zone = zone

    def lines(self, origin: Origin) -> list[str]:
        """Return the whole screen."""
        return [
            *self._head(origin),
            *self._uplinks(),
            "",
            *self._timeline(),
            "",
            *self._speeds(),
            "",
            *(self._target(one) for one in self._document["targets"]),
            *self._foot(),
        ]

    def _head(self, origin: Origin) -> list[str]:
        document, say = self._document, self._say
        place = document["school_name"] or document["school"] or say("this school")
        tone = document["tone"]
        slow = document["verdict"] == "ok" and document["slow"]
        sentence = terms.SLOW if slow else terms.VERDICTS.get(document["verdict"] or "", terms.NO_VERDICT)
        step = terms.SLOW_STEP if slow else terms.STEPS.get(document["verdict"] or "", terms.NO_VERDICT_STEP)
        lines = [f"Linkbell  {place}  {self._moment(document['at'])}", *self._origin(origin), ""]
        lines.append(f"[{self._signs.of(tone)}] {say(terms.TONE_WORDS[tone]).upper()}: {say(sentence)}")
        if origin in (Origin.AGENT, Origin.FILES_OF_RUNNING):
            lines.append(f"    {say(step)}")
        if document["since"] is not None and not slow:
            lasting = self._quantities.duration(_seconds(document["since"], document["at"]))
            since = say("Since {moment} ({duration}).", moment=self._when(document["since"]), duration=lasting)
            lines.append(f"    {since}")
        return lines

    def _uplinks(self) -> list[str]:
        """Return a line for each uplink where there are several; the rest of the screen is of the first."""
        say, lines = self._say, []
        for one in self._document.get("uplinks", []):
            known = terms.SHORT.get(one["verdict"] or "", terms.NOT_MEASURED)
            state = terms.TROUBLES[one["trouble"]] if one["trouble"] else known
            tone = "bad" if one["trouble"] else one["tone"]
            used = f", {say('carries the traffic now')}" if one["carries"] else ""
            rtt = "" if one["rtt_s"] is None else f", {self._quantities.milliseconds(one['rtt_s'])}"
            role = say(terms.ROLES[one["role"]])
            label = f"{one['name']} ({role})"
            lines.append(f"{label:<{LABEL}}[{self._signs.of(tone)}] {say(state)}{rtt}{used}")
        return ["", *lines] if lines else []

    def _origin(self, origin: Origin) -> list[str]:
        last = self._document["last_result"]
        kept = self._say("nothing") if last is None else self._moment(last)
        if origin is Origin.FILES:
            said = self._say(
                "No agent is running here. This is what it kept; its last result is of {moment}.", moment=kept
            )
            return [said]
        if origin is Origin.FILES_OF_RUNNING:
            said = self._say(
                "The agent is running, but its page does not answer. This is what it last put on disk, of {moment}.",
                moment=kept,
            )
            return [said]
        if origin is Origin.NOTHING:
            return [self._say("No agent is running here, and none has kept anything. Start it: linkbell-agent run")]
        return []

    def _timeline(self) -> list[str]:
        """Return the states of the day: the worse, the higher."""
        end = _time(self._document["at"]).timestamp()
        cells, states = [], []
        for part in range(CHART):
            state = self._worst(end - 86_400 * (1 - part / CHART), end - 86_400 * (1 - (part + 1) / CHART))
            states.append(state)
            cells.append(self._state_sign(state))
        words = {state: self._say(terms.SHORT.get(state or "", terms.NOT_MEASURED)) for state in dict.fromkeys(states)}
        legend = "  ".join(f"{self._state_sign(state)} {word}" for state, word in words.items())
        rows = ((self._say("The last 24 hours"), "".join(cells)), ("", self._hours()), ("", legend))
        return [f"{label:<{LABEL}}{row}" for label, row in rows]

    def _worst(self, start_s: float, end_s: float) -> str | None:
        """Return the worst state of a part of the day: a short outage is seen, too."""
        spans = [span for span in self._document["timeline"] if _overlap_s(span, start_s, end_s) > 0]
        known = [span["verdict"] for span in spans if span["verdict"] is not None]
        hole_s = sum(_overlap_s(span, start_s, end_s) for span in spans if span["verdict"] is None)
        worst = max(known, key=lambda state: _HEIGHTS[terms.TONES.get(state, "bad")], default=None)
        is_hole = 2 * hole_s > end_s - start_s and terms.TONES.get(worst or "") in (None, "good")
        return None if is_hole else worst

    def _state_sign(self, state: str | None) -> str:
        return self._signs.nothing if state is None else self._level(_HEIGHTS[terms.TONES.get(state, "bad")])

    def _hours(self) -> str:
        end = _time(self._document["at"])
        first = self._quantities.clock((end - timedelta(days=1)).astimezone(self._zone))
        now = self._say("now")
        return f"{first}{now:>{CHART - len(first)}}"

    def _speeds(self) -> list[str]:
        document = self._document
        tests = document["speeds"]
        lines = []
        for name, key, floor in (
            (self._say("Download"), "download_bps", document["download_floor_bps"]),
            (self._say("Upload"), "upload_bps", document["upload_floor_bps"]),
        ):
            known = [one for one in tests if one[key] is not None]
            if not known:
                lines.append(f"{name:<{LABEL}}{self._say('no test yet')}")
                continue
            last = known[-1]
            said = (
                f"{self._quantities.rate(last[key])}, {self._say('measured {moment}', moment=self._when(last['at']))}"
            )
            lines.append(f"{name:<{LABEL}}{said}{self._floor(last[key], floor)}")
            if len(known) > 1:
                lines.append(f"{'':<{LABEL}}{self._spark([one[key] for one in known[-CHART:]])}")
        return lines

    def _floor(self, bps: float, floor_bps: float | None) -> str:
        if floor_bps is None:
            return ""
        floor = self._quantities.rate(floor_bps)
        below = bps < floor_bps
        said = (
            self._say("✗ below the floor of {floor}", floor=floor)
            if below
            else self._say("✓ not below the floor of {floor}", floor=floor)
        )
        return f"  {self._marked(said)}"

    def _target(self, one: dict[str, Any]) -> str:
        name = self._say(terms.LAYERS.get(one["layer"], terms.NOT_MEASURED))
        how = "" if one["kind"] == "ping" else f", {self._say(terms.PROBES[one['kind']])}"
        chart = self._spark(_halved(one["rtt_s"]), _halved(one["loss_ratio"]))
        return f"{name[: LABEL - 1]:<{LABEL}}{chart}  {self._state(one)}  ({one['target']}{how})"

    def _state(self, one: dict[str, Any]) -> str:
        if one["answers"] is None:
            return self._say("– not known")
        if not one["answers"]:
            why = terms.FAILURES.get(one["failure"] or "")
            return self._marked(
                f"{self._say('✗ no answer')}{f' ({self._say(why)})' if why and one['failure'] != 'timeout' else ''}"
            )
        rtt = "" if one["last_rtt_s"] is None else f" {self._quantities.milliseconds(one['last_rtt_s'])}"
        lost = one["last_loss_ratio"]
        share = f", {self._say('{share} lost', share=self._quantities.share(lost))}" if lost else ""
        return self._marked(f"{self._say('✓ answers')}{rtt}{share}")

    def _foot(self) -> list[str]:
        waiting = self._document["waiting_records"]
        lines = []
        if waiting:
            lines = ["", self._speech.say_n("{n} result waits to be sent.", "{n} results wait to be sent.", waiting)]
        if self._document["clock_synced"] is False:
            lines += ["", self._say("This box's clock is not set: times may be wrong.")]
        return lines

    def _spark(self, values: Sequence[float | None], losses: Sequence[float | None] = ()) -> str:
        """Return values as heights; where half and more was lost, the mark of a failure."""
        most = max((value for value in values if value is not None), default=0.0) or 1.0
        cells = []
        for place, value in enumerate(values):
            lost = losses[place] if place < len(losses) else None
            if lost is not None and lost >= 0.5:
                cells.append(self._signs.bad)
            else:
                cells.append(self._signs.nothing if value is None else self._level(value / most))
        return "".join(cells)

    def _level(self, share: float) -> str:
        levels = self._signs.levels
        return levels[min(len(levels) - 1, int(share * len(levels)))]

    def _marked(self, text: str) -> str:
        """Put the marks this terminal can show in the place of those of the messages."""
        return text.replace("✓", self._signs.good).replace("✗", self._signs.bad)

    def _moment(self, text: str) -> str:
        return self._quantities.date_time(_time(text).astimezone(self._zone))

    def _when(self, text: str) -> str:
        at, now = _time(text).astimezone(self._zone), _time(self._document["at"]).astimezone(self._zone)
        return self._quantities.clock(at) if at.date() == now.date() else self._quantities.date_time(at)


_HEIGHTS = {"good": 0.1, "moderate": 0.5, "bad": 0.99}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _seconds(start: str, end: str) -> float:
    return (_time(end) - _time(start)).total_seconds()


def _overlap_s(span: dict[str, Any], start_s: float, end_s: float) -> float:
    return min(end_s, _time(span["to"]).timestamp()) - max(start_s, _time(span["from"]).timestamp())


def _halved(values: Sequence[float | None]) -> list[float | None]:
    """Return the means of pairs."""
    pairs = [[value for value in values[place : place + 2] if value is not None] for place in range(0, len(values), 2)]
    return [sum(pair) / len(pair) if pair else None for pair in pairs]
