"""Reads `.npz` archives with x_train, y_train, x_test and y_test, as in Keras's mnist.npz. Nothing is unpickled.

The directory of the archive and the header of each array are checked before
memory for the array is allocated.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ..runs import foreign
from ..runs.errors import UserError
from ..runs.foreign import Invalid, parsing

NAMES = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = ("class_names", "classes")  # accepted names of the names of the classes, which are optional
IMAGES = ("x_test", "images", "x")  # accepted names of images without labels, in order of preference

MNIST = Path(__file__).with_name("mnist.npz")

FAULT = "is empty, truncated or in another format"
MAGIC = b"\x93NUMPY"  # at the beginning of an .npy file
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the four arrays of a data set.

    Args:
        path: the archive.

    Returns:
        The arrays by the names in `NAMES`, and `class_names` if the archive contains the names of the classes.

    Raises:
        UserError: the file is damaged or not an .npz archive, or an array is missing or contains Python objects.
    """
    expected = f"an .npz archive with the arrays {_join(NAMES, 'and')}"
    if is_array(path, expected):
        read_array(path, expected)
        raise UserError(f"{path}: contains a single array without a name; expected {expected}")
    with open_archive(path, expected) as archive:
        names = list(_members(archive))
        missing = [name for name in NAMES if name not in names]
        if missing:
            raise UserError(
                f"{path}: the array {missing[0]} is missing; expected {expected}, but this one contains {_listed(names)}"
            )
        arrays = {name: read_member(path, archive, name) for name in NAMES}
        if named := next((name for name in CLASS_NAMES if name in names), None):
            class_names = read_member(path, archive, named)
            if named == CLASS_NAMES[0] or class_names.dtype.kind in "US":  # `classes` may be a number, for example
                arrays["class_names"] = class_names
        return arrays


def read_images(path: Path) -> tuple[str, np.ndarray]:
    """Read images without labels.

    Args:
        path: an .npz archive with an array named as in `IMAGES` or with a single array, or an .npy file.

    Returns:
        The name of the array, `array` for an .npy file, and the array.

    Raises:
        UserError: the file is damaged or neither .npz nor .npy, no array can be chosen, or it contains Python objects.
    """
    expected = f"an .npz archive with an array named {_join(IMAGES, 'or')}, or a file with a single array"
    if is_array(path, expected):
        return "array", read_array(path, expected)
    with open_archive(path, expected) as archive:
        names = list(_members(archive))
        name = next((name for name in IMAGES if name in names), names[0] if len(names) == 1 else None)
        if name is None:
            raise UserError(f"{path}: contains {_listed(names)}; expected {expected}")
        return name, read_member(path, archive, name)


def read_all(path: Path, expected: str = "an .npz archive of numbers") -> dict[str, np.ndarray]:
    """Read every array of an archive.

    Args:
        path: the archive.
        expected: what was expected, for the messages.

    Raises:
        UserError: the file is damaged, or contains Python objects.
    """
    with open_archive(path, expected) as archive:
        return {name: read_member(path, archive, name) for name in _members(archive)}


def is_array(path: Path, expected: str) -> bool:
    """Return whether a file begins as an .npy file does; a file that cannot be opened raises a `UserError`."""
    with parsing(path, expected, FAULT), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_array(path: Path, expected: str) -> np.ndarray:
    """Read an .npy file.

    Raises:
        UserError: the file is damaged, or its array contains Python objects.
    """
    with parsing(path, expected, FAULT), path.open("rb") as file:
        _check_header(file, path.stat().st_size)
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    return np.asarray(array)


@contextmanager
def open_archive(path: Path, expected: str) -> Iterator[zipfile.ZipFile]:
    """Open an .npz archive whose directory is valid.

    Raises:
        UserError: the file is not a ZIP archive; a member occurs twice or has a compression that NumPy does not write;
            or the members are larger than the limit for a file of this size.
    """
    with parsing(path, expected, FAULT):
        archive = zipfile.ZipFile(path)
    with archive:
        with parsing(path, expected):
            _check_directory(archive, path.stat().st_size)
        yield archive


def _check_directory(archive: zipfile.ZipFile, size: int) -> None:
    members = archive.infolist()
    if len({name.removesuffix(".npy") for name in archive.namelist()}) < len(members):
        raise Invalid("it contains two arrays of the same name")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise Invalid("its compression is not that of NumPy")
    if any(member.compress_type == zipfile.ZIP_STORED and member.file_size > size for member in members):
        raise Invalid("it contains less data than its directory lists")
    total, limit = sum(member.file_size for member in members), foreign.expanded_limit(size)
    if total > limit:
        raise Invalid(f"it would expand to {total:,} bytes; the limit for a file of {size:,} bytes is {limit:,}")


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the name of each member by the name of its array."""
    return {name.removesuffix(".npy"): name for name in archive.namelist()}


def read_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read one array of an open archive.

    Raises:
        UserError: the array is damaged, contains Python objects or is not an array.
    """
    with parsing(f"{path}: {name}", "an array of numbers", "is truncated, damaged or not an array"):
        member = archive.getinfo(_members(archive)[name])
        with archive.open(member) as file:
            _check_header(file, member.file_size)
        with archive.open(member) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):  # at the end of the member, its checksum is compared
                raise Invalid("it contains more data than its header describes")
    return np.asarray(array)


def _check_header(file: IO[bytes], size: int) -> None:
    """Check that the header of an array describes numbers, and as many as there are.

    Args:
        file: the array in NumPy's format, at its beginning.
        size: the number of bytes of the header and the data.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise Invalid(f"version {version} of the format")
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise Invalid("it contains pickled Python objects, which are never loaded")
    if dtype.kind not in "biufcSU":
        raise Invalid(f"its dtype is {foreign.shown(dtype, 40)}")
    for length in shape:
        foreign.whole_number("a dimension of the array", length)
    count = math.prod(shape) * dtype.itemsize
    if count != size - file.tell():
        raise Invalid(f"it contains {size - file.tell():,} bytes; its header describes {shown_count(count)}")


def shown_count(count: int) -> str:
    """Return a number of bytes for a message; it may have any number of digits."""
    return f"{count:,}" if count < 2**63 else "more than any file has"


def _listed(names: Sequence[str]) -> str:
    plural = "s" if len(names) > 1 else ""
    return f"the array{plural} {foreign.shown(_join(names, 'and'))}" if names else "no arrays"


def _join(names: Sequence[str], word: str) -> str:
    """Join names as in a sentence: `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
