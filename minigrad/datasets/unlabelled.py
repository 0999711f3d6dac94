"""Images to predict: as many sources as `load` knows, and folders of pictures."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..runs.errors import UserError
from ..runs.files import expand
from . import checks, csv, idx, npz

PICTURES = (".png", ".jpg", ".jpeg")
# Pillow's modes by the number of channels that a network takes.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Unlabelled(NamedTuple):
    """Images, (n, *input_shape) uint8 or float32, and the file of each where they came from files of their own."""

    names: list[str] | None
    images: np.ndarray


def load_images(path: str | Path, input_shape: tuple[int, ...], input_scale: float) -> Unlabelled:
    """Load images without labels, as a trained network takes them.

    Args:
        path: `mnist` (its test images); an .npz with x_test, images or x, or
            with a single array, or an .npy; a .csv of pixels, in which columns
            with labels and an index are ignored; a PNG or JPEG, or a folder of
            them, in the order of their names; a folder with Kaggle's
            mnist_test.csv or IDX files, of which the test images are taken.
        input_shape: what one image must be. Pictures turn grey or coloured
            as it says, and are never resized.
        input_scale: 1/255 if the network takes uint8 pixels, 1 if floats.

    Raises:
        UserError: the file or a value in it can't be used; the sentence says which.
    """
    where = npz.MNIST if str(path) == "mnist" else expand(path)
    try:
        there = where.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte
        raise UserError(f"data.path: {str(path)!r} can't be a path; expected images to predict") from error
    if not there:
        raise UserError(f"data.path: {path} does not exist; expected mnist, an .npz, a .csv, a picture or a folder")
    names, what, array = _read(where, input_shape)
    found = f"{path}: {what}" if what else f"{path}"
    images = checks.images(found, array)
    if images.shape[1:] != input_shape:
        raise UserError(f"{found}: images of shape {images.shape[1:]}; expected {input_shape}, which the network takes")
    if (images.dtype == np.uint8) != (input_scale != 1):
        kinds = ("uint8 pixels", "floats")
        given, taken = kinds if images.dtype == np.uint8 else kinds[::-1]
        raise UserError(f"{found}: {given}; expected {taken}, which the network was trained on")
    return Unlabelled(names, images)


def _read(path: Path, input_shape: tuple[int, ...]) -> tuple[list[str] | None, str, np.ndarray]:
    """The pictures' names if they are pictures, what the array is called in its file, and the array."""
    if path.is_dir():
        table, images = path / csv.FILES["test"], idx.find_one(path, "x_test")
        if images:
            return None, images.name, idx.read(images)
        if table.exists():
            return None, table.name, csv.read_pixels(table, math.prod(input_shape)).reshape(-1, *input_shape)
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith("."))
        if not files:
            raise UserError(
                f"data.path: the folder {path} holds no pictures; expected {', '.join(PICTURES)}, {table.name} or IDX files"
            )
        return [file.name for file in files], "", np.stack([_picture(file, input_shape) for file in files])
    if path.suffix.lower() in PICTURES:
        return [path.name], "", _picture(path, input_shape)[None]
    if path.suffix.lower() == ".csv":
        return None, "", csv.read_pixels(path, math.prod(input_shape)).reshape(-1, *input_shape)
    return None, *npz.read_images(path)


def _picture(path: Path, input_shape: tuple[int, ...]) -> np.ndarray:
    """One picture as uint8 of `input_shape`, (height, width) or (height, width, channels).

    Raises:
        UserError: it is no picture, of another size or deeper than 8 bits, or the network takes no pictures.
    """
    from PIL import Image

    mode = MODES.get(input_shape[2] if len(input_shape) == 3 else 1) if len(input_shape) in (2, 3) else None
    if mode is None:
        raise UserError(f"{path}: is a picture; expected arrays of shape {input_shape}, which the network takes")
    height, width = input_shape[:2]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is refused below
            picture = Image.open(path, formats=("PNG", "JPEG"))
        with picture:
            if picture.size != (width, height):
                raise UserError(
                    f"{path}: {picture.width}x{picture.height} pixels (width x height); expected {width}x{height},"
                    " which the network takes"
                )
            if picture.mode[0] in "IF":
                raise UserError(f"{path}: has more than 8 bits a pixel; expected 8")
            # Without its alpha, black ink on nothing would be a black square.
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
            if mode != "RGBA" and alpha.min() < 255:
                raise UserError(f"{path}: has transparent pixels; expected none, as the network takes none")
            return np.asarray(picture.convert(mode)).reshape(input_shape)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: can't be read; expected a whole PNG or JPEG") from error
