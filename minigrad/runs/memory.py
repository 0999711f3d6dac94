"""Configures glibc's allocator to keep freed memory."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3); 32 MiB is the largest threshold that glibc accepts.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_THRESHOLD = 32 << 20
TRIM_THRESHOLD = 8 * MMAP_THRESHOLD


def keep_freed() -> bool:
    """Make glibc reuse freed blocks of up to 32 MiB instead of returning them to the system.

    By default, glibc returns large blocks as soon as they are freed, so each
    training step has to allocate its buffers again, page by page. This can
    take as long as the computation.

    Returns:
        Whether the allocator was configured; False on systems without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD))
