"""Finds and reads sets of four IDX files, in their folder or in the folders that torchvision creates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from . import file_sets, idx, known

NAMES = re.compile(
    r"(?:(?P<stem>.+)[-_])?(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[0-9]-(?:ubyte|int)(?:\.gz)?"
)
KEYS = {"x_train": "trainimages", "y_train": "trainlabels", "x_test": "t10kimages", "y_test": "t10klabels"}
# Folders in which the files may be, from the given one downwards. The first level that has such files is used.
LEVELS = (("",), ("raw", "gzip"), ("*/raw",))


@dataclass(frozen=True)
class IdxFiles:
    """Four IDX files.

    Attributes:
        folder: their folder.
        stem: the first part of their names, such as `emnist-letters`; usually empty.
        paths: the files by the names in `idx.STEMS`; some may be missing.
    """

    folder: Path
    stem: str
    paths: dict[str, Path]

    def read(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """Read the four arrays, with one sentence per correction.

        Raises:
            UserError: a file is missing or invalid.
        """
        for name in KEYS:
            if name not in self.paths:
                prefix = f"{self.stem}-" if self.stem else ""
                file = f"{prefix}{idx.STEMS[name]}-idx{3 if name.startswith('x') else 1}-ubyte"
                raise UserError(
                    f"{self.folder}: the IDX file {file} (or {file}.gz) is missing; expected all four files of MNIST"
                )
        arrays = {name: _read(self.paths[name]) for name in KEYS}
        place = self.folder.parent.name if self.folder.name == "raw" else self.folder.name
        return arrays, known.describe(arrays, self.stem, self.folder, place)

    def read_test(self) -> tuple[str, np.ndarray]:
        """Return the name of the file of test images and its images.

        Raises:
            UserError: the file is missing or invalid.
        """
        path = self.paths.get("x_test")
        if path is None:
            raise UserError(f"{self.folder}: has no IDX file of test images; expected {idx.STEMS['x_test']}-idx3-ubyte")
        images = idx.read(path)
        return path.name, known.upright(images) if known.is_emnist(self.stem) else images


def find(folder: Path, wanted: str | None = None, names: tuple[str, ...] = tuple(KEYS)) -> IdxFiles | None:
    """Find four IDX files, or return None.

    Args:
        folder: the folder of the files, torchvision's `MNIST` with the folder `raw`, or the folder above it.
        wanted: the first part of the file names, or the name of one of the files.
        names: the files that are needed, if there are several sets.

    Raises:
        UserError: there are several sets, and `wanted` is None.
    """
    for level in LEVELS:
        places = [path for name in level for path in (sorted(folder.glob(name)) if name else [folder]) if path.is_dir()]
        chosen = {place: choice for place in places if (choice := file_sets.choose(_sets(place), names, place, wanted))}
        if len(chosen) > 1:
            raise file_sets.several(
                folder, [place.relative_to(folder).as_posix().removesuffix("/raw") for place in chosen]
            )
        for place, choice in chosen.items():
            return IdxFiles(place, *choice)
    return None


def contains(folder: Path) -> bool:
    """Return whether there are IDX files directly in a folder."""
    return bool(_sets(folder))


def _sets(folder: Path) -> file_sets.FileSets:
    """Return the sets in one folder, with the keys of `KEYS`."""
    names = {key: name for name, key in KEYS.items()}
    sets: file_sets.FileSets = {}
    for stem, members in file_sets.group(folder, NAMES).items():
        files = {names[key.replace("test", "t10k")]: path for key, path in members.items() if path.is_file()}
        if files:
            sets[stem] = files
    return sets


def _read(path: Path) -> np.ndarray:
    """Read one file; of QMNIST's labels, (n, 8) integers, the first column, which is the class."""
    if "-int" not in path.name.lower():
        return idx.read(path)
    integers = idx.read(path, idx.INTEGERS)
    if integers.ndim != 2 or not integers.size:
        raise UserError(f"{path}: the shape is {integers.shape}; expected (n, 8), the labels of QMNIST")
    return integers[:, 0].astype(np.int64)
