"""Reads images without labels: from all formats of data sets, and from PNG and JPEG files."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runs.errors import UserError
from . import checks, csv, layouts, npz, pictures
from .folders import ClassFolders
from .idx_files import IdxFiles

SUFFIXES = (".png", ".jpg", ".jpeg")
# Pillow's modes by the number of channels in the network's input.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SOURCES = "mnist, digits, an .npz, .npy, .csv, PNG or JPEG file, or a folder of images"


class Unlabelled(NamedTuple):
    """Images without labels.

    Attributes:
        names: the file name of each image if each image is a file, else None.
        images: (n, *input_shape) uint8 or float32.
    """

    names: list[str] | None
    images: np.ndarray


def load_images(path: str | Path, input_shape: tuple[int, ...], input_scale: float) -> Unlabelled:
    """Load images without labels, as the input of a trained network.

    Args:
        path: one of
            - `mnist`, the test images of the data set included in the package;
            - an .npz archive with an array named x_test, images or x or with a
              single array, or an .npy file;
            - a .csv file of pixels, whose labels and row index are ignored;
            - a PNG or JPEG file;
            - a folder with mnist_test.csv or IDX files, whose test images are
              loaded, or with PNG and JPEG files, sorted by name.
        input_shape: the network's input shape. PNG and JPEG files are
            converted to its number of channels, but not resized.
        input_scale: the network's input scale: 1/255 for uint8 pixels, 1 for
            floats.

    Returns:
        The images.

    Raises:
        UserError: a file or a value in it is invalid, or does not match the network.
    """
    file = layouts.resolve(path)
    try:
        exists = file.exists() or layouts.find_test(file) is not None
    except (OSError, ValueError) as error:  # a name that is too long or contains a zero byte
        raise UserError(f"data.path: {str(path)!r} is not a valid path; expected {SOURCES}") from error
    if not exists:
        raise UserError(f"data.path: {path} does not exist; expected {SOURCES}")
    names, array_name, array = _read(file, input_shape)
    source = f"{path}: {array_name}" if array_name else f"{path}"
    images = checks.as_images(source, array)
    if images.shape[1:] != input_shape:
        raise UserError(
            f"{source}: the images have shape {images.shape[1:]}; expected {input_shape}, the network's input shape"
        )
    is_pixels, expects_pixels = images.dtype == np.uint8, input_scale != 1
    if is_pixels != expects_pixels:
        kinds = {True: "uint8 pixels", False: "floats"}
        raise UserError(
            f"{source}: contains {kinds[is_pixels]}; expected {kinds[expects_pixels]}, which the network was trained on"
        )
    return Unlabelled(names, images)


def _read(path: Path, input_shape: tuple[int, ...]) -> tuple[list[str] | None, str, np.ndarray]:
    """Return the names of PNG and JPEG files or None, the name of the array or table or an empty string, and the array."""
    source = layouts.find_test(path)
    if isinstance(source, ClassFolders):
        files = source.test_files()
        names = [file.relative_to(path).as_posix() for file in files]
        return names, "", np.stack([_image(file, input_shape) for file in files])
    if source is not None:
        return None, *(source.read_test() if isinstance(source, IdxFiles) else source.read_test(input_shape))
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not files:
            raise UserError(
                f"data.path: the folder {path} contains no images; expected {', '.join(SUFFIXES)} files,"
                " mnist_test.csv, the IDX files of MNIST, or one subfolder of pictures per class"
            )
        return [file.name for file in files], "", np.stack([_image(file, input_shape) for file in files])
    if path.suffix.lower() in SUFFIXES:
        return [path.name], "", _image(path, input_shape)[None]
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return None, "", csv.read_pixels(path, math.prod(input_shape)).reshape(-1, *input_shape)
    return None, *npz.read_images(path)


def _image(path: Path, input_shape: tuple[int, ...]) -> np.ndarray:
    """Read a PNG or JPEG file as uint8 of `input_shape`, (height, width) or (height, width, channels).

    Raises:
        UserError: the file is damaged, has another size, more than 8 bits per channel or transparent pixels, or
            `input_shape` is not the shape of an image.
    """
    from PIL import Image

    mode = MODES.get(input_shape[2] if len(input_shape) == 3 else 1) if len(input_shape) in (2, 3) else None
    if mode is None:
        raise UserError(f"{path}: is an image file; expected arrays of shape {input_shape}, the network's input shape")
    height, width = input_shape[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a very large image, which is an error below
            image = Image.open(path, formats=pictures.FORMATS)
        with image:
            if image.size != (width, height):
                raise UserError(
                    f"{path}: the size is {image.width}x{image.height} pixels (width x height);"
                    f" expected {width}x{height}, the network's input size"
                )
            if image.mode[0] in "IF":
                raise UserError(f"{path}: has more than 8 bits per channel; expected 8")
            # Dropping the alpha channel would turn a black digit on a transparent background into a black square.
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
            if mode != "RGBA" and alpha.min() < 255:
                raise UserError(
                    f"{path}: has transparent pixels; expected none, because the network's input has no alpha channel"
                )
            return np.asarray(image.convert(mode)).reshape(input_shape)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read; expected a complete PNG or JPEG file") from error
