"""Undo gzip within a bound. Pure.

aiohttp would do it while reading, but it logs a traceback for every broken body and drops the connection; bodies are
small and bounded here, so they are read first and unpacked after.
"""

import zlib

_GZIP_WINDOW = 31
IDENTITY = "identity"
ENCODINGS = ("gzip", "x-gzip", IDENTITY)


class BrokenError(ValueError):
    """The bytes are not what the encoding says, or are cut off."""


class TooLargeError(ValueError):
    """More would come out than is allowed; unpacking stopped there."""


def unpack(raw: bytes, encoding: str, limit: int) -> bytes:
    """Return at most ``limit`` unpacked bytes. Raises :class:`BrokenError` or :class:`TooLargeError`."""
    if encoding == IDENTITY:
        return raw
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = unpacker.decompress(raw, limit + 1)
    except zlib.error as error:
        raise BrokenError(str(error)) from error
    if len(body) > limit:
        raise TooLargeError
    if not unpacker.eof or unpacker.unused_data:
        raise BrokenError("it is cut off, or something follows its end")
    return body
