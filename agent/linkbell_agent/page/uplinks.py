"""The part of the page that a box with several uplinks has: each in a line, and the way to its charts. Pure."""

from linkbell_agent.language import terms
from linkbell_agent.page import charts
from linkbell_agent.page.frame import Frame, paragraph, section
from linkbell_agent.page.markup import Markup, tag
from linkbell_agent.page.view import Line


def uplinks(frame: Frame) -> Markup | None:
    """Return the section; None on a box with one uplink."""
    if not frame.view.uplinks:
        return None
    say = frame.speech.say
    head = (say("Uplink"), say("State"), say("Used now"), say("Download"), say("Round trip"))
    rows = [(_name(frame, line), *_cells(frame, line)) for line in frame.view.uplinks]
    shown = say("What follows is of {uplink}.", uplink=frame.view.facts.uplink)
    return section(say("The ways out of the school"), frame.table(head, rows), paragraph(shown, class_="note"))


def _name(frame: Frame, line: Line) -> Markup:
    name, shown = line.entry["name"], frame.view.facts.uplink
    address = frame.address("/", uplink=name)
    words = f" {frame.speech.say(terms.ROLES[line.entry['role']])} · {line.entry['device'] or '–'}"
    current = "true" if name == shown else None
    return tag("span", tag("a", name, href=address, aria_current=current), tag("small", words))


def _cells(frame: Frame, line: Line) -> tuple[Markup | str, ...]:
    say, trouble = frame.speech.say, line.entry["trouble"]
    state = terms.TROUBLES[trouble] if trouble else terms.SHORT.get(line.verdict or "", terms.NOT_MEASURED)
    if not trouble and line.verdict == "ok" and line.is_slow:
        state = terms.SHORT_SLOW
    tone = "bad" if trouble and line.tone in ("good", "unknown") else line.tone
    return (
        tag("span", charts.sample(tone), " ", say(state)),
        say("✓ yes") if line.entry["carries"] else say("no"),
        "–" if line.download_bps is None else frame.quantities.rate(line.download_bps),
        "–" if line.rtt_s is None else frame.quantities.milliseconds(line.rtt_s),
    )
