"""The server's text messages: what they say and when. Pure, but for the dice."""

from random import Random

from linkbell_wire.ndt7.measurement import ConnectionInfo, GroupInfo, Measurement, TcpInfoMessage
from linkbell_wire.ndt7.tcp_info import TcpInfo
from linkbell_wire.words import Direction

SHORTEST = 0.1
LONGEST = 2.5
"""Bounds of the distance between two messages, as parts of the mean: M-Lab's 25 and 625 ms for 250 ms."""


def next_interval_s(dice: Random, mean_s: float) -> float:
    """Return the time to the next message: memoryless, so as not to beat in step with anything, and bounded."""
    return min(max(dice.expovariate(1 / mean_s), SHORTEST * mean_s), LONGEST * mean_s)


def report(
    direction: Direction,
    connection: ConnectionInfo,
    info: TcpInfo | None,
    elapsed_s: float,
    group: GroupInfo | None = None,
) -> Measurement:
    """Return one message; ``info`` of ``None`` leaves TCPInfo out, as nothing true could be said."""
    return Measurement(
        group=group,
        connection=connection,
        tcp=None if info is None else _tcp_info(info, round(elapsed_s * 1e6)),
        origin="server",
        test=direction.value,
    )


def _tcp_info(info: TcpInfo, elapsed_us: int) -> TcpInfoMessage:
    return TcpInfoMessage(
        elapsed_us=elapsed_us,
        busy_us=_micro(info.busy_s),
        bytes_acked=info.bytes_acked,
        bytes_received=info.bytes_received,
        bytes_sent=info.bytes_sent,
        bytes_retransmitted=info.bytes_retransmitted,
        min_rtt_us=_micro(info.min_rtt_s),
        rtt_us=_micro(info.rtt_s),
        rtt_variation_us=_micro(info.rtt_variation_s),
        rwnd_limited_us=_micro(info.rwnd_limited_s),
        sndbuf_limited_us=_micro(info.sndbuf_limited_s),
    )


def _micro(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)


class FloodGuard:
    """Lets ``burst`` things through, and ``per_s`` more for each second since the start."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._seen = 0

    def is_flooded_by_one_more(self, elapsed_s: float) -> bool:
        """Count one more and say whether that is too many by now."""
        self._seen += 1
        return self._seen > self._burst + self._per_s * elapsed_s
