"""Turns a photograph of a digit into an image like those of MNIST.

The steps, each a function: find the contrast between ink and paper, whatever
the light (`contrast`); choose the threshold (`otsu`); keep the strokes of the
digit and drop specks, table edges and lines (`components`, `digit_mask`);
repeat on the part of the picture that shows the digit; scale the strokes and
put their center of mass at the center (`place`).

Brightness is a product of light and reflectance. So two brightnesses are
compared by their ratio, which does not depend on the light.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .picture_files import GRAY

WORKING_SIDE = 256  # pixels; the digit fills about half of them after the picture has been cropped
LIGHT_SIDE = 64  # pixels; the light varies slowly
STROKE = 0.4  # of the longer side: no stroke is wider
DARK = 12.0  # is added to both brightnesses of a ratio, because dark pixels are mostly noise
MIN_CONTRAST = 0.06  # of ink and paper
MAX_INK = 0.4  # of the pixels
# Noise, the light of a lamp and ruled lines are divided into two classes that explain little of the variance. Noise has
# two large classes, and the others have little contrast.
MAX_INK_IN_NOISE, MIN_EXPLAINED = 0.25, 0.78
FAINT, MIN_EXPLAINED_IF_FAINT = 0.2, 0.84
FULL_SIDE = 0.9  # of a border of the picture; what covers more of it is not a digit
THIN = 0.05  # of its length: the width of a line across the whole picture that is not a digit
OUTLINE = 0.15  # of its box: the area of a ring that is the edge of a sheet, and not a zero
MIN_SHARE = 0.1  # of the largest component in all ink; noise has many components of similar size
MAX_PARTS = 20  # components are examined
MIN_PART = 0.05  # of the area of the largest component; smaller ones are specks
MAX_GAP = 0.25  # between the parts of a digit, as a share of the longer side of the largest one
DIGIT = 20 / 28  # the longer side of an MNIST digit, as a share of the image's


class Digit(NamedTuple):
    """A digit found in a photograph.

    Attributes:
        image: (height, width) uint8, light on dark.
        is_inverted: whether the ink was darker than the paper.
        is_alone: False if the photograph seems to show several digits.
    """

    image: np.ndarray
    is_inverted: bool
    is_alone: bool


class NoInkError(ValueError):
    """A picture in which no ink can be told from the paper."""


def prepare(picture: np.ndarray, height: int, width: int) -> Digit:
    """Return the digit in a photograph as an image like those of MNIST.

    Args:
        picture: (h, w, 3) uint8, of any size.
        height: the height of the network's input.
        width: its width.

    Raises:
        NoInkError: the picture is blank, or nothing in it stands out.
    """
    is_alone = True
    for _ in range(3):  # a small digit on a large sheet is found in the first round, and seen well in the last
        small = shrink(picture, WORKING_SIDE)
        values, is_inverted = contrast(small)
        ink, mask, is_only = separate(values, is_inverted)
        is_alone = is_alone and is_only
        rows, columns = (span(np.any(mask, axis=axis), margin=0.5) for axis in (1, 0))
        scale = np.array(picture.shape[:2]) / small.shape[:2]
        cropped = picture[scaled(rows, scale[0]), scaled(columns, scale[1])]
        if max(cropped.shape) > 0.7 * max(picture.shape):
            break
        picture = cropped
    return Digit(place(ink, height, width), is_inverted, is_alone)


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture (h, w, channels) uint8 whose longer side is at most `side`, by averaging, which removes noise."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return picture
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def contrast(picture: np.ndarray) -> tuple[np.ndarray, bool]:
    """Compute how much each pixel differs from the paper around it.

    Args:
        picture: (h, w, 3) uint8.

    Returns:
        (h, w) float32 from 0 (paper) to 1, and whether the ink is darker than the paper.
    """
    channel = clearest_channel(picture)
    small = coarse(channel)
    is_dark = ink_is_dark(small)
    sign = 1 if is_dark else -1
    paper = sign * enlarged(closing(sign * small), channel.shape)
    channel = channel.astype(np.float32)
    return (ratio(channel, paper) if is_dark else ratio(paper, channel)), is_dark


def coarse(channel: np.ndarray) -> np.ndarray:
    """Return a channel (h, w) uint8 at a low resolution, float32, in which there is little noise."""
    return shrink(channel, min(LIGHT_SIDE, -(-max(channel.shape) // 2))).astype(np.float32)


def clearest_channel(picture: np.ndarray) -> np.ndarray:
    """Return gray, red, green or blue, whichever shows most contrast: (h, w, 3) -> (h, w) uint8.

    Red chalk on a green board has almost the brightness of the board.
    """
    gray = np.rint(picture @ GRAY).astype(np.uint8)
    channels = [gray, *np.moveaxis(picture, -1, 0)]
    clarity = []
    for channel in channels:
        small = coarse(channel)
        clarity.append(ratio(-closing(-small), closing(small)).mean())
    clarity[0] *= 1.5  # it has less noise than the others
    return channels[int(np.argmax(clarity))]


def ratio(darker: np.ndarray, lighter: np.ndarray) -> np.ndarray:
    """Return 1 - darker / lighter, at least 0."""
    return np.clip(1 - (darker + DARK) / (lighter + DARK), 0, 1)


def ink_is_dark(small: np.ndarray) -> bool:
    """Return whether the ink is darker than the paper: around strokes, there is less ink than paper."""
    radius = max(1, round(STROKE * max(small.shape) / 2))
    padded = np.pad(small, radius, mode="edge")
    lightest, darkest = largest(padded, radius), -largest(-padded, radius)
    return bool(ratio(small, lightest).sum() <= ratio(darkest, small).sum())


def closing(small: np.ndarray) -> np.ndarray:
    """Return the morphological closing of a picture (h, w), the brightness that paper would have at each pixel.

    It fills everything dark that is narrower than the widest stroke, and does
    not change gradients and shadows.
    """
    radius = max(1, round(STROKE * max(small.shape) / 2))
    padded = np.pad(small, 2 * radius, mode="edge")
    return -largest(-largest(padded, radius), radius)


def enlarged(small: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture (h, w) float32 in a larger size, by linear interpolation."""
    from PIL import Image

    return np.asarray(Image.fromarray(small).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def largest(image: np.ndarray, radius: int) -> np.ndarray:
    """Return the largest value in the square around each pixel; the result is smaller by `radius` on each side."""
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(image, 2 * radius + 1, axis=axis)
        image = windows.max(axis=-1)
    return image


def otsu(values: np.ndarray) -> tuple[float, float, float]:
    """Divide values from 0 to 1 into two classes with the largest variance between them (Otsu, 1979).

    Returns:
        The threshold, and the mean of the values below and above it.
    """
    counts, edges = np.histogram(values, bins=256, range=(0, 1))
    centers = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * centers)
    above = below[-1] - below
    low, high = total / np.maximum(below, 1), (total[-1] - total) / np.maximum(above, 1)
    best = int(np.argmax(below * above * (high - low) ** 2))
    return float(edges[best + 1]), float(low[best]), float(high[best])


def separate(values: np.ndarray, is_dark: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Divide a picture into ink and paper.

    A pixel at the edge of a stroke is a mixture of ink and paper. Its ratio to
    the paper is a linear function of the share of ink if the ink is dark. If
    the ink is light, this is true for the inverse of the ratio.

    Args:
        values: the contrast with the paper, (h, w) float32, as `contrast` returns it.
        is_dark: whether the ink is darker than the paper.

    Returns:
        The ink of the digit, (h, w) float32 from 0 to 1; the pixels of the digit, (h, w) bool; and whether it is alone.

    Raises:
        NoInkError: no ink can be told from the paper.
    """
    threshold, paper, full = otsu(values)
    share, difference = float((values > threshold).mean()), full - paper
    explained = share * (1 - share) * difference**2 / max(float(values.var()), 1e-12)
    is_noise = share > MAX_INK_IN_NOISE and explained < MIN_EXPLAINED
    is_light = difference < FAINT and explained < MIN_EXPLAINED_IF_FAINT
    if difference < MIN_CONTRAST or share > MAX_INK or is_noise or is_light:
        raise NoInkError
    is_ink = values > threshold
    mask, is_alone = digit_mask(is_ink)
    near = largest(np.pad(mask, 1), 1) > 0  # the soft edge of a stroke lies below the threshold
    if not is_dark:
        values = 1 / (1 - values)
        paper, difference = values[~is_ink].mean(), values[is_ink].mean() - values[~is_ink].mean()
    return np.clip((values - paper) / difference, 0, 1) * near, mask, is_alone


def components(mask: np.ndarray) -> np.ndarray:
    """Number the connected components of a mask; pixels are connected to their eight neighbors.

    Each pixel takes the largest number around it. Then it takes the number of
    the pixel that has this number as its index, which soon reaches far.

    Args:
        mask: (h, w) bool.

    Returns:
        (h, w) int64: 0 outside the mask, and one number per component.
    """
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        spread = np.where(mask, largest(np.pad(labels, 1), 1), 0)
        spread = np.concatenate([[0], spread.ravel()])[spread]
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def digit_mask(mask: np.ndarray) -> tuple[np.ndarray, bool]:
    """Keep the components that belong to the digit: the largest one, and parts of a broken stroke near it.

    Components along a whole side of the picture, such as a table, and thin
    lines across it are never used. Others at the border are used only if there
    is nothing else. Of the thin outline of a sheet, only the content is used.

    Args:
        mask: the pixels of ink, (h, w) bool.

    Returns:
        The pixels of the digit, (h, w) bool, and whether there is only one digit.

    Raises:
        NoInkError: there are only specks.
    """
    labels = components(mask)
    sides = labels[0], labels[-1], labels[:, 0], labels[:, -1]
    mask = mask & ~np.isin(labels, [*along_a_side(sides), *thin_lines(labels)])
    if not mask.any():
        raise NoInkError
    numbers, areas = np.unique(labels[mask], return_counts=True)
    is_inside = ~np.isin(numbers, np.concatenate(sides))
    if areas[is_inside].max(initial=0) >= 0.1 * areas.max():
        numbers, areas = numbers[is_inside], areas[is_inside]
    order = np.argsort(-areas, kind="stable")[:MAX_PARTS]
    numbers, areas = numbers[order], areas[order]
    if areas[0] < MIN_SHARE * np.count_nonzero(mask):
        raise NoInkError
    numbers, areas = numbers[areas >= MIN_PART * areas[0]], areas[areas >= MIN_PART * areas[0]]
    boxes = np.stack([box(labels == number) for number in numbers])
    is_thin = areas < OUTLINE * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    rings = [k for k in np.flatnonzero(is_thin) if any(is_around(labels == numbers[k], inner) for inner in boxes[:2])]
    numbers, areas, boxes = (np.delete(array, rings, axis=0) for array in (numbers, areas, boxes))
    starts, ends = boxes[:, :2], boxes[:, 2:]  # (components, 2)
    lengths = (ends - starts).max(axis=1)
    gaps = np.maximum(starts - ends[0], starts[0] - ends).max(axis=1)
    digit = np.isin(labels, numbers[gaps <= MAX_GAP * lengths[0]])
    is_similar = (areas >= 0.25 * areas[0]) & (abs(np.log(lengths / lengths[0])) <= np.log(1.7))
    is_beside = (starts[:, 1] >= ends[0, 1]) | (ends[:, 1] <= starts[0, 1])
    is_alone = not (is_similar & is_beside).any()
    return digit, is_alone


def along_a_side(sides: Sequence[np.ndarray]) -> list[int]:
    """Return the numbers of the components that cover most of a side of the picture."""
    counts = [np.bincount(side) for side in sides]
    return [
        int(count.argmax()) for side, count in zip(sides, counts, strict=True) if count.max() >= FULL_SIDE * len(side)
    ]


def thin_lines(labels: np.ndarray) -> list[int]:
    """Return the numbers of the components that are thin and reach from one side of the picture to the opposite one."""
    areas = np.bincount(labels.ravel())
    return [
        int(number)
        for first, last, length in (
            (labels[0], labels[-1], len(labels)),
            (labels[:, 0], labels[:, -1], labels.shape[1]),
        )
        for number in np.intersect1d(first, last)
        if areas[number] < THIN * length**2
    ]


def is_around(mask: np.ndarray, inner: np.ndarray) -> bool:
    """Return whether a mask has pixels above, below, left and right of a box, as `box` returns it."""
    top, left, bottom, right = inner
    row, column = mask[(top + bottom) // 2], mask[:, (left + right) // 2]
    return bool(row[:left].any() and row[right:].any() and column[:top].any() and column[bottom:].any())


def box(mask: np.ndarray) -> np.ndarray:
    """Return the bounding box of a mask: first row, first column, and the ends of both."""
    rows, columns = (span(np.any(mask, axis=axis), margin=0) for axis in (1, 0))
    return np.array([rows.start, columns.start, rows.stop, columns.stop])


def span(occupied: Any, margin: float) -> slice:
    """Return the range of the True values, extended by `margin` times its length on both sides."""
    indices = np.flatnonzero(occupied)
    first, last = int(indices[0]), int(indices[-1]) + 1
    more = round(margin * (last - first))
    return slice(max(0, first - more), min(len(occupied), last + more))


def scaled(part: slice, factor: float) -> slice:
    """Return a range of the small picture as a range of the full one."""
    return slice(int(part.start * factor), int(np.ceil(part.stop * factor)))


def place(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale the strokes and put their center of mass at the center, as described for MNIST.

    Args:
        ink: (h, w) float32 from 0 to 1.
        height: the height of the image.
        width: its width.

    Returns:
        (height, width) uint8.
    """
    from PIL import Image

    top, left, bottom, right = box(ink > 0.25)
    crop = ink[top:bottom, left:right]
    scale = DIGIT * min(height, width) / max(crop.shape)
    size = [max(1, round(scale * side)) for side in crop.shape]
    resized = Image.fromarray(crop).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    digit = np.clip(np.asarray(resized), 0, 1)
    digit = digit / max(float(digit.max()), 1e-6)
    canvas = np.zeros((3 * height, 3 * width), np.float32)
    centers = [digit.sum(axis=1 - axis) @ np.arange(digit.shape[axis]) / digit.sum() for axis in (0, 1)]
    top, left = (round(1.5 * side - float(center)) for side, center in zip((height, width), centers, strict=True))
    canvas[top : top + size[0], left : left + size[1]] = digit
    return np.rint(255 * canvas[height : 2 * height, width : 2 * width]).astype(np.uint8)
