"""What the C library does with the memory of a finished request."""

from __future__ import annotations

import contextlib
import ctypes

__all__ = ["give_back_memory", "keep_freed_memory"]

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def give_back_memory() -> None:
    """Let the C library give what is free back to the system; it takes some milliseconds."""
    with contextlib.suppress(OSError, AttributeError):  # it is glibc's
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Let glibc keep up to 256 MiB of freed memory for the next request; False where that cannot be set.

    By default it gives blocks of a tensor's size back to the system at every request and gets them again as
    untouched pages, which costs more than all the rest of the request.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 128 << 20)) and bool(mallopt(_M_TRIM_THRESHOLD, 256 << 20))
