"""The first page: how the line is in one sentence, what to do, and the last day in charts. Pure."""

from linkbell_agent.language import terms
from linkbell_agent.page import charts
from linkbell_agent.page.frame import Frame, paragraph, section
from linkbell_agent.page.markup import Markup, join, tag
from linkbell_agent.page.uplinks import uplinks
from linkbell_agent.page.view import DAY_S, LAYER_ORDER, View, buckets, farthest
from linkbell_agent.recent.stretch import Track

PARTS = 288
"""Five minutes each."""

LEAST_SCALE_S = 0.02


def overview(frame: Frame) -> bytes:
    """Return the page."""
    say = frame.speech.say
    return frame.page(
        "/",
        headline(frame),
        uplinks(frame),
        _headline(frame),
        _numbers(frame),
        section(say("The last 24 hours"), _timeline(frame)),
        section(say("Speed against the floor"), _speeds(frame)),
        section(say("How far the way is open"), _layers(frame)),
    )


def headline(frame: Frame) -> str:
    """Return how the line is, in one sentence."""
    return frame.speech.say(headline_message(frame.view))


def headline_message(view: View) -> str:
    """Return the sentence's message."""
    if view.verdict == "ok" and view.is_slow:
        return terms.SLOW
    return terms.VERDICTS.get(view.verdict or "", terms.NO_VERDICT)


def step_message(view: View) -> str:
    """Return the message of what to do."""
    if view.verdict == "ok" and view.is_slow:
        return terms.SLOW_STEP
    return terms.STEPS.get(view.verdict or "", terms.NO_VERDICT_STEP)


def _headline(frame: Frame) -> Markup:
    view, say = frame.view, frame.speech.say
    word = say(terms.TONE_WORDS[view.tone])
    since = None
    # How long it has been slow is not known, only since when the verdict holds.
    if view.since_s is not None and not (view.verdict == "ok" and view.is_slow):
        lasting = frame.quantities.duration(view.now_s - view.since_s)
        since = say("Since {moment} ({duration}).", moment=frame.when(view.since_s), duration=lasting)
    return tag(
        "section",
        charts.icon(view.tone, word),
        tag(
            "div",
            paragraph(word, class_="word"),
            tag("h1", headline(frame)),
            paragraph(say(step_message(view)), class_="step"),
            paragraph(since, class_="since") if since else None,
        ),
        class_=f"headline {view.tone}",
    )


def _numbers(frame: Frame) -> Markup:
    return tag("div", _latest_download(frame), _latest_upload(frame), _latest_ping(frame), class_="cards")


def _card(title: str, value: str, *notes: str | None) -> Markup:
    lines = [paragraph(note, class_="note") for note in notes if note]
    return tag("section", tag("h2", title), paragraph(value, class_="value"), *lines, class_="card")


def _latest_download(frame: Frame) -> Markup:
    view, say, quantities = frame.view, frame.speech.say, frame.quantities
    tests = [one for one in view.found.speeds if one.download_bps is not None]
    if not tests:
        return _card(say("Download"), say("no test yet"), _floor(frame, None, view.facts.download_floor_bps))
    last = tests[-1]
    return _card(
        say("Download"),
        quantities.rate(last.download_bps),
        _floor(frame, last.download_bps, view.facts.download_floor_bps),
        say("measured {moment}", moment=frame.when(last.at)),
    )


def _latest_upload(frame: Frame) -> Markup:
    view, say = frame.view, frame.speech.say
    tests = [one for one in view.found.speeds if one.upload_bps is not None]
    if not tests:
        return _card(say("Upload"), say("no test yet"), _floor(frame, None, view.facts.upload_floor_bps))
    last = tests[-1]
    return _card(
        say("Upload"),
        frame.quantities.rate(last.upload_bps),
        _floor(frame, last.upload_bps, view.facts.upload_floor_bps),
        say("measured {moment}", moment=frame.when(last.at)),
    )


def _floor(frame: Frame, bps: float | None, floor_bps: float | None) -> str | None:
    if floor_bps is None:
        return None
    floor = frame.quantities.rate(floor_bps)
    if bps is None:
        return frame.speech.say("floor: {floor}", floor=floor)
    if bps < floor_bps:
        return frame.speech.say("✗ below the floor of {floor}", floor=floor)
    return frame.speech.say("✓ not below the floor of {floor}", floor=floor)


def _latest_ping(frame: Frame) -> Markup:
    say, track = frame.speech.say, farthest(frame.view)
    if track is None or track.last is None:
        return _card(say("Round trip"), say("no answer"))
    layer = say(terms.LAYERS[track.layer])
    lost = say("{share} lost", share=frame.quantities.share(track.last.loss_ratio))
    return _card(
        say("Round trip"),
        frame.quantities.milliseconds(track.last.rtt_s),
        f"{layer}: {lost}",
        say("measured {moment}", moment=frame.when(track.last.at)),
    )


def _timeline(frame: Frame) -> Markup:
    view, say = frame.view, frame.speech.say
    states = list(dict.fromkeys(span.state for span in view.timeline))
    legend = [
        tag("li", charts.sample(terms.TONES.get(state or "", "unknown")), short(frame, state)) for state in states
    ]
    quiet = paragraph(say("Nothing is known of the last day yet."), class_="note") if not view.timeline else None
    return join(
        charts.timeline(view.timeline, view.now_s, say("How the connection was in the last 24 hours")),
        frame.hours(),
        tag("ul", *legend, class_="legend") if legend else quiet,
        _outages_of_today(frame),
    )


def short(frame: Frame, state: str | None) -> str:
    """Return a state in two or three words."""
    return frame.speech.say(terms.SHORT.get(state or "", terms.NOT_MEASURED))


def _outages_of_today(frame: Frame) -> Markup:
    spans = [span for span in frame.view.timeline if span.tone == "bad"]
    if not spans:
        return paragraph(frame.speech.say("No outage in this time."), class_="note")
    lasted = frame.quantities.duration(sum(span.end_s - span.start_s for span in spans))
    said = frame.speech.say_n(
        "{n} outage, {duration} in all.", "{n} outages, {duration} in all.", len(spans), duration=lasted
    )
    return paragraph(said, class_="note")


def _speeds(frame: Frame) -> Markup:
    view, say, floor_bps = frame.view, frame.speech.say, frame.view.facts.download_floor_bps
    today = [one for one in view.downloads if one.at > view.now_s - DAY_S]
    if not today:
        return paragraph(say("No speed was measured in this time."), class_="note")
    chart, top_bps = charts.speeds(view.downloads, floor_bps, view.now_s, say("Download speeds of the last 24 hours"))
    below = sum(one.is_below for one in today)
    lines = [say("The chart is {rate} high.", rate=frame.quantities.rate(top_bps))]
    if floor_bps is not None:
        lines.insert(0, say("The dashed line is the floor: {floor}.", floor=frame.quantities.rate(floor_bps)))
        said = frame.speech.say_n(
            "{below} of {n} measurement was below it.",
            "{below} of {n} measurements were below it.",
            len(today),
            below=below,
        )
        lines.insert(1, said)
    kinds = say("Filled bars are speed tests, hollow ones are checks of the floor, hatched ones are below the floor.")
    return join(chart, frame.hours(), paragraph(" ".join(lines)), paragraph(kinds, class_="note"))


def _layers(frame: Frame) -> Markup:
    view, say = frame.view, frame.speech.say
    if not view.tracks:
        return paragraph(say("Nothing was measured yet."), class_="note")
    tracks = sorted(view.tracks, key=lambda one: (LAYER_ORDER.index(one.layer), one.kind != "ping", one.target))
    hint = say("The line shows round trips, from near to far. Red bars from above are lost packets or failures.")
    return join(paragraph(hint, class_="note"), *(_layer(frame, track) for track in tracks), frame.hours())


def _layer(frame: Frame, track: Track) -> Markup:
    say, quantities = frame.speech.say, frame.quantities
    parts = buckets(track, frame.view.now_s, PARTS)
    known = sorted(part.rtt_s for part in parts if part.rtt_s is not None)
    # One late packet must not press the whole day flat.
    most_s = max(LEAST_SCALE_S, 1.25 * known[int(0.98 * (len(known) - 1))]) if known else LEAST_SCALE_S
    name = say(terms.LAYERS[track.layer])
    label = say("{layer}: round trips and losses of the last 24 hours", layer=name)
    how = "" if track.kind == "ping" else f", {say(terms.PROBES[track.kind])}"
    return tag(
        "div",
        tag(
            "div",
            tag("h3", name, tag("small", f" {track.target}{how}")),
            paragraph(*_state(frame, track), class_="now"),
            class_="layer-head",
        ),
        charts.round_trips(parts, most_s, label),
        paragraph(say("top: {time}", time=quantities.milliseconds(most_s)), class_="scale"),
        class_="layer",
    )


def _state(frame: Frame, track: Track) -> tuple[str, ...]:
    say, last = frame.speech.say, track.last
    if last is None or last.answers is None:
        return (say("– not known"),)
    if not last.answers:
        why = terms.FAILURES.get(last.failure or "")
        return (f"{say('✗ no answer')}{f' ({say(why)})' if why and last.failure != 'timeout' else ''}",)
    rtt = "" if last.rtt_s is None else f" {frame.quantities.milliseconds(last.rtt_s)}"
    lost = f", {say('{share} lost', share=frame.quantities.share(last.loss_ratio))}" if last.loss_ratio else ""
    return (f"{say('✓ answers')}{rtt}{lost}",)
