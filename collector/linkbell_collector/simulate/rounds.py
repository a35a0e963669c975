"""All records of one round of one school, from nothing but where, when and the truth. Pure.

The same arguments give the same text, so a round that waits for an outage to end is kept as its moment alone and
written anew when it is sent.
"""

from functools import lru_cache
from typing import NamedTuple

from linkbell_collector.simulate import rare, records
from linkbell_collector.simulate.boot import Boot
from linkbell_collector.simulate.faults import CUT_OFF, Active, FaultBook, Kind
from linkbell_collector.simulate.fleet import Line, Site
from linkbell_collector.simulate.line import LineState, line_state
from linkbell_collector.simulate.noise import mix
from linkbell_collector.simulate.plan import Act, Due, due
from linkbell_collector.simulate.records import Frame
from linkbell_wire.records import Evidence
from linkbell_wire.words import Layer, SkipReason, VerdictState

CALM_ROUNDS = 5
"""Of look-ups and fetches that go well, one in so many rounds is reported, as the agent does (docs/layers.md)."""

_MINUTE_US = 60_000_000
_OUTSIDE = frozenset(Layer) - {Layer.GATEWAY}
_NO_ANSWER = '"failure":{"operation":"connect","code":"timeout"}'
_UNRESOLVED = '"failure":{"operation":"resolve","code":"dns_timeout"}'
_UNAVAILABLE = '"status":503,"failure":{"operation":"http_request","code":"http_status"}'
_PORTAL = '"status":302,"failure":{"operation":"http_request","code":"captive_portal"}'


class Trouble(NamedTuple):
    """What a set of faults does to a round: layers without an answer to pings, and why names and pages fail."""

    verdict: VerdictState
    silent: frozenset[Layer] = frozenset()
    code: str = "timeout"
    name: str | None = None
    platform: str | None = None
    collector: str | None = None


_CALM = Trouble(VerdictState.OK)
_DEGRADED = Trouble(VerdictState.DEGRADED)
_ISP_DOWN = Trouble(VerdictState.ISP_DOWN, _OUTSIDE, "timeout", "dns_timeout", _UNRESOLVED, _NO_ANSWER)
_TROUBLES = (
    (
        Kind.LAN_DOWN,
        Trouble(VerdictState.LAN_DOWN, frozenset(Layer), "host_unreachable", "dns_timeout", _UNRESOLVED, _NO_ANSWER),
    ),
    (Kind.LINE_DOWN, _ISP_DOWN),
    (Kind.MAINTENANCE, _ISP_DOWN),
    (Kind.CAPTIVE_PORTAL, Trouble(VerdictState.CAPTIVE_PORTAL, platform=_PORTAL, collector=_PORTAL)),
    (Kind.DNS_FAULT, Trouble(VerdictState.DNS_FAULT, name="dns_server_failure", platform=_UNRESOLVED)),
    (Kind.INTERNATIONAL_DOWN, Trouble(VerdictState.INTERNATIONAL_DOWN, frozenset({Layer.INTERNATIONAL}))),
    (Kind.PLATFORM_DOWN, Trouble(VerdictState.PLATFORM_DOWN, platform=_UNAVAILABLE)),
    (Kind.COLLECTOR_UNREACHABLE, Trouble(VerdictState.COLLECTOR_UNREACHABLE, collector=_NO_ANSWER)),
)
"""The nearest fault first: it hides the others."""


@lru_cache(1024)
def _trouble(kinds: frozenset[Kind]) -> Trouble:
    return next((trouble for kind, trouble in _TROUBLES if kind in kinds), _CALM)


def trouble_of(active: Active) -> Trouble:
    """Return what the faults of a moment do."""
    if not active.kinds:
        return _CALM
    found = _trouble(active.kinds)
    if found is _CALM and (active.value(Kind.LOSSY, "loss_ratio") or 0) >= 0.1:
        return _DEGRADED
    return found


class Span(NamedTuple):
    """A round: what is due after ``after_us`` up to ``at_us`` (simulated time), pinged at ``wire_us`` (wire time)."""

    after_us: int
    at_us: int
    wire_us: int


class World(NamedTuple):
    """What all schools share: the truth, and how many speed tests are made in a day."""

    book: FaultBook
    speeds_per_day: int = 3


def compose(site: Site, span: Span, boot: Boot, world: World, first_seq: int) -> list[str]:
    """Return the records of one round as JSON, numbered from ``first_seq``."""
    active = world.book.at(site.index, span.at_us)
    moment, bits = boot.frame(span.wire_us), mix(site.key, span.at_us)
    trouble = trouble_of(active)
    state = _state(site, site.line, span.at_us, active)
    texts = _pings(first_seq, moment, (site, state, bits), trouble)
    if site.backup is not None:
        texts.append(_backup_ping(first_seq + len(texts), moment, site, span.at_us, bits))
    if _has_pages(site, span.at_us, trouble):
        texts.extend(_pages(first_seq + len(texts), moment, (site, state, bits), trouble))
    for item in due(site.key, span.after_us, span.at_us, world.speeds_per_day):
        wire_us = span.wire_us - round((span.at_us - item.at_us) / boot.speed)
        then = world.book.at(site.index, item.at_us)
        if not then.off:
            texts.append(_test(first_seq + len(texts), boot.frame(wire_us), site, item, then))
    return texts


def count(site: Site, span: Span, active: Active, world: World) -> int:
    """Return how many records :func:`compose` would make, ten times as fast; ``active`` is what holds at the end."""
    texts = len(records.TARGETS) + (site.backup is not None)
    if _has_pages(site, span.at_us, trouble_of(active)):
        texts += 1 + len(records.PAGES)
    acts = due(site.key, span.after_us, span.at_us, world.speeds_per_day)
    return texts + sum(not world.book.at(site.index, item.at_us).off for item in acts)


def _has_pages(site: Site, now_us: int, trouble: Trouble) -> bool:
    return trouble.verdict is not VerdictState.OK or (now_us // _MINUTE_US + site.index) % CALM_ROUNDS == 0


def _state(site: Site, line: Line, now_us: int, active: Active) -> LineState:
    state = line_state(site, line, now_us)
    if not active.kinds:
        return state
    if Kind.SLOW in active.kinds:
        down_bps = active.value(Kind.SLOW, "download_bps") or state.down_bps
        up_bps = active.value(Kind.SLOW, "upload_bps") or state.up_bps
        state = state._replace(down_bps=min(down_bps, state.down_bps), up_bps=min(up_bps, state.up_bps))
    if Kind.LOSSY in active.kinds:
        state = state._replace(
            loss_ratio=active.value(Kind.LOSSY, "loss_ratio") or state.loss_ratio,
            rtt_s=state.rtt_s + (active.value(Kind.LOSSY, "rtt_s") or 0.0),
        )
    return state


_Scene = tuple[Site, LineState, int]


def _way(layer: Layer, site: Site, state: LineState) -> tuple[float, float, float]:
    """Return round trip (s), jitter (s) and loss to a layer: what lies farther away adds to what is nearer."""
    if layer is Layer.GATEWAY:
        return 0.0009, 0.0004, 0.0
    if layer is Layer.DOMESTIC:
        return state.rtt_s + 0.012, state.jitter_s, state.loss_ratio
    if layer is Layer.INTERNATIONAL:
        return state.rtt_s + site.abroad_s, state.jitter_s * 1.3, state.loss_ratio * 1.3
    return state.rtt_s, state.jitter_s, state.loss_ratio


def _pings(seq: int, moment: Frame, scene: _Scene, trouble: Trouble) -> list[str]:
    site, state, bits = scene
    texts = []
    for number, target in enumerate(records.TARGETS):
        if target.layer in trouble.silent:
            texts.append(records.lost_ping(seq + number, "main", moment, target, trouble.code))
        else:
            way = _way(target.layer, site, state)
            texts.append(records.ping(seq + number, "main", moment, target, way, mix(bits, number)))
    return texts


def _backup_ping(seq: int, moment: Frame, site: Site, now_us: int, bits: int) -> str:
    assert site.backup is not None
    state = line_state(site, site.backup, now_us)
    way = _way(Layer.INTERNATIONAL, site, state)
    return records.ping(seq, "backup", moment, records.TARGETS[-1], way, mix(bits, 99))


def _pages(seq: int, moment: Frame, scene: _Scene, trouble: Trouble) -> list[str]:
    _, state, bits = scene
    rtt_s = state.rtt_s + 0.012
    platform, collector = records.PAGES
    return [
        records.lookup(seq, "main", moment, state, mix(bits, 20), trouble.name),
        records.fetch(seq + 1, "main", moment, platform, (rtt_s, mix(bits, 21)), trouble.platform),
        records.fetch(seq + 2, "main", moment, collector, (rtt_s, mix(bits, 22)), trouble.collector),
    ]


def _test(seq: int, moment: Frame, site: Site, item: Due, active: Active) -> str:
    key = mix(site.key, item.at_us)
    cut = bool(active.kinds & CUT_OFF)
    line = site.backup if cut and site.backup is not None else site.line
    reached = Kind.LAN_DOWN not in active.kinds and not (cut and site.backup is None)
    state = _state(site, line, item.at_us, active)
    if item.act is Act.CHECK:
        if not reached:
            return rare.failed_check(seq, line.uplink, moment, site.line.technology.floor_bps)
        return rare.check(seq, line.uplink, moment, state, (site.line.technology.floor_bps, key))
    if not reached:
        return rare.failed_speed(seq, line.uplink, moment)
    if item.act is Act.SKIP and Kind.BAD_SAMPLE not in active.kinds:
        return rare.skipped_speed(seq, line.uplink, moment, SkipReason.BUSY, state.down_bps * 0.6)
    if Kind.BAD_SAMPLE in active.kinds:
        state = state._replace(
            down_bps=active.value(Kind.BAD_SAMPLE, "download_bps") or state.down_bps,
            up_bps=active.value(Kind.BAD_SAMPLE, "upload_bps") or state.up_bps,
        )
    return rare.speed(seq, line.uplink, moment, state, key)


def evidence_of(trouble: Trouble) -> list[Evidence]:
    """Return what each target said when a verdict was reached."""
    pings = [
        Evidence(layer=target.layer, target=target.name, up=target.layer not in trouble.silent)
        for target in records.TARGETS
    ]
    failed = {Layer.PLATFORM: trouble.platform, Layer.COLLECTOR: trouble.collector}
    pages = [Evidence(layer=page.layer, target=page.target, up=failed[page.layer] is None) for page in records.PAGES]
    return [*pings, *pages]
