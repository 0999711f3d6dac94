"""Reads the pictures of a data set, which all have one size, 8 bits per channel and no transparency."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..runs.errors import UserError
from .picture_files import ORIENTATION, opened

MAX_PIXELS = 4096 * 4096  # per picture; checked before a picture is decoded
MAX_BYTES = 8 * 2**30  # of all pictures together
GRAY = 3  # the largest difference between the channels of a gray pixel; lossy WebP files have differences of 1
TURNED = range(5, 9)  # values of EXIF's orientation that exchange width and height


def read_all(paths: list[Path]) -> np.ndarray:
    """Read pictures of one size.

    Args:
        paths: the files, at least one.

    Returns:
        (n, height, width) uint8 if every pixel of every picture is gray (see `GRAY`), else (n, height, width, 3).

    Raises:
        UserError: a picture cannot be read or has another size than the first one, or all together are too large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged metadata, and very large pictures, which are an error
        first = read(paths[0])
        size = first.shape[:2]
        images = _allocate(paths, size, ())
        for i, path in enumerate(paths):
            pixels = read(path, size, paths[0]) if i else first
            if pixels.ndim == images.ndim:  # the first picture with a color
                colored = _allocate(paths, size, (3,))
                colored[:i] = images[:i, ..., None]
                images = colored
            images[i] = pixels if pixels.ndim == images.ndim - 1 else pixels[..., None]
    return images


def read(path: Path, size: tuple[int, int] | None = None, model: Path | None = None) -> np.ndarray:
    """Read one picture.

    The size in the file's header is checked before the picture is decoded.

    Args:
        path: the file.
        size: the expected (height, width); None accepts any size.
        model: the file that has this size, for the message.

    Returns:
        (height, width) uint8 if all pixels are gray, else (height, width, 3).

    Raises:
        UserError: the file cannot be read, has another size, several pictures, more than 8 bits per channel, transparent
            pixels or other colors than RGB.
    """
    from PIL import ImageOps

    with opened(path) as image:
        _check_header(path, image)
        turned = image.format in ("JPEG", "TIFF") and image.getexif().get(ORIENTATION) in TURNED
        width, height = image.size[::-1] if turned else image.size
        _check_size(path, (height, width), size, model)
        return _pixels(path, ImageOps.exif_transpose(image) if image.format in ("JPEG", "TIFF") else image)


def _check_header(path: Path, image: object) -> None:
    frames, mode = getattr(image, "n_frames", 1), getattr(image, "mode", "")
    if frames != 1:
        raise UserError(f"{path}: contains {frames} pictures; expected one per file")
    if mode[0] in "IF":
        raise UserError(f"{path}: has more than 8 bits per channel; expected 8")
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX"):
        raise UserError(f"{path}: its colors are {mode}; expected gray or RGB")


def _check_size(path: Path, size: tuple[int, int], expected: tuple[int, int] | None, model: Path | None) -> None:
    height, width = size
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{path}: the size is {width}x{height} pixels; expected at most {MAX_PIXELS:,} pixels per picture"
        )
    if expected is not None and size != expected:
        raise UserError(
            f"{path}: the size is {width}x{height} pixels (width x height); expected {expected[1]}x{expected[0]},"
            f" as in {model}, because all pictures must have the same size"
        )


def _pixels(path: Path, image: object) -> np.ndarray:
    """Decode a picture as gray pixels, or as RGB if a pixel has a color."""
    mode, info = image.mode, image.info  # type: ignore[attr-defined]
    if mode in ("LA", "PA", "RGBA") or "transparency" in info:
        rgba = np.asarray(image.convert("RGBA"))  # type: ignore[attr-defined]
        if rgba[..., 3].min() < 255:
            raise UserError(
                f"{path}: has transparent pixels; expected none, because it is not known what is behind them"
            )
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))  # type: ignore[attr-defined]
    rgb = np.asarray(image.convert("RGB"))  # type: ignore[attr-defined]
    is_grey = (rgb.max(axis=2) - rgb.min(axis=2)).max() <= GRAY
    return np.asarray(image.convert("RGB").convert("L")) if is_grey else rgb  # type: ignore[attr-defined]


def _allocate(paths: list[Path], size: tuple[int, int], channels: tuple[int, ...]) -> np.ndarray:
    shape = (len(paths), *size, *channels)
    if (needed := int(np.prod(shape, dtype=object))) > MAX_BYTES:
        raise UserError(
            f"{paths[0]}: {len(paths):,} pictures of {size[1]}x{size[0]} pixels need {needed / 2**30:,.0f} GiB of memory;"
            f" expected at most {MAX_BYTES / 2**30:.0f} GiB"
        )
    return np.empty(shape, np.uint8)
