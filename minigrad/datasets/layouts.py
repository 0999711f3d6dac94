"""Finds out which of the accepted layouts a path has, and reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from ..runs.files import expand
from . import csv_files, folders, idx_files, known, npz
from .csv_files import CsvFiles
from .folders import ClassFolders
from .idx_files import IdxFiles

# The files of the data sets that are included in the package, by their names in `data.path`.
BUILT_IN = {name: Path(__file__).with_name(f"{name}.npz") for name in ("mnist", "digits")}
SOURCES = "mnist, digits, an .npz file, or a folder with CSV files, IDX files or one subfolder of pictures per class"


def resolve(path: str | Path) -> Path:
    """Return the path of a data set: that of a built-in one if `path` is its name, else `path` with `~` expanded."""
    return BUILT_IN.get(str(path)) or expand(path)


def read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read a data set in whichever layout `path` has.

    Args:
        path: a file, a folder, or a folder followed by the first part of the names of the files in it, such as
            `folder/emnist-letters`.

    Returns:
        The arrays `x_train` and `y_train`, `x_test` and `y_test` unless there is no test split, and `class_names` if the
        classes have names; and one sentence per decision.

    Raises:
        UserError: there is no data set, or one that cannot be read.
    """
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long or contains a zero byte
        raise UserError(f"data.path: {str(path)!r} is not a valid path; expected {SOURCES}") from error
    if is_folder:
        source = csv_files.find(path) or idx_files.find(path) or folders.find(path)
        if source is None:
            raise UserError(
                f"data.path: the folder {path} contains no data set; expected {csv_files.EXAMPLES}, the four IDX files of"
                " MNIST, or one subfolder of pictures per class"
            )
        arrays, notes = source.read()
        if isinstance(source, CsvFiles) and idx_files.contains(path):
            notes.append(f"{path} contains CSV and IDX files; the CSV files are used")
        return arrays, notes
    if files := _by_name(path):
        return files.read()
    if not exists:
        raise UserError(f"data.path: {path} does not exist; expected {SOURCES}")
    if path.name.lower().endswith((".csv", ".csv.gz")):
        raise UserError(
            f"data.path: {path} is one CSV file; expected a pair with names such as {csv_files.EXAMPLES}, of which one"
            " is given, or their folder"
        )
    return npz.read(path), []


def find_test(path: Path) -> CsvFiles | IdxFiles | ClassFolders | None:
    """Find the data set at a path, for its test images; None if there is none.

    Args:
        path: a folder, a folder followed by the first part of the names of the files in it, an IDX file of images or a CSV
            file of EMNIST. The images of another file do not depend on the files beside it.

    Raises:
        UserError: there are several data sets.
    """
    if path.is_file():
        files = _by_name(path)
        if isinstance(files, IdxFiles):
            return replace(files, paths={"x_test": path})
        return replace(files, paths={"test": path}) if files and known.is_emnist(files.stem) else None
    if not path.is_dir():
        return _by_name(path)
    return csv_files.find(path, parts=("test",)) or idx_files.find(path, names=("x_test",)) or folders.find(path)


def _by_name(path: Path) -> CsvFiles | IdxFiles | None:
    """Find the set of files that `path` belongs to, or whose first part it names."""
    matches = any(pattern.fullmatch(path.name.lower()) for pattern in (csv_files.NAMES, idx_files.NAMES))
    if not path.parent.is_dir() or (path.exists() and not matches):
        return None
    return csv_files.find(path.parent, path.name) or idx_files.find(path.parent, path.name)
