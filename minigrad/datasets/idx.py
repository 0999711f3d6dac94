"""Reads the IDX files of the original MNIST, gzipped or not.

The format: two zero bytes, a type code (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from ..runs.errors import UserError

STEMS = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}


def find(folder: Path) -> dict[str, Path] | None:
    """Find the four IDX files in a folder.

    Args:
        folder: the folder to search.

    Returns:
        The path of each array in `STEMS`, or None if the folder has none of the files.

    Raises:
        UserError: some of the files exist and others are missing.
    """
    paths = {name: find_one(folder, name) for name in STEMS}
    if not any(paths.values()):
        return None
    for name, path in paths.items():
        if path is None:
            file = f"{STEMS[name]}-idx{3 if name.startswith('x') else 1}-ubyte"
            raise UserError(
                f"{folder}: the IDX file {file} (or {file}.gz) is missing; expected all four files of MNIST"
            )
    return {name: path for name, path in paths.items() if path is not None}


def find_one(folder: Path, name: str) -> Path | None:
    """Return the path of the array `name`, a key of `STEMS`, or None if the folder has no such file."""
    return next(iter(sorted(folder.glob(f"{STEMS[name]}[-.]idx?-ubyte*"))), None)


def read(path: Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Args:
        path: the file; it is decompressed if its suffix is .gz.

    Returns:
        The array, uint8, with the shape from the file's header.

    Raises:
        UserError: the file cannot be read, is not an IDX file of unsigned bytes, or its size differs from its header.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read or is truncated; expected a complete IDX file") from error
    if len(data) < 8 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise UserError(
            f"{path}: is not an IDX file of unsigned bytes; expected a complete header that starts with the bytes 00 00 08"
        )
    shape = tuple(np.frombuffer(data, ">u4", data[3], 4).tolist())
    expected, actual = int(np.prod(shape)), len(data) - 4 - 4 * data[3]
    if actual != expected:
        raise UserError(f"{path}: contains {actual} values; expected {expected} for the shape {shape} in its header")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
