"""Reads the IDX files of the original MNIST, gzipped or not.

The format: two zero bytes, a type code (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np

from ..runs import foreign
from ..runs.errors import UserError
from ..runs.foreign import parsing

MAX_DIMENSIONS = 8

STEMS = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}


def read(path: Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Args:
        path: the file; it is decompressed if its suffix is .gz.

    Returns:
        The array, uint8, with the shape from the file's header.

    Raises:
        UserError: the file cannot be read, is not an IDX file of unsigned bytes, or its size differs from its header.
    """
    compressed = path.suffix == ".gz"
    with (
        parsing(path, "a complete IDX file", "cannot be read or is truncated"),
        gzip.open(path) if compressed else path.open("rb") as file,
    ):
        size = path.stat().st_size
        start = file.read(4)
        header = file.read(4 * start[3]) if len(start) == 4 else b""
        if start[:3] != b"\0\0\x08" or not 0 < len(header) == 4 * start[3]:
            raise UserError(
                f"{path}: is not an IDX file of unsigned bytes; expected a complete header that starts with the bytes 00 00 08"
            )
        shape = tuple(np.frombuffer(header, ">u4").tolist())
        if len(shape) > MAX_DIMENSIONS:
            raise UserError(f"{path}: has {len(shape)} dimensions; expected at most {MAX_DIMENSIONS}")
        count, limit = math.prod(shape), foreign.expanded_limit(size) if compressed else size
        if compressed and count > limit:
            raise UserError(
                f"{path}: its header describes the shape {shape}; expected at most {limit:,} values in a file of {size:,} bytes"
            )
        data = file.read(min(count, limit) + 1)
    if len(data) != count:
        actual = len(data) if len(data) < count else "more"
        raise UserError(f"{path}: contains {actual} values; expected {count} for the shape {shape} in its header")
    return np.frombuffer(data, np.uint8).reshape(shape)
