"""`.npz` archives in the layout of Keras's mnist.npz: x_train, y_train, x_test, y_test."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..runs.errors import UserError

# What NumPy and zipfile raise over bytes that are not what they expect.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)

NAMES = ("x_train", "y_train", "x_test", "y_test")


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the four arrays; nothing is unpickled.

    Raises:
        UserError: no archive, cut short, an array missing or holding objects.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise UserError(f"{path}: is empty, cut short or no .npz archive; expected {', '.join(NAMES)}") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UserError(f"{path}: is a single array; expected an .npz with {', '.join(NAMES)}")
    with archive:
        missing = [name for name in NAMES if name not in archive.files]
        if missing:
            found = ", ".join(archive.files) or "none"
            raise UserError(f"{path}: has no array {missing[0]}; expected {', '.join(NAMES)}, found {found}")
        return {name: _array(path, archive, name) for name in NAMES}


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array = archive[name]
    except DAMAGED as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path}: {name} holds pickled objects, which are never loaded; expected numbers"
            ) from error
        raise UserError(f"{path}: {name} is cut short or damaged; expected an array of numbers") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name} is no array; expected an array of numbers")
    return array
