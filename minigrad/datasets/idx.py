"""The IDX files of the original MNIST, gzipped or not.

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
    """The four files in `folder`, or None where none of them is there.

    Raises:
        UserError: some are there and others are missing.
    """
    found = {name: find_one(folder, name) for name in STEMS}
    if not any(found.values()):
        return None
    for name, path in found.items():
        if path is None:
            dims = 3 if name.startswith("x") else 1
            raise UserError(f"{folder}: has no {STEMS[name]}-idx{dims}-ubyte or .gz beside the other IDX files")
    return {name: path for name, path in found.items() if path is not None}


def find_one(folder: Path, name: str) -> Path | None:
    """The file of one of the four arrays, say `x_test`, or None."""
    return next(iter(sorted(folder.glob(f"{STEMS[name]}[-.]idx?-ubyte*"))), None)


def read(path: Path) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Raises:
        UserError: unreadable, another type, or not as long as its header says.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: can't be read or is cut short; expected an IDX file") from error
    if len(data) < 8 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise UserError(f"{path}: is no IDX file of unsigned bytes; expected to start with 00 00 08")
    shape = tuple(np.frombuffer(data, ">u4", data[3], 4).tolist())
    expected, found = int(np.prod(shape)), len(data) - 4 - 4 * data[3]
    if found != expected:
        raise UserError(f"{path}: holds {found} values; expected {expected}, the product of its dimensions {shape}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
