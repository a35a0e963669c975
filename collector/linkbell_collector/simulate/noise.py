"""Numbers that look random and are a function of where and when: the same seed, the same world. Pure.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) mixes the keys, so that
any moment of any school can be computed alone, in any order and in any process.
"""

import hashlib

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SCALE = 2.0**-53


def key_of(text: str) -> int:
    """Return 64 bits for a name."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(key: int, number: int) -> int:
    """Return 64 bits that depend on every bit of both."""
    value = (key + (number + 1) * _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def unit(key: int, number: int) -> float:
    """Return a number from 0 to under 1."""
    return (mix(key, number) >> 11) * _SCALE


def between(key: int, number: int, low: float, high: float) -> float:
    """Return a number from ``low`` to under ``high``."""
    return low + (high - low) * unit(key, number)


def bell(key: int, number: int) -> float:
    """Return a number of mean 0 and deviation 1, never beyond 3.5: four quarters of one draw, summed."""
    bits = mix(key, number)
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total / 65_536 - 2) * 1.7320508


def wave(key: int, position: float) -> float:
    """Return a number from 0 to 1 that changes smoothly with ``position``, and is new after about one whole step."""
    whole = int(position // 1)
    part = position - whole
    part = part * part * (3 - 2 * part)
    return unit(key, whole) * (1 - part) + unit(key, whole + 1) * part
