"""Plain things that the tests of several packages use; no framework is imported here."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np


def clouds(seed: int, count: int, spread: float, classes: int = 3, width: int = 6) -> dict[str, np.ndarray]:
    """Gaussian clouds, one a class, as the four arrays of an .npz; a fifth of them is for testing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    vectors = (rng.normal(0, 2, (classes, width))[labels] + rng.normal(0, spread, (count, width))).astype(np.float32)
    cut = count * 4 // 5
    return {"x_train": vectors[:cut], "y_train": labels[:cut], "x_test": vectors[cut:], "y_test": labels[cut:]}


def complaints(err: str) -> list[str]:
    """The lines on standard error, but for the warnings about data sets as small as those of the tests."""
    return [line for line in err.splitlines() if line and not line.startswith("warning: ")]


class Result(NamedTuple):
    """How the command ended and what it said."""

    status: int
    out: str
    err: str


Command = Callable[..., Result]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: a write then fails as it does on a full disk.

    Python writes no bytecode meanwhile: it would leave a cut file, and no later import of that module would succeed.
    """
    before, cached = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    sys.dont_write_bytecode = True
    try:
        with mock.patch.dict(os.environ, PYTHONDONTWRITEBYTECODE="1"):  # of processes that inherit the limit
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        sys.dont_write_bytecode = cached


def files_of(folder: Path) -> set[str]:
    """The files in a folder and its subfolders."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
