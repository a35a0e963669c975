"""Random moments that are the same however often asked: drawn from a hash, so that a fleet spreads evenly."""

import hashlib


def phase(seed: str, interval_s: float) -> float:
    """Return this agent's share of ``interval_s`` to wait before a regular task begins, in seconds."""
    return fraction(seed) * interval_s


def fraction(seed: str) -> float:
    """Return a number from 0 to under 1, the same for the same ``seed``."""
    return (int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") >> 11) / 2**53
