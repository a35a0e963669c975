"""How often to probe beside a test, and what a probe costs. Pure."""

PROBE_SHARE = 0.02
"""Probes may take this much of the line's rate: less than half of what draft-ietf-ippm-responsiveness allows."""

FASTEST_S = 0.05
UNKNOWN_S = 0.15
"""While the line's rate is unknown, for less than half a second where the port counts: 19 kbit/s one way.

That is within the share of any line from 1 Mbit/s up, and twice the share of 0.5 Mbit/s.
"""
SLOWEST_S = 2.0

PLENTY = 40
PLENTY_S = 0.2
"""After so many probes in one direction there is one every so often: a long test needs no more, and they cost."""

TCP_BYTES = 32
"""The TCP header, time stamps included."""
SYN_MORE_BYTES = 8
"""The first packet of each side has this much more."""


def interval_s(probe_bytes: float, line_bps: float | None, made: int) -> float:
    """Return the time to the next probe, if each puts ``probe_bytes`` on the line one way and ``made`` were made."""
    if not line_bps:
        return UNKNOWN_S
    quick_s = PLENTY_S if made >= PLENTY else FASTEST_S
    return min(max(probe_bytes * 8 / (PROBE_SHARE * line_bps), quick_s), SLOWEST_S)


def cost_bytes(ip_bytes: int, segments: int, syns: int, payload_bytes: int) -> int:
    """Return what one probe put on the line, both ways together, each packet with an IP header of ``ip_bytes``.

    ``segments`` went both ways, ``syns`` of them from us to begin with; if more than those, there was an answer, and a
    reset in the end.
    """
    total = segments * (ip_bytes + TCP_BYTES) + syns * SYN_MORE_BYTES + payload_bytes
    return total + (SYN_MORE_BYTES + end_bytes(ip_bytes) if segments > syns else 0)


def syn_bytes(ip_bytes: int) -> int:
    """Return the size of the first packet of either side."""
    return ip_bytes + TCP_BYTES + SYN_MORE_BYTES


def end_bytes(ip_bytes: int) -> int:
    """Return the size of the reset with which a probe leaves."""
    return ip_bytes + TCP_BYTES
