"""Keeps a long-running agent small where the C library would rather be fast."""

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
"""malloc.h of glibc; mallopt(3)."""

SMALL_BYTES = 1 << 16
"""What is free at the top of the heap beyond this goes back to the system, and larger blocks come straight from it."""


def share_one_arena() -> bool:
    """Let all threads take memory from one place, and say whether the C library does so (glibc alone does).

    Each thread would get an arena of its own, whose free memory is of no use to the others: 0.3 MB of an agent that
    reports, resolves names and serves its page. Ours wait for the network and do not contend. To be called before the
    first thread starts.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(setting, SMALL_BYTES)
        mallopt(_M_TOP_PAD, SMALL_BYTES // 4)
        return bool(mallopt(_M_ARENA_MAX, 1))
    return False


def give_back() -> None:
    """Return to the system what is free in the midst of the heap (glibc): a test or a start leaves some behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """Have the garbage collector take what is there for permanent: modules and classes are never garbage.

    It looks at everything only once a quarter of all is new, which is forty thousand objects after the start; a broken
    TLS connection is one of them, and holds 40 kB. From here on it counts what came since.
    """
    gc.collect()
    gc.freeze()
