"""Rates and sizes as people type them, on every command line alike. Pure; raises ``ValueError`` with a sentence.

A comma is a decimal one in half of the world and parts thousands in the other: ``8,5M`` can only be 8.5M, but
``8,500M`` is 8.5M to some and 8500M to others, and a thousandfold mistake is not guessed at.
"""

import re

_PREFIXES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
_NUMBER = r"(\d+)(?:([.,])(\d+))?"
_RATE = re.compile(_NUMBER + r"\s*([kKmMgG]?)(?:bit/s|bits/s|bps|b/s)?", re.ASCII)
_SIZE = re.compile(_NUMBER + r"\s*([kKmMgG]?)B?", re.ASCII)
_PARTED = re.compile(r"\d{1,3}(?:[ ,.'_\u00a0\u202f]\d{3})+(?!\d).*", re.ASCII | re.DOTALL)
_THOUSANDS = 3


def read_rate(text: str) -> float:
    """Read a bit rate: ``8M``, ``8000k``, ``8 Mbit/s``, ``8000000``, ``8.5M``, ``8,5M``. Returns bits per second."""
    rate_bps = _read(text, _RATE, "a bit rate: write it like 8M, 8000k, 8 Mbit/s or 8000000")
    if not 0 < rate_bps <= 1e13:
        raise ValueError(f"{text!r} is no rate of a line: give more than 0, such as 8M")
    return rate_bps


def read_size(text: str) -> int:
    """Read an amount of data: ``1M``, ``500k``, ``1.5 MB``, ``1000000``. Returns bytes; a k is a thousand."""
    size = _read(text, _SIZE, "an amount of data: write it like 500k, 1M or 1000000, in bytes")
    if not 0 < size <= 1e15 or size != int(size):
        raise ValueError(f"{text!r} is no amount of data: give a whole number of bytes, such as 1M")
    return int(size)


def _read(text: str, pattern: re.Pattern[str], expected: str) -> float:
    text = text.strip()
    found = pattern.fullmatch(text)
    if found is None:
        if _PARTED.fullmatch(text):
            raise ValueError(f"{text!r} is not {expected}, with nothing between the thousands")
        raise ValueError(f"{text!r} is not {expected}")
    whole, mark, fraction, prefix = found[1], found[2], found[3] or "", found[4]
    # No group of thousands begins with 0, and the first of them has three digits at most.
    if mark == "," and len(fraction) == _THOUSANDS and len(whole) <= _THOUSANDS and not whole.startswith("0"):
        small, rest = f"{whole}.{fraction.rstrip('0') or '0'}", text[found.end(3) :]
        raise ValueError(f"{text!r} may mean {small}{rest} or {whole}{fraction}{rest}: write one of these")
    return float(f"{whole}.{fraction or 0}") * _PREFIXES[prefix.lower()]
