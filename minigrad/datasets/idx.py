"""Reads the IDX files of the original MNIST, gzipped or not.

The format: two zero bytes, a type code (8: unsigned byte, 12: 32-bit integer),
the number of dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..runs import foreign
from ..runs.errors import UserError
from ..runs.foreign import parsing

MAX_DIMENSIONS = 8

BYTES, INTEGERS = np.dtype(np.uint8), np.dtype(">i4")
# The names and the type codes of the dtypes that are read.
TYPES = {BYTES: ("unsigned bytes", 8), INTEGERS: ("32-bit integers", 12)}
STEMS = {
    "x_train": "train-images",
    "y_train": "train-labels",
    "x_test": "t10k-images",
    "y_test": "t10k-labels",
}


def read(path: Path, dtype: np.dtype[Any] = BYTES) -> np.ndarray:
    """Read one IDX file.

    Args:
        path: the file; it is decompressed if its suffix is .gz.
        dtype: of the values: `BYTES` (default) or `INTEGERS`, as in QMNIST's labels.

    Returns:
        The array, with the shape from the file's header.

    Raises:
        UserError: the file cannot be read, is not an IDX file of this dtype, or its size differs from its header.
    """
    compressed, (kind, code) = path.suffix == ".gz", TYPES[dtype]
    with (
        parsing(path, "a complete IDX file", "cannot be read or is truncated"),
        gzip.open(path) if compressed else path.open("rb") as file,
    ):
        size = path.stat().st_size
        start = file.read(4)
        header = file.read(4 * start[3]) if len(start) == 4 else b""
        if start[:3] != bytes([0, 0, code]) or not 0 < len(header) == 4 * start[3]:
            raise UserError(
                f"{path}: is not an IDX file of {kind}; expected a complete header that starts with the bytes 00 00 {code:02X}"
            )
        shape = tuple(np.frombuffer(header, ">u4").tolist())
        if len(shape) > MAX_DIMENSIONS:
            raise UserError(f"{path}: has {len(shape)} dimensions; expected at most {MAX_DIMENSIONS}")
        count, limit = math.prod(shape), foreign.expanded_limit(size) if compressed else size
        length = count * dtype.itemsize
        if compressed and length > limit:
            raise UserError(
                f"{path}: its header describes the shape {shape}; expected at most {limit:,} values in a file of {size:,} bytes"
            )
        data = file.read(min(length, limit) + 1)
    if len(data) != length:
        actual = len(data) // dtype.itemsize if len(data) < length else "more"
        raise UserError(f"{path}: contains {actual} values; expected {count} for the shape {shape} in its header")
    return np.frombuffer(data, dtype).reshape(shape)
