"""What probes took of the line beside a test, in its window. Pure."""

from collections.abc import Iterator, Sequence

from linkbell_agent.watch.latency import Probe, Window
from linkbell_agent.watch.pace import TCP_BYTES, end_bytes, syn_bytes
from linkbell_wire.words import Direction


def carried_bytes(probes: Sequence[Probe], window: Window, direction: Direction, ip_bytes: int, rtt_s: float) -> int:
    """Return the bytes of IP packets of probes that the receiver got within ``window``, which is on its own clock.

    Packet by packet: behind a deep queue a probe is seconds under way, and most of it comes after a window in which it
    began. ``rtt_s`` is that of the idle line, half of which an upload's packets had arrived before we heard of it.
    What lost probes took, if they came as far as the line, is not known.
    """
    late_s = rtt_s / 2 if direction is Direction.UPLOAD else 0.0
    arrivals = _sent if direction is Direction.UPLOAD else _received
    return sum(
        size
        for probe in probes
        if probe.tcp_s is not None
        for moment_s, size in arrivals(probe, probe.tcp_s, ip_bytes)
        if window.start_s <= moment_s - late_s < window.end_s
    )


def _received(probe: Probe, tcp_s: float, ip_bytes: int) -> Iterator[tuple[float, int]]:
    """Yield when what came back was here: the other side's SYN; with an exchange, acknowledgement, answer and end."""
    met_s = probe.sent_s + tcp_s
    yield met_s, syn_bytes(ip_bytes)
    if probe.received_bytes:
        yield met_s + (probe.http_s or tcp_s), 3 * (ip_bytes + TCP_BYTES) + probe.received_bytes


def _sent(probe: Probe, tcp_s: float, ip_bytes: int) -> Iterator[tuple[float, int]]:
    """Yield when we could have heard that it was there: SYN; acknowledgement and request; the end."""
    met_s = probe.sent_s + tcp_s
    yield met_s, syn_bytes(ip_bytes)
    if not probe.sent_bytes:
        yield met_s + tcp_s, end_bytes(ip_bytes)
        return
    round_s = probe.http_s or tcp_s
    yield met_s + round_s, 2 * (ip_bytes + TCP_BYTES) + probe.sent_bytes
    yield met_s + 2 * round_s, ip_bytes + TCP_BYTES + end_bytes(ip_bytes)
