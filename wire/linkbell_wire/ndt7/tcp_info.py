"""The kernel's ``struct tcp_info`` (Linux, ``include/uapi/linux/tcp.h``), read by offset, little or big endian alike.

The kernel only ever appends to the structure: fields beyond what an old kernel returns are ``None``.
"""

import struct
from dataclasses import dataclass

TCP_INFO_BYTES = 512
"""Ask ``getsockopt(IPPROTO_TCP, TCP_INFO, TCP_INFO_BYTES)`` for this much; the kernel returns what it has."""

ROOM_INFO_BYTES = 84
"""For :func:`room_segments`."""

_FLYING = struct.Struct("=4I")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows of one connection. Times in seconds, rates in bits per second, the rest in bytes."""

    rtt_s: float
    rtt_variation_s: float
    retransmits: int
    pacing_rate_bps: float | None
    bytes_acked: int | None
    bytes_received: int | None
    min_rtt_s: float | None
    delivery_rate_bps: float | None
    busy_s: float | None
    rwnd_limited_s: float | None
    sndbuf_limited_s: float | None
    bytes_sent: int | None
    bytes_retransmitted: int | None
    unsent_bytes: int | None
    data_segments_in: int | None = None
    """Segments with payload that came, sent again and out-of-order ones included."""
    out_of_order_segments_in: int | None = None
    """Those of them that came before one that is still missing."""
    delivered_segments: int | None = None
    """Segments the peer has told us of, selectively acknowledged ones included, each counted once."""
    sacked_segments: int = 0
    """Segments that the peer has behind one that is still missing."""
    duplicate_segments: int = 0
    """Segments that the peer told us it had twice (RFC 2883)."""
    send_mss_bytes: int = 0
    receive_mss_bytes: int = 0
    """Payload of the full segments we send, and of those that come."""
    segments_out: int | None = None
    """All that left, the first of the handshake and those sent again included."""
    segments_in: int | None = None

    @property
    def retransmit_ratio(self) -> float | None:
        """Share of the bytes sent that had to be sent again."""
        if not self.bytes_sent or self.bytes_retransmitted is None:
            return None
        return min(1.0, self.bytes_retransmitted / self.bytes_sent)


def room_segments(raw: bytes) -> int:
    """Return how many segments more may be under way, by as little of ``TCP_INFO`` as ``ROOM_INFO_BYTES``."""
    unacked, sacked, lost, again = _FLYING.unpack_from(raw, 24)
    return int(_U32.unpack_from(raw, 80)[0] - (unacked - sacked - lost + again))


def parse(raw: bytes) -> TcpInfo:
    """Read what ``getsockopt`` returned. Raises :class:`ValueError` if even the oldest fields are missing."""
    if len(raw) < 104:
        raise ValueError(f"tcp_info of {len(raw)} bytes is shorter than any supported kernel's")

    def u32(offset: int) -> int | None:
        return _U32.unpack_from(raw, offset)[0] if len(raw) >= offset + 4 else None

    def u64(offset: int) -> int | None:
        return _U64.unpack_from(raw, offset)[0] if len(raw) >= offset + 8 else None

    def micro(value: int | None) -> float | None:
        return None if value is None else value / 1e6

    def bits(value: int | None) -> float | None:
        # An unlimited pacing rate is all ones: no rate at all.
        return None if value is None or value >= 1 << 62 else value * 8.0

    min_rtt = u32(148)
    return TcpInfo(
        rtt_s=(u32(68) or 0) / 1e6,
        rtt_variation_s=(u32(72) or 0) / 1e6,
        retransmits=u32(100) or 0,
        pacing_rate_bps=bits(u64(104)),
        bytes_acked=u64(120),
        bytes_received=u64(128),
        min_rtt_s=None if min_rtt in (None, 0xFFFFFFFF) else micro(min_rtt),
        delivery_rate_bps=bits(u64(160)),
        busy_s=micro(u64(168)),
        rwnd_limited_s=micro(u64(176)),
        sndbuf_limited_s=micro(u64(184)),
        bytes_sent=u64(200),
        bytes_retransmitted=u64(208),
        unsent_bytes=u32(144),
        data_segments_in=u32(152),
        out_of_order_segments_in=u32(224),
        delivered_segments=u32(192),
        sacked_segments=u32(28) or 0,
        duplicate_segments=u32(216) or 0,
        send_mss_bytes=u32(16) or 0,
        receive_mss_bytes=u32(20) or 0,
        segments_out=u32(136),
        segments_in=u32(140),
    )
