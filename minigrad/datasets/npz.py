"""Reads `.npz` archives with x_train, y_train, x_test and y_test, as in Keras's mnist.npz. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from ..runs.errors import UserError

# All exceptions that NumPy and zipfile raise for damaged files.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)

NAMES = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = ("class_names", "classes")  # accepted names of the names of the classes, which are optional
IMAGES = ("x_test", "images", "x")  # accepted names of images without labels, in order of preference

MNIST = Path(__file__).with_name("mnist.npz")


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
    with _open(path, expected) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"{path}: contains a single array without a name; expected {expected}")
        missing = [name for name in NAMES if name not in archive.files]
        if missing:
            raise UserError(
                f"{path}: the array {missing[0]} is missing; expected {expected},"
                f" but this one contains {_listed(archive)}"
            )
        arrays = {name: _array(path, archive, name) for name in NAMES}
        if named := next((name for name in CLASS_NAMES if name in archive.files), None):
            names = _array(path, archive, named)
            if named == CLASS_NAMES[0] or names.dtype.kind in "US":  # `classes` may be something else, such as a number
                arrays["class_names"] = names
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
    with _open(path, expected) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            return "array", archive
        name = next((name for name in IMAGES if name in archive.files), None)
        if name is None and len(archive.files) == 1:
            name = archive.files[0]
        if name is None:
            raise UserError(f"{path}: contains {_listed(archive)}; expected {expected}")
        return name, _array(path, archive, name)


@contextmanager
def _open(path: Path, expected: str) -> Iterator[np.lib.npyio.NpzFile | np.ndarray]:
    """Open an .npz archive or load an .npy file.

    Raises:
        UserError: the file is damaged or in another format.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))  # np.load(path) would not close a damaged archive
            loaded = np.load(file, allow_pickle=False)
        except DAMAGED as error:
            raise UserError(f"{path}: is empty, truncated or in another format; expected {expected}") from error
        if isinstance(loaded, np.lib.npyio.NpzFile):
            stack.enter_context(loaded)
        yield loaded


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """Read one array of an archive.

    Raises:
        UserError: the array is damaged, contains Python objects or is not an array.
    """
    try:
        array = archive[name]
    except DAMAGED as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path}: {name} contains pickled Python objects, which are never loaded; expected an array of numbers"
            ) from error
        raise UserError(f"{path}: {name} is truncated or damaged; expected an array of numbers") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name} is not an array; expected an array of numbers")
    return array


def _listed(archive: np.lib.npyio.NpzFile) -> str:
    plural = "s" if len(archive.files) > 1 else ""
    return f"the array{plural} {_join(archive.files, 'and')}" if archive.files else "no arrays"


def _join(names: tuple[str, ...] | list[str], word: str) -> str:
    """Join names as in a sentence: `a, b and c`."""
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
