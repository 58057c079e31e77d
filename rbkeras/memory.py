"""How a process takes memory from the system."""

import contextlib
import ctypes

# From glibc's malloc.h.
_M_TOP_PAD = -2


def take_memory_in_large_pieces() -> bool:
    """Let glibc keep 64 MiB in reserve; return whether it does, False with other C libraries.

    Batches and what networks make of them come and go. By default they are fetched from the system
    anew, and touching fresh pages for the first time takes longer than filling them: see
    docs/benchmarks.md.
    """
    with contextlib.suppress(OSError, AttributeError):
        return ctypes.CDLL(None).mallopt(_M_TOP_PAD, 64 << 20) == 1
    return False
