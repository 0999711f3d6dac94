"""`.npz` archives in the layout of Keras's mnist.npz: x_train, y_train, x_test, y_test. Nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from ..runs.errors import UserError

# What NumPy and zipfile raise over bytes that are not what they expect.
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)

NAMES = ("x_train", "y_train", "x_test", "y_test")
IMAGES = ("x_test", "images", "x")  # what images without labels may be called

MNIST = Path(__file__).with_name("mnist.npz")


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the four arrays.

    Raises:
        UserError: no archive, cut short, an array missing or holding objects.
    """
    with _opened(path, ", ".join(NAMES)) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"{path}: is a single array; expected an .npz with {', '.join(NAMES)}")
        missing = [name for name in NAMES if name not in archive.files]
        if missing:
            found = ", ".join(archive.files) or "none"
            raise UserError(f"{path}: has no array {missing[0]}; expected {', '.join(NAMES)}, found {found}")
        return {name: _array(path, archive, name) for name in NAMES}


def read_images(path: Path) -> tuple[str, np.ndarray]:
    """Read the array of `IMAGES` that is there, or the only array, with its name; of an .npy its array.

    Raises:
        UserError: no archive, cut short, several other arrays, or objects.
    """
    expected = f"{', '.join(IMAGES)}, or a single array"
    with _opened(path, expected) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            return "array", archive
        name = next((name for name in IMAGES if name in archive.files), None)
        if name is None and len(archive.files) == 1:
            name = archive.files[0]
        if name is None:
            raise UserError(f"{path}: has the arrays {', '.join(archive.files) or 'none'}; expected {expected}")
        return name, _array(path, archive, name)


@contextmanager
def _opened(path: Path, expected: str) -> Iterator[np.lib.npyio.NpzFile | np.ndarray]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))  # by itself NumPy leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
        except DAMAGED as error:
            raise UserError(f"{path}: is empty, cut short or no .npz archive; expected {expected}") from error
        if isinstance(loaded, np.lib.npyio.NpzFile):
            stack.enter_context(loaded)
        yield loaded


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array = archive[name]
    except DAMAGED as error:
        if "allow_pickle" in str(error):
            raise UserError(
                f"{path}: {name} holds pickled objects, which are never loaded; expected numbers"
            ) from error
        raise UserError(f"{path}: {name} is cut short or damaged; expected an array of numbers") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name} is no array; expected an array of numbers")
    return array
