"""Keeps a long-running agent small where the C library would rather be fast."""

import contextlib
import ctypes

_M_ARENA_MAX = -8
"""malloc.h of glibc; mallopt(3)."""


def share_one_arena() -> bool:
    """Let all threads take memory from one place, and say whether the C library does so (glibc alone does).

    Each thread would get an arena of its own, whose free memory is of no use to the others: 0.3 MB of an agent that
    reports, resolves names and serves its page. Ours wait for the network and do not contend. To be called before the
    first thread starts.
    """
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False
