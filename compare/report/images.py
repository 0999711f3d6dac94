"""Test images as they are, in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from minigrad.datasets import Dataset


@dataclass(frozen=True)
class Picture:
    """One test image: where it is, its label, who answers what, and itself as a data: URI."""

    index: int
    label: int
    answers: list[tuple[int, str]]
    uri: str


def pictures(found: list[dict[str, Any]], data: Dataset, titles: Mapping[str, str]) -> list[Picture]:
    """Those of `results["digits"]`'s lists, or none if the data are no images."""
    if not drawable(data):
        return []
    return [
        Picture(row["index"], row["label"], _told(row["answers"], titles), uri(data.test.images[row["index"]]))
        for row in found
    ]


def drawable(data: Dataset) -> bool:
    """Whether an input is an image: (height, width) of grey, or (height, width, channels) of 1 or 3."""
    shape = data.input_shape
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def uri(image: np.ndarray) -> str:
    """A PNG; floats are stretched from their lowest to their highest."""
    pixels = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) / ((high - low) or 1) * 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _told(answers: Mapping[str, int], titles: Mapping[str, str]) -> list[tuple[int, str]]:
    """Each answer with those who gave it, "all" where there are no others."""
    by_answer: dict[int, list[str]] = {}
    for name, answer in answers.items():
        by_answer.setdefault(answer, []).append(titles[name])
    everyone = len(answers) > 1 and len(by_answer) == 1
    return [(answer, "all" if everyone else ", ".join(names)) for answer, names in sorted(by_answer.items())]
