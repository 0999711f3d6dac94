"""Reads picture files: any size, color mode and depth as 8 bits per channel, or strictly what the network expects."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..runs.errors import UserError
from ..runs.foreign import parsing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
UNSUPPORTED = (".heic", ".heif", ".avif", ".jxl", ".svg", ".pdf", ".dng")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MANY_FRAMES = ("PNG", "GIF", "TIFF", "WEBP")  # a JPEG with further frames holds previews
# Pillow's modes by the number of channels in the network's input.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
MAX_PIXELS = 120_000_000  # per picture; a PNG of this size takes about 1 GB of memory
SIDE = 1_500  # pixels; larger pictures are reduced while they are read
ORIENTATION = 0x0112  # the EXIF tag
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # the weights of red, green and blue (ITU-R 601-2)


class Picture(NamedTuple):
    """The content of a picture file.

    Attributes:
        pixels: (height, width) gray, (height, width, 3) RGB or (height, width, 4) RGBA, uint8.
        is_rotated: whether its EXIF tag rotated or mirrored it.
        has_frames: whether the file has further frames, which are ignored.
    """

    pixels: np.ndarray
    is_rotated: bool = False
    has_frames: bool = False


def find(path: Path) -> list[Path] | None:
    """Return the picture file `path`, or the pictures in the folder `path` sorted by name; None if `path` is neither.

    Raises:
        UserError: a picture has a format that cannot be read.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if is_picture(file)] or None


def is_picture(path: Path) -> bool:
    """Return whether a file has the suffix of a picture and is not hidden.

    Raises:
        UserError: it has the suffix of a format that cannot be read.
    """
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return False
    if suffix in UNSUPPORTED:
        raise UserError(f"{path}: {path.suffix} files cannot be read; expected {', '.join(SUFFIXES)}")
    return suffix in SUFFIXES


def read(path: Path) -> Picture:
    """Read a picture of any size and color mode, upright and with 8 bits per channel.

    Pictures with much more than `SIDE` pixels per side are reduced.

    Raises:
        UserError: the file is damaged or has too many pixels.
    """
    from PIL import ImageOps

    with opened(path) as image:
        has_frames = image.format in MANY_FRAMES and getattr(image, "n_frames", 1) > 1
        if image.format in ("JPEG", "MPO"):
            image.draft(None, (SIDE, SIDE))  # decodes fewer pixels
        is_rotated = image.getexif().get(ORIENTATION, 1) in range(2, 9)
        ImageOps.exif_transpose(image, in_place=True)
        eight_bits: Any = _to_8_bits(path, image) if image.mode[0] in "IF" else image
        if eight_bits.mode not in ("L", "RGB", "RGBA"):
            has_color = eight_bits.mode not in ("1", "LA", "La")
            eight_bits = eight_bits.convert("RGBA" if eight_bits.has_transparency_data else "RGB" if has_color else "L")
        if (factor := min(eight_bits.size) // SIDE) > 1:
            eight_bits = eight_bits.reduce(factor)
        return Picture(np.asarray(eight_bits), is_rotated, has_frames)


def read_exactly(path: Path, input_shape: tuple[int, ...]) -> np.ndarray:
    """Read a picture that already has the network's size, as uint8 of `input_shape`.

    Raises:
        UserError: the file is damaged, has another size, more than 8 bits per channel, transparent pixels or several
            frames.
    """
    mode = mode_of(path, input_shape)
    height, width = input_shape[:2]
    with opened(path) as image:
        if image.size != (width, height):
            raise UserError(
                f"{path}: the size is {image.width}x{image.height} pixels (width x height);"
                f" expected {width}x{height}, the network's input size"
            )
        if image.mode[0] in "IF":
            raise UserError(f"{path}: has more than 8 bits per channel; expected 8")
        if image.format in MANY_FRAMES and getattr(image, "n_frames", 1) > 1:
            raise UserError(f"{path}: has several frames; expected one")
        # Dropping the alpha channel would turn a black digit on a transparent background into a black square.
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if mode != "RGBA" and alpha.min() < 255:
            raise UserError(
                f"{path}: has transparent pixels; expected none, because the network's input has no alpha channel"
            )
        return np.asarray(image.convert(mode)).reshape(input_shape)


def mode_of(path: str | Path, input_shape: tuple[int, ...]) -> str:
    """Return Pillow's mode for the network's input, (height, width) or (height, width, channels).

    Raises:
        UserError: `input_shape` is not the shape of an image.
    """
    mode = MODES.get(input_shape[2] if len(input_shape) == 3 else 1) if len(input_shape) in (2, 3) else None
    if mode is None:
        raise UserError(f"{path}: is an image file; expected arrays of shape {input_shape}, the network's input shape")
    return mode


def on_paper(pixels: np.ndarray) -> np.ndarray:
    """Return a picture without transparency, RGB.

    Transparent pixels become paper. If most of the picture is visible, the
    paper has its median brightness. Otherwise the visible pixels are the ink:
    the paper is white for dark ink, and black for light ink.

    Args:
        pixels: (height, width), (height, width, 3) or (height, width, 4) uint8.

    Returns:
        (height, width, 3) uint8.
    """
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha, gray = pixels[..., 3:] / np.float32(255), pixels[..., :3] @ GRAY
    visible = float(alpha.mean())
    if visible > 0.5:
        paper = float(np.median(gray[alpha[..., 0] > 0.5]))
    else:
        paper = 255.0 if visible == 0 or (gray * alpha[..., 0]).mean() / visible < 128 else 0.0
    return np.rint(pixels[..., :3] * alpha + paper * (1 - alpha)).astype(np.uint8)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a picture file whose header names at most `MAX_PIXELS`.

    Raises:
        UserError: the file is damaged or has too many pixels, also while the block decodes it.
    """
    from PIL import Image

    too_large = UserError(f"{path}: has more than {MAX_PIXELS:,} pixels; expected a smaller picture")
    expected = f"a complete {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
    with parsing(path, expected, "cannot be read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a large or unusual image
        try:
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise too_large
                yield image
        except Image.DecompressionBombError as error:
            raise too_large from error


def _to_8_bits(path: Path, image: Any) -> Any:
    """Return a gray picture of 16 bits per pixel as one of 8 bits.

    Raises:
        UserError: it has floats or more than 16 bits.
    """
    from PIL import Image

    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65_535:
        raise UserError(f"{path}: has floats or more than 16 bits per channel; expected 8 or 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))
