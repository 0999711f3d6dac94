"""Finds and reads pairs of CSV files, such as `mnist_train.csv` and `mnist_test.csv`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from . import csv, csv_columns, csv_table, file_sets, known

NAMES = re.compile(r"(?:(?P<stem>.+)[-_. ])?(?P<part>train|test)\.csv(?:\.gz)?")
EXAMPLES = "mnist_train.csv and mnist_test.csv"


@dataclass(frozen=True)
class CsvFiles:
    """Two CSV files.

    Attributes:
        folder: their folder.
        stem: the first part of their names, such as `mnist`; empty for `train.csv` and `test.csv`.
        paths: the files by `train` and `test`; one of them may be missing.
    """

    folder: Path
    stem: str
    paths: dict[str, Path]

    def read(self) -> tuple[dict[str, np.ndarray], list[str]]:
        """Read the labelled images, as `csv.read` does.

        The file `test.csv` of a competition has no labels. Then only the training images are returned.

        Raises:
            UserError: a file is missing or invalid.
        """
        for part, other in (("train", "test"), ("test", "train")):
            if part not in self.paths:
                name = self.paths[other].name.lower().replace(other, part)
                raise UserError(f"{self.folder}: has no {name}; expected a pair of files such as {EXAMPLES}")
        if not self.stem and _is_unlabelled(self.paths["test"], self.paths["train"]):
            arrays, notes = csv.read({"train": self.paths["train"]})
            notes.append(f"{self.paths['test']} has no labels and is only used by predict")
        else:
            arrays, notes = csv.read({part: self.paths[part] for part in ("train", "test")})
        return arrays, notes + known.describe(arrays, self.stem, self.folder)

    def read_test(self, input_shape: tuple[int, ...]) -> tuple[str, np.ndarray]:
        """Return the name of the test file and its images, (n, *input_shape) uint8.

        Raises:
            UserError: the file is missing or invalid, or its number of columns does not match `input_shape`.
        """
        path = self.paths.get("test")
        if path is None:
            raise UserError(f"{self.folder}: has no file of test images beside {self.paths['train'].name}")
        images = csv.read_pixels(path, math.prod(input_shape)).reshape(-1, *input_shape)
        return path.name, known.upright(images) if known.is_emnist(self.stem) else images


def find(folder: Path, wanted: str | None = None, parts: tuple[str, ...] = ("train", "test")) -> CsvFiles | None:
    """Find a pair of CSV files, or return None.

    Args:
        folder: the folder.
        wanted: the first part of their names, or the name of one of the files.
        parts: the files that are needed, if there are several pairs.

    Raises:
        UserError: there are several pairs, and `wanted` is None.
    """
    chosen = file_sets.choose(file_sets.group(folder, NAMES), parts, folder, wanted)
    return CsvFiles(folder, *chosen) if chosen else None


def _is_unlabelled(test: Path, train: Path) -> bool:
    """Return whether a test file lacks the label column that the training file has."""
    head, labelled = csv_table.read_head(test), csv_table.read_head(train)
    if head.layout is not None:
        named = head.layout.label is None and not csv_columns.is_consecutive(head.names or [])
        return named and (labelled.layout is None or labelled.layout.label is not None)
    # The files of a pair have the same columns, except for the label.
    return head.columns == (labelled.columns - 1 if labelled.layout is None else len(labelled.narrow))
