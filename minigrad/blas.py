"""The number of threads of NumPy's BLAS library, which computes matrix products on all processors by default."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

# The functions of OpenBLAS (in NumPy's wheels, with 64-bit integers, and elsewhere), MKL and BLIS: (get, set).
FUNCTIONS = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)
NAMES = ("blas", "mkl_rt", "blis")  # in the name of a library's file
# Libraries read these once, when they are loaded.
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

Functions = tuple[Callable[[], int], Callable[[int], object]]


@contextmanager
def threads(number: int) -> Iterator[bool]:
    """A context in which NumPy's matrix products use this number of threads.

    Yields:
        Whether the library could be controlled; False for Apple's Accelerate and for unknown ones.
    """
    functions = list(_functions())
    before = [get() for get, _ in functions]
    try:
        for _, set_number in functions:
            set_number(number)
        yield bool(functions)
    finally:
        for (_, set_number), previous in zip(functions, before, strict=True):
            set_number(previous)


def is_limited() -> bool:
    """Return whether an environment variable limits a library to one thread."""
    return any(os.environ.get(name) == "1" for name in VARIABLES)


def _functions() -> Iterator[Functions]:
    """Iterate over the functions of the BLAS libraries that this process has loaded."""
    for path in _libraries():
        with suppress(OSError):
            library = ctypes.CDLL(path)  # the copy that is already loaded
            for get, set_number in FUNCTIONS:
                if hasattr(library, get) and hasattr(library, set_number):
                    yield getattr(library, get), getattr(library, set_number)
                    break


def _libraries() -> list[str]:
    maps = Path("/proc/self/maps")
    if maps.exists():
        lines = maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        paths = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    else:  # macOS: the library in NumPy's wheel
        paths = {str(path) for path in Path(np.__file__).parent.glob(".dylibs/*")}
    return sorted(path for path in paths if any(name in Path(path).name for name in NAMES))
