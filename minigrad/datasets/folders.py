"""Reads folders with one subfolder of pictures per class, as torchvision's ImageFolder and Keras do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from . import labels, picture_files, picture_set

# Accepted names of the folders of the splits, in any case; the first folder that exists is used.
TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
IGNORED = ("__macosx",)


@dataclass(frozen=True)
class ClassFolders:
    """Pictures by class.

    Attributes:
        path: the folder.
        train: the folder with one subfolder per class.
        test: the folder of the test pictures, or None. It has the same subfolders, or pictures without labels.
        unused: the folder of validation pictures if there is also one of test pictures, or None.
    """

    path: Path
    train: Path
    test: Path | None
    unused: Path | None

    def read(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """Read all labelled pictures.

        Returns:
            `x_train`, `y_train`, `class_names`, and if there are labelled test pictures `x_test` and `y_test`;
            and one sentence per decision.

        Raises:
            UserError: a class is empty or occurs only in the test pictures, or a picture cannot be read or differs in size.
        """
        for folder in filter(None, (self.train, self.test)):
            if (beside := _files(folder)) and _subfolders(folder):
                raise UserError(
                    f"{beside[0]}: is not in the folder of a class; expected pictures only in these folders"
                )
        train, notes = _files_by_class(self.train), []
        if not train:
            raise UserError(f"{self.train}: has no subfolders; expected one subfolder of pictures per class")
        test = _files_by_class(self.test) if self.test else {}
        if only := sorted(test.keys() - train.keys()):
            raise UserError(
                f"{self.test}: the classes {labels.listed([repr(name) for name in only])} have no subfolder in"
                f" {self.train}; expected the same classes"
            )
        names = labels.sorted_names(train)
        if self.unused:
            notes.append(f"{self.unused} is not used: validation images are held out of {self.train}")
        paths = [[path for name in names for path in part.get(name, ())] for part in (train, test)]
        y_train, y_test = (
            np.repeat(np.arange(len(names)), [len(part.get(name, ())) for name in names]) for part in (train, test)
        )
        images = picture_set.read_all(paths[0] + paths[1])  # together, since all are gray or all are in color
        arrays = {"x_train": images[: len(paths[0])], "y_train": y_train}
        if test:
            arrays |= {"x_test": images[len(paths[0]) :], "y_test": y_test}
        return {**arrays, "class_names": np.array(names)}, notes

    def test_files(self) -> list[Path]:
        """Return the test pictures, with or without labels; without a folder of test pictures, all pictures.

        Raises:
            UserError: a class is empty, or there are no pictures.
        """
        folder = self.test or self.train
        by_class = _files_by_class(folder)
        return _files(folder) + [path for name in labels.sorted_names(by_class) for path in by_class[name]]


def find(folder: Path) -> ClassFolders | None:
    """Find class folders in `folder`, or return None if there are none.

    Args:
        folder: has the subfolders of the splits (see `TRAIN`, `TEST` and `VALIDATION`), or one subfolder per class.
    """
    subfolders = {path.name.lower(): path for path in _subfolders(folder)}
    train, test, validation = (
        next((subfolders[name] for name in names if name in subfolders), None) for names in (TRAIN, TEST, VALIDATION)
    )
    if train is not None and any(_files(sub) for sub in _subfolders(train)):
        return ClassFolders(folder, train, test or validation, validation if test else None)
    if any(_files(path) for path in _subfolders(folder)):
        return ClassFolders(folder, folder, None, None)
    return None


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures in each subfolder, sorted by name.

    Raises:
        UserError: a subfolder contains no pictures, or another folder.
    """
    by_class = {path.name: _files(path) for path in _subfolders(folder)}
    if empty := [repr(name) for name, files in by_class.items() if not files]:
        raise UserError(
            f"{folder}: the class folders {labels.listed(empty)} contain no pictures; expected"
            f" {', '.join(picture_files.SUFFIXES)} files in each"
        )
    for name in by_class:
        if nested := _subfolders(folder / name):
            raise UserError(f"{nested[0]}: is a folder inside the folder of class {name!r}; expected only pictures")
    return by_class


def _subfolders(folder: Path) -> list[Path]:
    """Return the subfolders that are not hidden, sorted by name."""
    names = [entry.name for entry in _scan(folder) if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names) if name.lower() not in IGNORED]


def _files(folder: Path) -> list[Path]:
    """Return the pictures directly in a folder, sorted by name."""
    return [folder / name for name in sorted(e.name for e in _scan(folder)) if picture_files.is_picture(folder / name)]


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); expected a folder of pictures") from error
