"""Keeps a long-running agent small where the C library would rather be fast."""

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
"""malloc.h of glibc; mallopt(3)."""

_MADV_DONTNEED = 4
"""mman.h of Linux, the same on all but alpha and parisc."""

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


def let_go_of_code() -> None:
    """Have the kernel take away the code of program and libraries (madvise(2)); what is still run comes back at once.

    Half of it is for starting alone, such as how pydantic builds its models. It stays mapped until memory is short,
    which a box notices too late: 4 MB (measured). Nothing is lost: code is never written to, and is in the files.
    """
    with contextlib.suppress(OSError, AttributeError, ValueError):
        madvise = ctypes.CDLL(None).madvise
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            areas = [line.split(maxsplit=5) for line in maps]
        for words in areas:
            if len(words) == 6 and words[1] == "r-xp" and words[5].startswith("/"):
                start, end = (int(number, 16) for number in words[0].split("-"))
                madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def settle() -> None:
    """Have the garbage collector take what is there for permanent: modules and classes are never garbage.

    It looks at everything only once a quarter of all is new, which is forty thousand objects after the start; a broken
    TLS connection is one of them, and holds 40 kB. From here on it counts what came since.
    """
    gc.collect()
    gc.freeze()
