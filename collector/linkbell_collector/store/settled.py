"""Which numbers of a stream are settled, as bits: exact, whatever order they come in, and for ever. Pure.

The numbers of a stream are cut into chunks of 1024, one bit each, in 128 bytes. Records may be pruned; what was settled
stays settled, so that a batch sent again after ninety days is still a duplicate. Chunks that are settled whole from the
start of a stream on need no row: a stream without gaps is one number.
"""

from collections.abc import Iterable, Sequence

CHUNK = 1024
"""Numbers of one chunk."""

_SHIFT = 10
_MASK = CHUNK - 1
WHOLE = (1 << CHUNK) - 1
"""All bits of a chunk."""

_BYTES = CHUNK // 8


def chunk_of(seq: int) -> int:
    """Return which chunk a number is in."""
    return seq >> _SHIFT


def bits_by_chunk(seqs: Sequence[int]) -> dict[int, int]:
    """Return the bits of ``seqs``, which are distinct, by chunk."""
    if not seqs:
        return {}
    first, last = min(seqs), max(seqs)
    if last - first + 1 == len(seqs) and first >> _SHIFT == last >> _SHIFT:
        return {first >> _SHIFT: ((1 << len(seqs)) - 1) << (first & _MASK)}
    found: dict[int, int] = {}
    for seq in seqs:
        found[seq >> _SHIFT] = found.get(seq >> _SHIFT, 0) | 1 << (seq & _MASK)
    return found


def bit_of(seq: int) -> int:
    """Return the bit of a number in its chunk."""
    return 1 << (seq & _MASK)


def pack(bits: int) -> bytes:
    """Return what is stored of a chunk."""
    return bits.to_bytes(_BYTES, "little")


def unpack(stored: bytes) -> int:
    """Return the bits of a stored chunk."""
    return int.from_bytes(stored, "little")


def chunks_of(seqs: Iterable[int]) -> set[int]:
    """Return the chunks that hold ``seqs``."""
    return {seq >> _SHIFT for seq in seqs}
