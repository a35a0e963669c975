"""Bytes to text: which encoding a spreadsheet wrote, and what parts its columns. Pure."""

import codecs
from typing import NamedTuple

from linkbell_collector.errors import UsageError

DELIMITERS = (";", "\t", ",", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_KAZAKH = frozenset("ЌќЅѕЋћЏџ")
"""Letters of Serbian and Macedonian only, which stand in Windows-1251 where KZ-1048 has Қ қ and Ң ң, Һ һ, Җ."""


class Decoded(NamedTuple):
    """Text, and the encoding it was in."""

    text: str
    encoding: str


def decode(content: bytes, encoding: str | None = None) -> Decoded:
    """Return the text. Without ``encoding``: what a byte order mark says, else UTF-8, else Windows-1251 or KZ-1048.

    Raises :class:`UsageError` if it is not in that encoding.
    """
    found = encoding or next((name for mark, name in _MARKS if content.startswith(mark)), None)
    try:
        if found is not None:
            return Decoded(content.decode(found).removeprefix("\ufeff"), found.removesuffix("-sig"))
        try:
            return Decoded(content.decode("utf-8"), "utf-8")
        except UnicodeDecodeError:
            return _eight_bits(content)
    except LookupError as error:
        raise UsageError(
            f"{encoding!r} is no encoding; known are utf-8, utf-16, windows-1251, kz1048 and others"
        ) from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"line {line} is not in the encoding {found or 'windows-1251'}: name the right one with --encoding, or "
            "save the file as UTF-8"
        ) from error


def _eight_bits(content: bytes) -> Decoded:
    text = content.decode("windows-1251")
    if _NOT_KAZAKH & set(text):
        return Decoded(content.decode("kz1048"), "kz1048")
    return Decoded(text, "windows-1251")


def delimiter_of(text: str) -> tuple[str, str]:
    """Return what parts the columns, and the text without Excel's first line ``sep=;`` if it has one."""
    head, newline, rest = text.partition("\n")
    if head.lower().startswith("sep=") and len(head.rstrip("\r")) == len("sep=;"):
        return head[len("sep=")], newline + rest  # the line stays counted
    counts = {delimiter: _outside_quotes(head, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=counts.__getitem__)
    return (best if counts[best] else ","), text


def _outside_quotes(line: str, delimiter: str) -> int:
    return sum(part.count(delimiter) for part in line.split('"')[::2])
