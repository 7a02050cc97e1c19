"""The C library's allocator, tuned for a training loop that reallocates the same arrays."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt`` (malloc.h)."""
_THRESHOLD = 1 << 30
"""Bytes; larger than any array of a training step."""


def keep_freed_memory() -> bool:
    """Let malloc reuse large arrays instead of returning their memory to the system.

    By default glibc returns such memory on every free, and the next operation of the update
    has to fault in fresh pages: a fifth of the time of a HAPPO update. Results are bit-identical.
    Returns whether the C library accepted the setting (only glibc does).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another C library, or another system
        return False
    return all([mallopt(_M_TRIM_THRESHOLD, _THRESHOLD), mallopt(_M_MMAP_THRESHOLD, _THRESHOLD)])
