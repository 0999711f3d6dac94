"""Reads images without labels: from all formats of data sets, and from picture files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..runs.errors import UserError
from . import checks, csv, layouts, npz, picture_files
from .csv_files import CsvFiles
from .folders import ClassFolders
from .idx_files import IdxFiles
from .picture_files import Picture
from .preprocess import preprocess as preprocessed

Preprocess = Literal["auto", "none"]
SOURCES = "mnist, digits, an .npz, .npy or .csv file, a picture, or a folder of images"


class Unlabelled(NamedTuple):
    """Images without labels.

    Attributes:
        names: the file name of each image if each image is a file, else None.
        images: (n, *input_shape) uint8 or float32.
    """

    names: list[str] | None
    images: np.ndarray


def load_images(
    path: str | Path,
    input_shape: tuple[int, ...],
    input_scale: float,
    *,
    mnist_like: bool | None = False,
    preprocess: Preprocess | None = None,
) -> Unlabelled:
    """Load images without labels, as the input of a trained network.

    Args:
        path: one of
            - `mnist` or `digits`, the test images of a data set included in the
              package;
            - an .npz archive with an array named x_test, images or x or with a
              single array, or an .npy file;
            - a .csv file of pixels, whose labels and row index are ignored;
            - a PNG, JPEG, BMP, GIF, TIFF or WEBP file;
            - the folder of a data set, whose test images are loaded, or a folder
              with picture files, sorted by name.
        input_shape: the network's input shape.
        input_scale: the network's input scale: 1/255 for uint8 pixels, 1 for
            floats.
        mnist_like: whether the network was trained on images that are light on
            dark and centered by mass, as in MNIST; None if that is not known.
        preprocess: `auto` brings pictures into the form of the training images and prints what was done: rotates them by
            their EXIF tag, converts and resizes them, and if `mnist_like`, separates ink from paper, inverts, crops,
            scales and centers the digit. `none` accepts only pictures of the network's size, and changes only their color
            mode. None (default) is `auto` for picture files and `none` for arrays and tables.

    Returns:
        The images.

    Raises:
        UserError: a file or a value in it is invalid, or does not match the network.
    """
    data_set, files = _find(path)
    source, expects_pixels = str(path), input_scale != 1
    if files is not None:
        picture_files.mode_of(next(iter(files.values())), input_shape)  # refuses inputs that are not images
        _check_dtype(source, np.dtype(np.uint8), expects_pixels=expects_pixels or bool(mnist_like))
        images = _read_pictures(source, files, input_shape, mnist_like, preprocess)
    else:
        name, array = _read_array(layouts.resolve(path), data_set, input_shape)
        source = f"{path}: {name}" if name else source
        images = checks.as_images(source, as_shape(source, array, input_shape))
        if preprocess != "auto":
            _check_shape(source, images, input_shape)
        if expects_pixels or preprocess == "auto":
            images = as_pixels(source, images)
        if preprocess == "auto":
            numbered = ((f"image {i}", Picture(image)) for i, image in enumerate(_as_pictures(source, images)))
            images = preprocessed(source, numbered, input_shape, mnist_like)
    _check_shape(source, images, input_shape)
    if images.dtype == np.uint8 and not expects_pixels and mnist_like:
        print(f"{source}: pixels are divided by 255, because the network was trained on floats from 0 to 1")
        images = images / np.float32(255)
    _check_dtype(source, images.dtype, expects_pixels=expects_pixels)
    return Unlabelled(None if files is None else list(files), images)


def _read_pictures(
    source: str,
    files: dict[str, Path],
    input_shape: tuple[int, ...],
    mnist_like: bool | None,
    preprocess: Preprocess | None,
) -> np.ndarray:
    """Read picture files, and bring them into the form of the training images unless `preprocess` is `none`."""
    if preprocess == "none":
        return np.stack([picture_files.read_exactly(file, input_shape) for file in files.values()])
    pictures = ((name, picture_files.read(file)) for name, file in files.items())
    return preprocessed(source, pictures, input_shape, mnist_like)


def _find(path: str | Path) -> tuple[CsvFiles | IdxFiles | None, dict[str, Path] | None]:
    """Find the CSV or IDX files at a path, and the picture files by name; both are None for another file.

    Raises:
        UserError: there are no images.
    """
    file = layouts.resolve(path)
    try:
        data_set, exists, is_folder = layouts.find_test(file), file.exists(), file.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long or contains a zero byte
        raise UserError(f"data.path: {str(path)!r} is not a valid path; expected {SOURCES}") from error
    if isinstance(data_set, ClassFolders):
        return None, {picture.relative_to(file).as_posix(): picture for picture in data_set.test_files()}
    if data_set is not None:
        return data_set, None
    if not exists:
        raise UserError(f"data.path: {path} does not exist; expected {SOURCES}")
    if files := picture_files.find(file):
        return None, {picture.name: picture for picture in files}
    if is_folder:
        raise UserError(
            f"data.path: the folder {path} contains no images; expected {', '.join(picture_files.SUFFIXES)} files,"
            " mnist_test.csv, the IDX files of MNIST, or one subfolder of pictures per class"
        )
    return None, None


def _read_array(
    path: Path, data_set: CsvFiles | IdxFiles | None, input_shape: tuple[int, ...]
) -> tuple[str, np.ndarray]:
    """Return the name of an array or table, which may be empty, and the array."""
    if isinstance(data_set, IdxFiles):
        return data_set.read_test()
    if data_set is not None:
        return data_set.read_test(input_shape)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return "", csv.read_pixels(path, math.prod(input_shape)).reshape(-1, *input_shape)
    return npz.read_images(path)


def as_shape(source: str, array: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """Return images in the network's shape if there is only one way to read their array, and print a note.

    A single image becomes a batch of one. Gray images may have an axis of
    length 1 for the channel, or be flat, row by row. Other arrays are returned unchanged.

    Args:
        source: the name of the array, for the note.
        array: any shape.
        input_shape: the network's input shape.
    """
    is_gray = len(input_shape) == 2 or (len(input_shape) == 3 and input_shape[2] == 1)
    squeezed = tuple(side for side in input_shape if side > 1)

    def fits(shape: tuple[int, ...]) -> bool:
        is_flat = is_gray and shape == (math.prod(input_shape),)
        return shape == input_shape or is_flat or (is_gray and tuple(side for side in shape if side > 1) == squeezed)

    if array.shape[1:] == input_shape:
        return array
    if array.ndim and array.size and fits(array.shape[1:]):
        print(f"{source}: images of shape {array.shape[1:]} are used as {input_shape}")
        return array.reshape(-1, *input_shape)
    if array.ndim and array.size and fits(array.shape):
        print(f"{source}: the array of shape {array.shape} is used as a single image of shape {input_shape}")
        return array.reshape(1, *input_shape)
    return array


def as_pixels(source: str, images: np.ndarray) -> np.ndarray:
    """Return images as uint8 pixels, and print a note if they are floats.

    Args:
        source: the name of the array, for messages.
        images: (n, ...) uint8 or float32.

    Raises:
        UserError: the range of the floats does not show how to convert them.
    """
    if images.dtype == np.uint8:
        return images
    low, high = float(images.min()), float(images.max())
    if low >= 0 and 0 < high <= 1:
        print(f"{source}: floats from {low:g} to {high:g} are multiplied by 255")
        return np.rint(images * 255).astype(np.uint8)
    if low >= 0 and high <= 255 and (images == np.rint(images)).all():
        print(f"{source}: the floats are whole numbers from {low:g} to {high:g} and are used as pixels")
        return images.astype(np.uint8)
    raise UserError(
        f"{source}: the floats range from {low:g} to {high:g}; expected uint8 pixels, or floats from 0 to 1"
    )


def _as_pictures(source: str, images: np.ndarray) -> np.ndarray:
    """Check that an array holds pictures, (n, height, width) or (n, height, width, channels) uint8."""
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (3, 4))):
        raise UserError(
            f"{source}: has shape {images.shape} and dtype {images.dtype}; for --preprocess auto expected pixels of shape"
            " (n, height, width), with or without channels"
        )
    return images


def _check_shape(source: str, images: np.ndarray, input_shape: tuple[int, ...]) -> None:
    if images.shape[1:] != input_shape:
        raise UserError(
            f"{source}: the images have shape {images.shape[1:]}; expected {input_shape}, the network's input shape"
        )


def _check_dtype(source: str, dtype: np.dtype, *, expects_pixels: bool) -> None:
    """Check that images are uint8 pixels or floats, as the network expects.

    Raises:
        UserError: they are not.
    """
    is_pixels = dtype == np.uint8
    if is_pixels != expects_pixels:
        kinds = {True: "uint8 pixels", False: "floats"}
        raise UserError(
            f"{source}: contains {kinds[is_pixels]}; expected {kinds[expects_pixels]}, which the network was trained on"
        )
