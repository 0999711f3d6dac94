"""glibc's allocator, told to keep what was freed."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3); 32 MiB is the largest threshold that glibc takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_THRESHOLD = 32 << 20
TRIM_THRESHOLD = 8 * MMAP_THRESHOLD


def keep_freed() -> bool:
    """Have blocks of up to 32 MiB reused instead of given back to the system; False where there is no glibc.

    By default it gives large blocks back as soon as they are free. Each
    training step would fetch its buffers anew, page by page, which can cost
    as much as the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
