"""Small charts as SVG, with a shape beside each colour. Pure.

They stretch to the width there is, so they hold no text: axes are written beside them. Colours are attributes, which
the page's strict rules for styles allow.
"""

from collections.abc import Sequence

from linkbell_agent.page.markup import Markup, join, tag
from linkbell_agent.page.view import DAY_S, Bucket, Measure, Span

COLOURS = {"good": "#00d661", "moderate": "#f6c344", "bad": "#ff5538", "unknown": "#1d8cf0"}
"""Giga's."""

INK, FAINT = "#123", "#c9d3dc"
WIDTH = 720
HEIGHTS = {"good": 0.35, "moderate": 0.65, "bad": 1.0, "unknown": 0.12}
"""How high a state stands in the timeline: the worse, the higher, whatever the eye makes of its colour."""

_ICONS = {
    "good": ("circle", "M14 25l8 8 14-17"),
    "moderate": ("triangle", "M25 19v11M25 35v2"),
    "bad": ("square", "M16 16l18 18M34 16L16 34"),
    "unknown": ("circle", "M19 20c0-8 12-8 12 0 0 5-6 5-6 10M25 35v2"),
}


def icon(tone: str, label: str) -> Markup:
    """Return a sign that is told from the others by its shape alone."""
    shape, sign = _ICONS[tone]
    colour = COLOURS[tone]
    outlines = {
        "circle": tag("circle", cx=25, cy=25, r=23, fill=colour),
        "triangle": tag(
            "path", d="M25 3L48 45H2z", fill=colour, stroke=colour, stroke_linejoin="round", stroke_width=3
        ),
        "square": tag("rect", x=3, y=3, width=44, height=44, rx=5, fill=colour),
    }
    strokes = {"fill": "none", "stroke": INK, "stroke_width": "4.5", "stroke_linecap": "round"}
    return tag(
        "svg", outlines[shape], tag("path", d=sign, **strokes), viewBox="0 0 50 50", class_="icon", role="img",
        aria_label=label,
    )  # fmt: skip


def _chart(height: int, label: str, *parts: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", label),
        *parts,
        viewBox=f"0 0 {WIDTH} {height}",
        class_="chart",
        height=str(height),
        preserveAspectRatio="none",
        role="img",
    )


def _hours(height: int) -> Markup:
    """Return a faint line each six hours."""
    lines = [
        tag("path", d=f"M{WIDTH * part // 4} 0V{height}", stroke=FAINT, vector_effect="non-scaling-stroke")
        for part in range(1, 4)
    ]
    return join(*lines)


def round_trips(parts: Sequence[Bucket], most_s: float, label: str, height: int = 64) -> Markup:
    """Return round trips as a line, losses as bars that hang from the top; ``most_s`` is the height of the chart."""
    step = WIDTH / max(1, len(parts))
    line, bars, pen_is_down = [], [], False
    for place, part in enumerate(parts):
        x = step * (place + 0.5)
        if part.loss_ratio:
            depth = max(4.0, height * part.loss_ratio)
            bars.append(tag("rect", x=step * place, y=0, width=max(step, 1.5), height=depth, fill=COLOURS["bad"]))
        if part.rtt_s is None:
            pen_is_down = False
            continue
        y = height - 2 - (height - 4) * min(1.0, part.rtt_s / most_s)
        line.append(f"{'L' if pen_is_down else 'M'}{x:.1f} {y:.1f}" + ("" if pen_is_down else "h.1"))
        pen_is_down = True
    drawn = tag(
        "path", d="".join(line) or "M0 0", fill="none", stroke=INK, stroke_width="1.6", stroke_linejoin="round",
        vector_effect="non-scaling-stroke",
    )  # fmt: skip
    return _chart(height, label, _hours(height), *bars, drawn)


def timeline(spans: Sequence[Span], now_s: float, label: str, height: int = 40) -> Markup:
    """Return the states of a day; a worse state stands higher."""
    bars = []
    for span in spans:
        x = WIDTH * (span.start_s - (now_s - DAY_S)) / DAY_S
        width = max(1.5, WIDTH * (span.end_s - span.start_s) / DAY_S)
        tall = height * HEIGHTS[span.tone]
        bars.append(tag("rect", x=x, y=height - tall, width=width, height=tall, fill=COLOURS[span.tone]))
    base = tag("path", d=f"M0 {height}H{WIDTH}", stroke=FAINT, stroke_width="2", vector_effect="non-scaling-stroke")
    return _chart(height, label, _hours(height), *bars, base)


def speeds(
    measures: Sequence[Measure], floor_bps: float | None, now_s: float, label: str, height: int = 120
) -> tuple[Markup, float]:
    """Return speeds of a day as bars under the line of the floor, and the speed at the top of the chart.

    A bar below the floor is hatched; a check, which only says "at least so much", is hollow.
    """
    of_today = [one for one in measures if one.at > now_s - DAY_S and one.bps is not None]
    top_bps = 1.15 * max([one.bps or 0.0 for one in of_today] + [floor_bps or 0.0, 1e5])
    bars = [_bar(one, now_s, top_bps, height) for one in of_today]
    parts = [_hatching(), _hours(height), *bars]
    if floor_bps is not None:
        y = height - height * floor_bps / top_bps
        parts.append(
            tag(
                "path",
                d=f"M0 {y:.1f}H{WIDTH}",
                stroke=INK,
                stroke_width="2",
                stroke_dasharray="7 5",
                vector_effect="non-scaling-stroke",
            )
        )
    parts.append(tag("path", d=f"M0 {height}H{WIDTH}", stroke=INK, vector_effect="non-scaling-stroke"))
    return _chart(height, label, *parts), top_bps


def _bar(one: Measure, now_s: float, top_bps: float, height: int) -> Markup:
    tall = max(2.0, height * (one.bps or 0.0) / top_bps)
    x = WIDTH * (one.at - (now_s - DAY_S)) / DAY_S
    colour = COLOURS["bad" if one.is_below else "good"]
    fill = "url(#below)" if one.is_below else "none" if one.is_check else colour
    return tag(
        "rect", x=max(0.0, min(WIDTH - 8.0, x - 4)), y=height - tall, width=4 if one.is_check else 8, height=tall,
        fill=fill, stroke=colour, vector_effect="non-scaling-stroke",
    )  # fmt: skip


def _hatching() -> Markup:
    stripe = tag("path", d="M-1 7L7 -1", stroke=INK, stroke_width="1.2")
    ground = tag("rect", width=6, height=6, fill=COLOURS["bad"])
    pattern = tag("pattern", ground, stripe, id="below", width=6, height=6, patternUnits="userSpaceOnUse")
    return tag("defs", pattern)


def sample(tone: str) -> Markup:
    """Return a patch for a legend, as high as the state stands in the timeline."""
    tall = max(3.0, 16 * HEIGHTS[tone])
    patch = tag("rect", x=0, y=16 - tall, width=16, height=tall, fill=COLOURS[tone])
    return tag("svg", patch, viewBox="0 0 16 16", class_="sample", aria_hidden="true")
