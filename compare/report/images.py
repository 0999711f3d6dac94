"""Test images, embedded in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from minigrad.datasets import Dataset

from ..results.schema import Digit


@dataclass(frozen=True)
class TestImage:
    """One test image.

    Attributes:
        index: its index in the test set.
        label: the number or the name of its class.
        answers: (number or name of the predicted class, titles of the contenders that predict it) pairs.
        uri: the image as a data: URI.
    """

    index: int
    label: str
    answers: list[tuple[str, str]]
    uri: str


def embed(digits: list[Digit], data: Dataset, titles: Mapping[str, str]) -> list[TestImage]:
    """Return the images of a list of `results["digits"]`; empty if the data are not images."""
    if not drawable(data):
        return []
    names = data.class_names or tuple(map(str, range(data.classes)))
    return [
        TestImage(
            digit["index"],
            names[digit["label"]],
            [(names[answer], who) for answer, who in _answers(digit["answers"], titles)],
            uri(data.test.images[digit["index"]]),
        )
        for digit in digits
    ]


def drawable(data: Dataset) -> bool:
    """Return whether a sample is an image: (height, width), or (height, width, channels) with 1 or 3 channels."""
    shape = data.input_shape
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def uri(image: np.ndarray) -> str:
    """Return an image as a PNG in a data: URI. Floats are scaled from their minimum and maximum to 0 and 255."""
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) / ((high - low) or 1) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _answers(answers: Mapping[str, int], titles: Mapping[str, str]) -> list[tuple[int, str]]:
    """Group contenders by their prediction; "all" if they all predict the same."""
    by_class: dict[int, list[str]] = {}
    for name, answer in answers.items():
        by_class.setdefault(answer, []).append(titles[name])
    unanimous = len(answers) > 1 and len(by_class) == 1
    return [(answer, "all" if unanimous else ", ".join(names)) for answer, names in sorted(by_class.items())]
