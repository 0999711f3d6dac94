"""Renders MNIST digits as photographs of ink on paper; every picture depends only on its arguments and the seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

Color = tuple[float, float, float]
WHITE: Color = (250, 250, 250)


class Scene(NamedTuple):
    """How a digit is written and photographed.

    Attributes:
        side: the height of the picture in pixels; its width differs by the factor `aspect`.
        digit: the height of MNIST's frame of 28 pixels in the picture, as a share of `side`.
        aspect: width / height.
        ink, paper: colors from 0 to 255.
        light: none, gradient, vignette, shadow (over half of the picture) or lamp (a bright spot).
        noise: the standard deviation of the noise, on the scale of 0 to 255.
        stroke: thin, as written, or thick.
        offset: how far the digit may lie from the center, as a share of the free room.
        ruled: whether the paper has ruled lines.
        squared: whether the paper has a grid of squares.
        table: whether a dark table is visible at one edge of the picture.
        blur: the radius of the blur in thousandths of `side`.
    """

    side: int = 400
    digit: float = 0.7
    aspect: float = 1.0
    ink: Color = (20, 20, 20)
    paper: Color = WHITE
    light: str = "none"
    noise: float = 0.0
    stroke: str = "as written"
    offset: float = 0.0
    ruled: bool = False
    squared: bool = False
    table: bool = False
    blur: float = 0.0


LEVEL = {"thin": 0.72, "as written": 0.5, "thick": 0.2}  # of gray at which the edge of a stroke is drawn


def coverage(digit: np.ndarray, size: int, stroke: str) -> np.ndarray:
    """Return how much of each pixel is covered by ink, (size, size) from 0 to 1, of an MNIST digit (28, 28) uint8."""
    smooth = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    radius = size / 28 * (0.6 if stroke == "thick" else 0)
    gray = np.asarray(smooth.filter(ImageFilter.GaussianBlur(radius)), np.float64) / 255
    return (
        np.clip((gray - LEVEL[stroke]) * size / 28 + 0.5, 0, 1).astype(np.float32)
        if size > 28
        else gray.astype(np.float32)
    )


def lighting(kind: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return the brightness of the light at each pixel, (height, width), at most 1."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)  # from about -0.5 to 0.5
    radius = (x - 0.5) ** 2 + (y - 0.5) ** 2
    if kind == "gradient":
        return 0.65 + 0.7 * np.clip(across, -0.5, 0.5)
    if kind == "vignette":
        return 1 - 1.3 * radius
    if kind == "lamp":
        return 0.4 + 0.6 * np.exp(-8 * ((x - rng.uniform(0, 1)) ** 2 + (y - rng.uniform(0, 1)) ** 2))
    if kind == "shadow":
        return 1 - 0.5 / (1 + np.exp(-(across - rng.uniform(-0.15, 0.15)) / 0.01))
    return np.ones((height, width))


def render(digit: np.ndarray, scene: Scene, seed: int) -> Image.Image:
    """Draw one MNIST digit (28, 28) uint8 as an RGB picture."""
    rng = np.random.default_rng(seed)
    height, width = scene.side, max(1, round(scene.side * scene.aspect))
    size = max(1, round(min(height, width) * scene.digit))
    room = np.array([height - size, width - size])
    top, left = np.rint(room / 2 * (1 + scene.offset * rng.uniform(-1, 1, 2))).astype(int)
    ink = np.asarray(
        Image.fromarray(coverage(digit, size, scene.stroke)).crop((-left, -top, width - left, height - top))
    )
    color = np.array(scene.paper) * np.ones((height, width, 1))
    pitch = max(4, round(0.11 * height))
    thickness = max(1, height // 250)
    for axis in range(scene.ruled + 2 * scene.squared):
        lines = np.arange((height, width)[axis]) % pitch < thickness
        where = lines[:, None, None] if axis == 0 else lines[None, :, None]
        color = np.where(where, 0.75 * color + 0.25 * np.array((70, 110, 190)), color)
    color = color * (1 - ink[..., None]) + np.array(scene.ink) * ink[..., None]
    if scene.table:
        edge = round(0.1 * width) + np.arange(height) * 0.04  # slightly askew
        color[np.arange(width)[None, :] < edge[:, None]] = (70, 45, 30)
    color = color * lighting(scene.light, height, width, rng)[..., None]
    color += rng.normal(0, scene.noise, color.shape) if scene.noise else 0
    picture = Image.fromarray(np.clip(np.rint(color), 0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(scene.blur * scene.side / 1000)) if scene.blur else picture


def fifty(images: np.ndarray) -> np.ndarray:
    """Return the fixed choice of fifty test images."""
    return images[np.random.default_rng(7).permutation(len(images))[:50]]


BLUE, RED, PENCIL, GREEN, ORANGE = (35, 50, 150), (200, 40, 40), (125, 125, 128), (30, 120, 60), (240, 140, 40)
YELLOWISH, GRAY, CRAFT = (244, 232, 196), (190, 190, 192), (190, 150, 105)
BOARD, BLACK, CHALK = (35, 70, 50), (25, 25, 28), (225, 228, 220)

CONDITIONS: dict[str, Scene] = {
    "28 pixels": Scene(28, 1.0),
    "40 pixels": Scene(40, 0.9),
    "100 pixels": Scene(100),
    "400 pixels": Scene(400),
    "2,000 pixels": Scene(2000),
    "cropped tightly": Scene(300, 1.25),
    "small on a large sheet": Scene(1200, 0.15, aspect=1.4, offset=0.8),
    "off center, portrait": Scene(600, 0.6, aspect=0.75, offset=1.0),
    "gradient": Scene(light="gradient"),
    "vignette": Scene(light="vignette"),
    "lamp": Scene(light="lamp", digit=0.5),
    "noise": Scene(noise=12),
    "strong noise": Scene(noise=30),
    "blurred": Scene(blur=6),
    "blue ink": Scene(ink=BLUE),
    "red ink": Scene(ink=RED, paper=YELLOWISH),
    "orange ink": Scene(ink=ORANGE),
    "pencil": Scene(ink=PENCIL, paper=GRAY, noise=4),
    "yellowish paper": Scene(paper=YELLOWISH),
    "wrapping paper": Scene(paper=CRAFT, ink=BLUE, light="gradient"),
    "thin strokes": Scene(stroke="thin"),
    "thick strokes": Scene(stroke="thick"),
    "chalk on a board": Scene(ink=CHALK, paper=BOARD, noise=6),
    "chalk in uneven light": Scene(ink=CHALK, paper=BLACK, light="gradient", noise=4),
    "red chalk on green": Scene(ink=(210, 70, 60), paper=(30, 100, 60)),
    "shadow over half": Scene(light="shadow", digit=0.5),
    "edge of a table": Scene(table=True, digit=0.5, light="gradient"),
    "ruled paper": Scene(1000, ruled=True, digit=0.4),
    "squared paper": Scene(1000, squared=True, digit=0.4),
    "everything": Scene(1500, 0.4, 1.33, BLUE, YELLOWISH, "gradient", 6, offset=0.7, blur=1),
}


def rotated(picture: Image.Image, orientation: int) -> Image.Image:
    """Return the picture as a camera stores it that writes the EXIF tag `orientation`, from 1 to 8."""
    undo: Sequence[Image.Transpose | None] = (
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    )
    method = undo[orientation - 1]
    return picture if method is None else picture.transpose(method)
