"""Brings pictures into the form of the training images, and reports in one line what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import numpy as np

from ..runs.errors import UserError
from . import photographs, picture_files
from .mnist_like import are_centered
from .picture_files import Picture

LISTED = 5  # names per message

NOT_CENTERED = "not inverted or centered, because the network's training images were not light digits at the center"
UNKNOWN = (
    "not inverted or centered, because the weights file does not say whether the training images were, like those of an"
    " earlier version; train with the same recipe, --model.weights and --trainer.max_epochs 0 to write one that does"
)


def preprocess(
    source: str, pictures: Iterable[tuple[str, Picture]], input_shape: tuple[int, ...], mnist_like: bool | None
) -> np.ndarray:
    """Convert pictures to the network's input, and print what was done.

    Args:
        source: the path of the pictures, for messages.
        pictures: the name and the content of each.
        input_shape: (height, width) or (height, width, channels).
        mnist_like: whether the network was trained on images like those of MNIST; None if that is not known.

    Returns:
        (n, *input_shape) uint8.

    Raises:
        UserError: the network's input is not an image, or no ink is found in some pictures.
    """
    mode = picture_files.mode_of(source, input_shape)
    height, width = input_shape[:2]
    images: list[np.ndarray] = []
    steps: dict[str, list[str]] = {}  # the names of the pictures by what was done with them
    for name, picture in pictures:
        pixels = picture.pixels
        done = ["rotated"] * picture.is_rotated + ["frames"] * picture.has_frames
        if mnist_like and pixels.shape[:2] == (height, width) and are_centered(_gray(pixels)[None])[0]:
            image = _gray(pixels)
            done += ["gray"] * (pixels.ndim == 3)
        elif mnist_like:
            image, more = _photographed(pixels, height, width)
            done += more
        else:
            image, more = _resized(pixels, mode, height, width)
            done += more
        for step in done or ["unchanged"]:
            steps.setdefault(step, []).append(name)
        images.append(image.reshape(input_shape))
    if blank := steps.get("blank"):
        raise UserError(
            f"{source}: no digit can be told from the background in {_listed(blank)}; expected a digit in each picture,"
            " or --preprocess none for images that are already prepared"
        )
    _report(len(images), steps, mnist_like, f"{width}x{height}")
    return np.stack(images)


def _gray(pixels: np.ndarray) -> np.ndarray:
    """Return a picture in gray, (height, width) uint8, with transparent pixels as paper."""
    return pixels if pixels.ndim == 2 else np.rint(picture_files.on_paper(pixels) @ picture_files.GRAY).astype(np.uint8)


def _photographed(pixels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Return the digit of a photograph, light on dark at the center, and what was done."""
    try:
        digit = photographs.prepare(picture_files.on_paper(pixels), height, width)
    except photographs.NoInkError:
        return np.zeros((height, width), np.uint8), ["blank"]
    done = ["gray"] * (pixels.ndim == 3) + ["inverted"] * digit.is_inverted + ["centered"]
    return digit.image, done + ["several"] * (not digit.is_alone)


def _resized(pixels: np.ndarray, mode: str, height: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Return a picture in another mode and size, and what was done."""
    from PIL import Image

    done = []
    if pixels.ndim == 3 and pixels.shape[2] == 4 and mode != "RGBA":
        if (pixels[..., 3] < 255).any():
            done.append("opaque")
        pixels = picture_files.on_paper(pixels)
    image = Image.fromarray(pixels)
    if image.mode != mode:
        done.append("gray" if mode == "L" else "color")
        image = image.convert(mode)
    if image.size != (width, height):
        done.append("resized")
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image), done


def _report(count: int, steps: dict[str, list[str]], mnist_like: bool | None, size: str) -> None:
    """Print one line about all pictures, and a warning that names those with several digits."""
    texts = {
        "gray": "converted to gray",
        "color": "converted to the network's colors",
        "inverted": "inverted",
        "centered": "cropped and centered",
        "resized": f"resized to {size}",
        "opaque": "put on paper instead of transparency",
        "rotated": "rotated by the EXIF tag",
        "frames": "used without their further frames",
        "unchanged": "left unchanged",
    }
    done = [(len(steps[key]), text) for key, text in texts.items() if key in steps]
    of_all = [text for number, text in done if number == count]
    of_some = [f"{number:,} {text}" for number, text in done if number < count]
    parts = [", ".join(of_all), *of_some]
    if not mnist_like and set(steps) != {"unchanged"}:
        parts.append(UNKNOWN if mnist_like is None else NOT_CENTERED)
    print(f"{count:,} picture{'s' if count > 1 else ''}: {'; '.join(filter(None, parts))}")
    if several := steps.get("several"):
        print(
            f"warning: {_listed(several)}: seem{'s' if len(several) == 1 else ''} to show several digits;"
            " expected one digit per picture",
            file=sys.stderr,
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more:,} more" if more > 0 else "")
