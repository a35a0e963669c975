"""From what was seen during one direction to what its result says of it. Pure."""

from collections.abc import Sequence

from linkbell_agent.ndt7.held_back import HeldBack
from linkbell_agent.slim import dataclass
from linkbell_agent.watch import latency, traffic
from linkbell_agent.watch.carried import carried_bytes
from linkbell_agent.watch.latency import Probe, RoundTrips, Window
from linkbell_agent.watch.limits import CpuTimes, Evidence, Port, limit
from linkbell_agent.watch.pace import PROBE_SHARE
from linkbell_agent.watch.traffic import TCP_HEADER_BYTES, Counted, Flow
from linkbell_wire.records import SpeedResult
from linkbell_wire.words import Direction, Stop

PACKET_BYTES = 1448
"""Payload of a full packet."""


@dataclass(frozen=True, slots=True)
class Idle:
    """The line before the test. ``rtt_s`` is never unknown once a connection was made at all."""

    trips: RoundTrips
    rtt_s: float | None
    by_exchange: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """One direction: when its test began, when it had filled the line if it says so, and what went on meanwhile."""

    direction: Direction
    began_s: float
    window: Window | None
    held_back: HeldBack | None
    probes: Sequence[Probe]
    readings: Sequence[Counted]
    port: Port | None
    ip_bytes: int
    cpu: tuple[CpuTimes, CpuTimes]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The result with all that was seen, and what the whole record needs besides."""

    result: SpeedResult
    loaded: RoundTrips
    others_both_ways_bps: float | None


def conclude(result: SpeedResult, idle: Idle, observed: Observed) -> Conclusion:
    """Add to ``result``, which has a speed, what was seen beside it.

    ``result.rtt_loaded_s`` is the loading connection's own round trip by then; it becomes ``rtt_smoothed_s``, and
    stays where it is only if no probe came back.
    """
    window = _full(result, idle, observed)
    probes = latency.during(observed.probes, window)
    loaded = latency.round_trips(probes, latency.LEAST_LOADED, by_exchange=idle.by_exchange)
    others_bps, back_bps = _others(result, idle, observed)
    found = limit(_evidence(result, idle, loaded, observed))
    more = {
        "rtt_loaded_s": result.rtt_loaded_s if loaded.median_s is None else loaded.median_s,
        "rtt_loaded_p95_s": loaded.p95_s,
        "jitter_loaded_s": loaded.jitter_s,
        "loss_ratio": None if loaded.loss_ratio is None else round(loaded.loss_ratio, 4),
        "probes": loaded.probes or None,
        "responsiveness_rpm": latency.responsiveness_rpm(probes, result.rtt_loaded_s),
        "rtt_smoothed_s": result.rtt_loaded_s,
        "others_bps": others_bps,
        "limited_by": found.by,
        "device_limit": found.device,
    }
    more |= _with_probes(result, idle, observed)
    both_ways = None if others_bps is None or back_bps is None else others_bps + back_bps
    return Conclusion(result.model_copy(update=more), loaded, both_ways)


def _with_probes(result: SpeedResult, idle: Idle, observed: Observed) -> dict[str, float | None]:
    """Return the speed with the probes that the line carried beside it: they took that much of it from the test.

    Up to a fiftieth, which a slow line would seem slower by. As payload: what a packet of that size would carry.
    """
    if observed.window is None or not observed.window.length_s or result.bps is None:
        return {}
    packet_bytes = PACKET_BYTES + observed.ip_bytes + TCP_HEADER_BYTES
    carried = carried_bytes(observed.probes, observed.window, observed.direction, observed.ip_bytes, idle.rtt_s or 0.0)
    more_bps = carried * 8 / observed.window.length_s * PACKET_BYTES / packet_bytes
    more = min(more_bps / result.bps, PROBE_SHARE)
    speeds = {"bps": result.bps, "bps_low": result.bps_low, "bps_high": result.bps_high}
    return {name: None if speed is None else speed * (1 + more) for name, speed in speeds.items()}


def traffic_before_bps(readings: Sequence[Counted], port: Port, own_bytes: int) -> float | None:
    """Return the IP traffic of both ways together while only ``own_bytes`` of it were ours."""
    flows = [traffic.flow(readings, direction) for direction in Direction]
    total_bytes, seconds = 0.0, 0.0
    for one in flows:
        if one is None or port.is_loopback:
            return None
        total_bytes += one.bytes - one.packets * port.frame_bytes
        seconds = one.window.length_s
    return round(max(0.0, total_bytes - own_bytes) * 8 / seconds, 1)


def _others(result: SpeedResult, idle: Idle, observed: Observed) -> tuple[float | None, float | None]:
    """Return other people's payload the test's own way, and the other way."""
    port = observed.port
    if port is None or port.is_loopback or result.bps is None:
        return None, None
    header_bytes = observed.ip_bytes + TCP_HEADER_BYTES + port.frame_bytes
    forth, own_bytes = _own_way(result, result.bps, idle, observed)
    if forth is None:
        return None, None
    other = Direction.UPLOAD if observed.direction is Direction.DOWNLOAD else Direction.DOWNLOAD
    back = traffic.flow(observed.readings, other, _full(result, idle, observed))
    unsure_bytes = traffic.UNSURE * own_bytes
    if observed.window is None:
        # Where the test's bytes begin and end is known to a round trip only: some wait for one that was lost.
        unsure_bytes += result.bps / 8 * (result.rtt_loaded_s or idle.rtt_s or 0.0)
    own_bytes += _probe_payload(observed.probes, forth.window, observed.direction)
    others_bps = traffic.others_bps(forth, own_bytes, header_bytes, unsure_bytes)
    if back is None:
        return others_bps, None
    probe_bytes = _probe_payload(observed.probes, back.window, other)
    return others_bps, traffic.others_bps(back, probe_bytes, header_bytes, unsure_bytes)


def _full(result: SpeedResult, idle: Idle, observed: Observed) -> Window:
    """Return when the line was full, as far as it is known."""
    return observed.window or latency.presumed_window(observed.began_s, result.duration_s, idle.rtt_s or 0.0)


def _probe_payload(probes: Sequence[Probe], window: Window, way: Direction) -> int:
    sent = latency.during(probes, window)
    return sum(one.received_bytes if way is Direction.DOWNLOAD else one.sent_bytes for one in sent)


def _own_way(result: SpeedResult, bps: float, idle: Idle, observed: Observed) -> tuple[Flow | None, float]:
    """Return what the port counted the test's way, and how much payload of it was ours.

    A download is counted while its speed holds: what still arrives after the stop is in no count of ours. An upload
    is counted from beginning to end, with all that was sent and sent again: queues on the way fill meanwhile.
    """
    if observed.direction is Direction.UPLOAD:
        again = min(result.retransmit_ratio or 0.0, 0.9)
        return traffic.flow(observed.readings, Direction.UPLOAD), result.bytes / (1 - again)
    start_s = observed.began_s + 2 * (idle.rtt_s or 0.0)
    window = observed.window or Window(start_s, start_s + result.duration_s)
    return traffic.flow(observed.readings, Direction.DOWNLOAD, window), bps * window.length_s / 8


def _evidence(result: SpeedResult, idle: Idle, loaded: RoundTrips, observed: Observed) -> Evidence:
    known = loaded.median_s is not None and idle.rtt_s is not None
    return Evidence(
        direction=observed.direction,
        bps=result.bps or 0.0,
        port=observed.port,
        cpu=observed.cpu,
        held_back=observed.held_back,
        queue_s=(loaded.median_s or 0.0) - (idle.rtt_s or 0.0) if known else None,
        jitter_idle_s=idle.trips.jitter_s,
        retransmit_ratio=result.retransmit_ratio,
        is_stable=result.stop in (Stop.STABLE, Stop.VARYING),
    )
