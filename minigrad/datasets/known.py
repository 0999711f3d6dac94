"""What is known about published data sets: the names of their classes, and how EMNIST stores its images."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from ..runs.foreign import parsing, read_text

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
# The classes of EMNIST, from the mapping files of G. Cohen, S. Afshar, J. Tapson, A. van Schaik (2017). In `balanced` and
# `bymerge`, a letter whose two forms look alike is one class. In `letters`, this is so for all, and labels start at 1.
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
EMNIST = {
    "balanced": _MERGED,
    "bymerge": _MERGED,
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "letters": string.ascii_uppercase,
    "digits": string.digits,
    "mnist": string.digits,
}
FIRST_LETTER = 1  # the smallest label of `letters`
MAX_MAPPING = 100_000  # bytes of a mapping file


def is_emnist(stem: str) -> bool:
    """Return whether the first part of a file name is that of a split of EMNIST, such as `emnist-letters`."""
    return stem.lower().startswith("emnist-")


def describe(arrays: dict[str, np.ndarray], stem: str, folder: Path, place: str = "") -> list[str]:
    """Add the names of the classes to the arrays of a published data set, and correct EMNIST's images and labels.

    EMNIST stores images with rows and columns exchanged, in its IDX files and in the CSV files on Kaggle.

    Args:
        arrays: `x_train`, `y_train` and so on; changed in place.
        stem: the first part of the file names, such as `emnist-letters` or `fashion-mnist`; may be empty.
        folder: the folder of the files, where a mapping file of EMNIST may be.
        place: the name of the folder that torchvision creates, such as `KMNIST`; may be empty.

    Returns:
        One sentence per change.
    """
    if not is_emnist(stem):
        published = {"fashion-mnist": FASHION, "fashionmnist": FASHION, "kmnist": KUZUSHIJI}.get(
            (stem or place).lower()
        )
        y_train = arrays["y_train"]
        if published and y_train.dtype.kind in "iu" and y_train.max(initial=0) == len(published) - 1:
            arrays["class_names"] = np.array(published)
        return []
    notes = [f"{stem}: rows and columns of all images are exchanged, because EMNIST stores them transposed"]
    for name in ("x_train", "x_test"):
        if name in arrays:
            arrays[name] = upright(arrays[name])
    split = stem.lower().removeprefix("emnist-")
    mapping = _mapping(folder / f"{stem}-mapping.txt")
    labels = [arrays[name] for name in ("y_train", "y_test") if name in arrays]
    if any(y.dtype.kind not in "iu" for y in labels):  # a CSV file with names as labels
        return notes
    first = FIRST_LETTER if split == "letters" or (mapping and min(mapping) == FIRST_LETTER) else 0
    names = tuple(mapping[label] for label in sorted(mapping)) if mapping else tuple(EMNIST.get(split, ()))
    low, high = min(int(y.min()) for y in labels), max(int(y.max()) for y in labels)
    if first and low < first:  # already numbered from 0
        first = 0
    if names and high - first < len(names):
        arrays["class_names"] = np.array(names)
    for name in ("y_train", "y_test"):
        if first and name in arrays:
            arrays[name] = arrays[name].astype(np.int64) - first
    if first:
        notes.append(f"{stem}: the labels {low} to {high} are numbered from 0")
    return notes


def upright(images: np.ndarray) -> np.ndarray:
    """Exchange rows and columns of (n, height, width) images."""
    return np.ascontiguousarray(images.swapaxes(1, 2)) if images.ndim == 3 else images


def _mapping(path: Path) -> dict[int, str]:
    """Read a mapping file of EMNIST: per line a label and the code points of its characters; the first one is the name.

    Returns:
        The names by label, or an empty mapping if the file does not exist.

    Raises:
        UserError: the file is not a mapping from consecutive labels.
    """
    if not path.is_file():
        return {}
    with parsing(path, "lines with a label and the number of a character", "cannot be read"):
        rows = [line.split() for line in read_text(path, MAX_MAPPING).splitlines() if line.strip()]
        mapping = {int(row[0]): chr(int(row[1])) for row in rows}
    if not mapping or sorted(mapping) != list(range(min(mapping), min(mapping) + len(mapping))):
        raise UserError(f"{path}: its labels have gaps; expected consecutive labels")
    return mapping
