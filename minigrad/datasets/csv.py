"""Kaggle's MNIST in CSV: a label and its pixels a row, with or without a header.

Parsed once by NumPy's own reader, then kept in the user's cache folder,
never beside the data.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from ..runs.files import whole_file

FILES = {"train": "mnist_train.csv", "test": "mnist_test.csv"}


def find(folder: Path) -> dict[str, Path] | None:
    """The two files in `folder`, or None where neither is there.

    Raises:
        UserError: one is there and the other missing.
    """
    found = {part: folder / name for part, name in FILES.items() if (folder / name).exists()}
    if not found:
        return None
    for part, name in FILES.items():
        if part not in found:
            raise UserError(f"{folder}: has no {name}; expected {' and '.join(FILES.values())}")
    return found


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (images, labels): uint8 (n, side, side), or (n, pixels) where the pixels make no square; uint8 (n,).

    Raises:
        UserError: unreadable, empty, ragged, or a value that is no whole
            number from 0 to 255.
    """
    table = _cached(path)
    pixels = table.shape[1] - 1
    side = math.isqrt(pixels)
    shape = (side, side) if side * side == pixels else (pixels,)
    return table[:, 1:].reshape(-1, *shape), table[:, 0]


def read_pixels(path: Path, pixels: int) -> np.ndarray:
    """Read `pixels` a row, with or without a column of labels, which is left out: uint8 (n, pixels).

    The column is the one named label, or without a header the first.

    Raises:
        UserError: also where there are other columns.
    """
    table = _cached(path)
    with path.open(encoding="utf-8-sig") as file:
        header = [cell.strip().strip('"').lower() for cell in file.readline().split(",")]
    labels = [0] if _is_number(header[0]) else [i for i, cell in enumerate(header) if cell == "label"]
    if table.shape[1] == pixels + 1 and len(labels) == 1:
        return np.delete(table, labels, axis=1)
    if table.shape[1] != pixels:
        raise UserError(f"{path}: has {table.shape[1]} columns; expected {pixels} pixels, with or without a label")
    return table


def _cached(path: Path) -> np.ndarray:
    """The parsed table, from the cache if this very file was parsed before."""
    import platformdirs

    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    key = hashlib.sha256(f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:24]
    kept = Path(platformdirs.user_cache_dir("minigrad", False)) / f"{key}.npy"
    try:
        return np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        table = _parse(path)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept) as draft:
            np.save(draft, table)
    except OSError:
        pass  # A cache that can't be written costs time, not the run.
    return table


def _parse(path: Path) -> np.ndarray:
    """All rows as uint8, (n, 1 + pixels)."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline().strip()
        columns = first.count(",") + 1
        header = int(not _is_number(first.split(",")[0]))
        if not first or columns < 2:
            raise UserError(f"{path}: is empty or has one column; expected a label and its pixels in each row")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no rows; said below
            table = np.loadtxt(
                path, np.uint8, delimiter=",", skiprows=header, ndmin=2, comments=None, encoding="utf-8-sig"
            )
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text; expected comma-separated whole numbers") from error
    except ValueError as error:
        raise UserError(f"{path}: {_explain(path, str(error), header, columns)}") from error
    if table.shape[0] == 0 or table.shape[1] != columns:
        raise UserError(f"{path}: has {table.shape[1]} columns under a header of {columns}, or no rows at all")
    return table


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _explain(path: Path, message: str, header: int, columns: int) -> str:
    """NumPy's complaint, with the line as an editor counts it: NumPy counts neither header nor blank lines."""
    with path.open(encoding="utf-8-sig") as file:
        lines = [number for number, line in enumerate(file, 1) if number > header and line.strip()]
    if m := re.search(r"could not convert string '(.*?)' to uint8 at row (\d+), column (\d+)", message):
        return f"line {lines[int(m[2])]}, column {m[3]}: {m[1]!r}; expected a whole number from 0 to 255"
    if m := re.search(r"columns changed from (\d+) to (\d+) at row (\d+)", message):
        return f"line {lines[int(m[3]) - 1]}: {m[2]} columns; expected {m[1]} as in the lines above"
    return f"{message}; expected {columns} whole numbers from 0 to 255 in each row"
