"""The page to show the provider: outages and speeds with their times, and how they were measured. Printable. Pure."""

from linkbell_agent.language import terms
from linkbell_agent.page.frame import Frame, paragraph, section
from linkbell_agent.page.markup import Content, Markup, join, tag
from linkbell_agent.page.overview import headline, short
from linkbell_agent.page.view import WEEK_S, Span
from linkbell_agent.recent.stretch import Speed

MAX_ROWS = 60


def provider(frame: Frame) -> bytes:
    """Return the page."""
    say = frame.speech.say
    return frame.page(
        "/provider",
        say("For the provider"),
        tag("h1", say("The Internet connection of {school}", school=frame.place)),
        paragraph(headline(frame)),
        _evidence(frame),
        section(say("The line"), _line(frame)),
        section(say("Outages and faults of the last 7 days"), _outages(frame)),
        section(say("Measured speeds of the last 7 days"), _speeds(frame)),
        section(say("How this was measured"), _method(frame)),
    )


def _evidence(frame: Frame) -> Markup | None:
    """Return what the present verdict rests on, nearest layer first; nothing if all is well."""
    view, say = frame.view, frame.speech.say
    if view.tone in ("good", "unknown") or view.verdict == "ok" or not view.evidence:
        return None
    rows = []
    for layer, target, is_up, code in view.evidence:
        why = (
            "" if code in (None, "timeout") else f" ({say(terms.FAILURES.get(code or '', terms.FAILURES['unknown']))})"
        )
        state = say("✓ answers") if is_up else say("✗ no answer")
        rows.append(tag("li", f"{say(terms.LAYERS[layer])}: {state}{why} ", tag("small", target)))
    return section(say("What was found"), tag("ul", *rows, class_="plain"))


def _line(frame: Frame) -> Markup:
    facts, say, rate = frame.view.facts, frame.speech.say, frame.quantities.rate
    rows: list[tuple[str, str | None]] = [
        (say("School"), " · ".join(filter(None, (facts.school_name, facts.school))) or None),
        (say("Uplink"), " · ".join(filter(None, (facts.uplink, facts.device)))),
        (say("Router (gateway)"), facts.gateway),
        (say("Address of this box"), facts.address),
        (say("Agreed download (floor)"), None if facts.download_floor_bps is None else rate(facts.download_floor_bps)),
        (say("Agreed upload (floor)"), None if facts.upload_floor_bps is None else rate(facts.upload_floor_bps)),
        (say("Page made"), frame.moment(frame.view.now_s)),
    ]
    return tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in rows if value))


def _outages(frame: Frame) -> Markup:
    say, spans = frame.speech.say, list(reversed(frame.view.outages))[:MAX_ROWS]
    known_s = _known_since(frame)
    since = say("Measured since {moment}.", moment=frame.moment(known_s)) if known_s is not None else None
    if not spans:
        return join(paragraph(say("None was seen.")), paragraph(since, class_="note") if since else None)
    total = frame.quantities.duration(sum(span.end_s - span.start_s for span in spans if span.tone == "bad"))
    rows = [_outage(frame, span) for span in spans]
    head = (say("From"), say("To"), say("Lasted"), say("What was found"))
    return join(
        frame.table(head, rows),
        paragraph(say("Without Internet in all: {duration}.", duration=total), " ", since, class_="note"),
    )


def _known_since(frame: Frame) -> float | None:
    verdicts = frame.view.found.verdicts
    return max(verdicts[0].at, frame.view.now_s - WEEK_S) if verdicts else None


def _outage(frame: Frame, span: Span) -> tuple[Content, ...]:
    is_over = span.end_s < frame.view.now_s
    until = frame.moment(span.end_s) if is_over else frame.speech.say("goes on")
    return (
        frame.moment(span.start_s),
        until,
        frame.quantities.duration(span.end_s - span.start_s),
        f"{_mark(span.tone)} {short(frame, span.state)}",
    )


def _mark(tone: str) -> str:
    return "✗" if tone == "bad" else "!"


def _speeds(frame: Frame) -> Markup:
    view, say = frame.view, frame.speech.say
    tests = sorted(one for one in view.found.speeds if one.at > view.now_s - WEEK_S)
    if not tests:
        return paragraph(say("No speed was measured in this time."))
    head = (say("When"), say("Download"), say("Upload"), say("Idle round trip"), say("Against"))
    rows = [_speed(frame, one) for one in reversed(tests[-MAX_ROWS:])]
    return join(_shares(frame, tests), frame.table(head, rows))


def _shares(frame: Frame, tests: list[Speed]) -> Markup | None:
    floor_bps = frame.view.facts.download_floor_bps
    known = [one.download_bps for one in tests if one.download_bps is not None]
    if floor_bps is None or not known:
        return None
    below = sum(bps < floor_bps for bps in known)
    said = frame.speech.say_n(
        "In {below} of {n} test the download was below the floor of {floor}.",
        "In {below} of {n} tests the download was below the floor of {floor}.",
        len(known),
        below=below,
        floor=frame.quantities.rate(floor_bps),
    )
    return paragraph(tag("b", said))


def _speed(frame: Frame, one: Speed) -> tuple[Content, ...]:
    facts, say = frame.view.facts, frame.speech.say
    failed = None if one.failure is None else say(terms.FAILURES.get(one.failure, terms.FAILURES["unknown"]))
    return (
        frame.moment(one.at),
        _against(frame, one.download_bps, facts.download_floor_bps, failed),
        _against(frame, one.upload_bps, facts.upload_floor_bps, None if one.download_bps is None else failed),
        frame.quantities.milliseconds(one.rtt_idle_s),
        tag("small", one.server),
    )


def _against(frame: Frame, bps: float | None, floor_bps: float | None, failed: str | None) -> Content:
    if bps is None:
        return tag("span", failed, class_="wrap") if failed else "–"
    if floor_bps is not None and bps < floor_bps:
        return tag("b", f"✗ {frame.quantities.rate(bps)}")
    return f"{'✓ ' if floor_bps is not None else ''}{frame.quantities.rate(bps)}"


def _method(frame: Frame) -> Markup:
    say, facts = frame.speech.say, frame.view.facts
    every = frame.quantities.duration(facts.ping_interval_s)
    lines = [
        say("A box on the school's network measures by itself; nobody's computer or telephone is in the way."),
        say(
            "Each layer, from the router to sites abroad, is asked with several packets every {duration}.",
            duration=every,
        ),
        say("Speeds are of data received over TCP (ndt7, M-Lab's protocol), against the server in the table."),
        say("A fault counts when two rounds in a row show it; its times are right to about a minute."),
        say("✗ is below the floor or an outage, ! is a fault with which the Internet still works in part."),
    ]
    return tag("ul", *(tag("li", line) for line in lines))
