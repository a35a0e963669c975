"""Round trips beside a test: what they say of the idle line, of the full one, and of the difference. Pure.

Sources: bufferbloat grades are dslreports' (mean increase; also used by 8x8 and LibreQoS); responsiveness follows
draft-ietf-ippm-responsiveness, the parts that fit a slow line: see ``docs/measurement.md``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from linkbell_agent import averages
from linkbell_agent.round_trips import summarise
from linkbell_agent.slim import dataclass
from linkbell_wire.words import Grade

LEAST_IDLE = 2
LEAST_LOADED = 3
"""Fewer answers say nothing of a stretch of time."""

LEAST_FOR_RESPONSIVENESS = 5

TRIM = 0.05
"""The draft's trimmed mean leaves out the worst twentieth."""

NEARBY_FACTOR = 4.0
NEARBY_S = 0.2
"""Satellite terminals answer the handshake themselves. Where the server's own answer takes this much longer, by both,
the handshake ended nearby, and the exchange is what crossed the line. Our server answers within a few milliseconds."""

_GRADES = ((0.005, Grade.A_PLUS), (0.030, Grade.A), (0.060, Grade.B), (0.200, Grade.C), (0.400, Grade.D))


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time on the monotonic clock."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is; 0 for one that ends before it starts."""
        return max(0.0, self.end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class Probe:
    """One new connection: sent when, and how long the handshake took; ``None`` if its first packet was lost.

    ``http_s`` is the time of a small exchange on it, ``None`` if there was none; the bytes are its payload each way.
    A handshake is ``doubtful`` if it may have been answered late, or been answered again because the answer was lost.
    """

    sent_s: float
    tcp_s: float | None = None
    http_s: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """What the probes of a stretch of time say. Times in seconds, ``None`` where too few came back."""

    probes: int = 0
    loss_ratio: float | None = None
    median_s: float | None = None
    mean_s: float | None = None
    p95_s: float | None = None
    jitter_s: float | None = None


def settled(probes: Sequence[Probe]) -> list[Probe]:
    """Return the probes without doubt: a doubtful handshake was late, or it was lost.

    Late ones come with exchanges as long, for both waited in the same queue. Where there was no exchange, they are the
    rule and not the exception: no line worth testing loses every second packet.
    """
    doubtful = sum(one.doubtful for one in probes)
    is_the_rule = 2 * doubtful >= sum(one.tcp_s is not None for one in probes)
    return [_settled(one, is_the_rule) if one.doubtful and one.tcp_s is not None else one for one in probes]


def _settled(probe: Probe, is_the_rule: bool) -> Probe:
    assert probe.tcp_s is not None
    was_late = is_the_rule if probe.http_s is None else probe.http_s >= probe.tcp_s / 2
    return replace(probe, tcp_s=probe.tcp_s if was_late else None, doubtful=False)


def during(probes: Iterable[Probe], window: Window) -> list[Probe]:
    """Return the probes sent in ``window``, in order: an answer that came later went through the same queue."""
    return sorted((one for one in probes if window.start_s <= one.sent_s <= window.end_s), key=lambda one: one.sent_s)


def handshake_ends_nearby(idle: Sequence[Probe]) -> bool:
    """Whether something near the box answers handshakes in the server's place: they time nothing of the line then."""
    both = [(one.tcp_s, one.http_s) for one in idle if one.tcp_s is not None and one.http_s is not None]
    if len(both) < LEAST_IDLE:
        return False
    tcp_s, http_s = averages.median(tcp for tcp, _ in both), averages.median(http for _, http in both)
    return http_s > NEARBY_FACTOR * tcp_s and http_s - tcp_s > NEARBY_S


def round_trips(probes: Sequence[Probe], least: int, *, by_exchange: bool = False) -> RoundTrips:
    """Sum up probes in the order of sending. Fewer than ``least`` answers give no times.

    ``by_exchange`` takes the time of the exchange for the round trip (:func:`handshake_ends_nearby`).
    """
    times = [time for one in probes if (time := one.http_s if by_exchange else one.tcp_s) is not None]
    lost = sum(one.tcp_s is None for one in probes)
    loss_ratio = lost / len(probes) if probes else None
    if len(times) < least:
        return RoundTrips(len(probes), loss_ratio)
    summary = summarise(times, {})
    return RoundTrips(
        len(probes),
        loss_ratio,
        round(averages.median(times), 6),
        summary["rtt_mean_s"],
        summary["rtt_p95_s"],
        summary["jitter_s"],
    )


def responsiveness_rpm(probes: Sequence[Probe], smoothed_s: float | None) -> float | None:
    """Return round trips a minute: the mean of new connections' and of the loading connection's.

    New connections ("foreign"): 60 by the mean of the trimmed means of handshakes and of exchanges. The loading
    connection ("self"): 60 by ``smoothed_s``, TCP's own round trip on it, as the draft has it for HTTP/1.1.
    """
    tcp = trimmed_mean([one.tcp_s for one in probes if one.tcp_s is not None])
    http = trimmed_mean([one.http_s for one in probes if one.http_s is not None])
    parts = [part for part in (tcp, http) if part]
    if not parts or sum(one.tcp_s is not None for one in probes) < LEAST_FOR_RESPONSIVENESS:
        return None
    foreign = 60 / averages.mean(parts)
    return round(averages.mean([foreign, 60 / smoothed_s]) if smoothed_s else foreign, 1)


def trimmed_mean(times_s: Sequence[float]) -> float | None:
    """Return the mean without the worst twentieth, ``None`` of nothing."""
    kept = sorted(times_s)[: math.ceil(len(times_s) * (1 - TRIM))]
    return averages.mean(kept) if kept else None


def grade(idle: RoundTrips, loaded: Iterable[RoundTrips]) -> Grade | None:
    """Return the grade of the mean increase over the directions that were loaded, ``None`` if it is not known."""
    if idle.median_s is None:
        return None
    increases = [max(0.0, one.mean_s - idle.median_s) for one in loaded if one.mean_s is not None]
    if not increases:
        return None
    increase_s = averages.mean(increases)
    return next((word for below_s, word in _GRADES if increase_s < below_s), Grade.F)


def presumed_window(began_s: float, duration_s: float, rtt_s: float) -> Window:
    """Return when a test of ``duration_s`` had filled the line, if it does not say so itself.

    It began two round trips after ``began_s``, with the handshakes, and half of it at most went into speeding up.
    """
    start_s = began_s + 2 * rtt_s
    return Window(start_s + min(duration_s / 2, max(0.5, 10 * rtt_s)), start_s + duration_s)
