"""Draws `confusion.png`, the confusion matrix, and `mistakes.png`, the most confident misclassifications."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import folder
from .files import whole_file
from .metrics import log_softmax

COLUMNS, ROWS = 10, 4  # of mistakes.png
MAX_NUMBERED_CLASSES = 20  # with more classes, the cells are too small for numbers
MAX_NAMED_CLASSES = 64  # with more classes, not every class has a tick
AXIS_NAME, TITLE_NAME = 20, 13  # maximum lengths of class names in confusion.png and mistakes.png
CORRECT_COLOR, WRONG_COLORS = "#eceff3", "Reds"


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return the confusion matrix.

    Args:
        labels: (n,) int64.
        predictions: the predicted classes, (n,) int64.
        classes: the number of classes.

    Returns:
        The number of images with label i and prediction j, (classes, classes) int64.
    """
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def draw(
    out: Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str] = ()
) -> list[Path]:
    """Draw both pictures into a run folder.

    mistakes.png is drawn only if there are misclassified images that can be
    shown. Otherwise an existing mistakes.png is deleted.

    Args:
        out: the run folder.
        images: the tested images, (n, height, width), (n, height, width, channels) or vectors, uint8 or float32.
        labels: (n,) int64.
        logits: (n, classes) floats.
        class_names: the name of each class; empty shows numbers.

    Returns:
        The paths of the pictures.
    """
    paths = [out / folder.CONFUSION]
    predictions = logits.argmax(1)
    draw_confusion(paths[0], confusion(labels, predictions, logits.shape[1]), class_names)
    can_be_shown = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))
    if can_be_shown and (predictions != labels).any():
        paths.append(out / folder.MISTAKES)
        draw_mistakes(paths[1], images, labels, logits, class_names)
    else:
        (out / folder.MISTAKES).unlink(missing_ok=True)  # from an earlier test of the same run
    return paths


def draw_confusion(path: Path, counts: np.ndarray, class_names: Sequence[str] = ()) -> None:
    """Draw a confusion matrix: correct predictions in gray, wrong ones in red, with counts for up to 20 classes.

    Args:
        path: the PNG file to write.
        counts: the matrix, as returned by `confusion`.
        class_names: the name of each class; empty shows numbers.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    classes = len(counts)
    diagonal = np.eye(classes, dtype=bool)
    names = [short(name, AXIS_NAME) for name in class_names]
    margin = 0.08 * max(map(len, names), default=0)  # inches for names beside the axes
    side = min(9.0, max(4.2, 0.55 * classes + 1.2)) + margin
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.where(diagonal, 0.0, np.nan), cmap=ListedColormap([CORRECT_COLOR]))
    wrong = np.ma.masked_array(counts, diagonal | (counts == 0))
    axes.imshow(wrong, cmap=WRONG_COLORS, vmin=0, vmax=1.6 * max(1, int(wrong.max()) if wrong.count() else 1))
    if classes <= MAX_NUMBERED_CLASSES:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=8, color="#24292f")
    ticks = range(0, classes, -(-classes // (MAX_NAMED_CLASSES if names else MAX_NUMBERED_CLASSES)))
    axes.set(xlabel="prediction", ylabel="label", xticks=ticks, yticks=ticks)
    if names:
        style: dict[str, Any] = {"fontsize": 9 if classes <= MAX_NUMBERED_CLASSES else 7, "parse_math": False}
        shown = [names[tick] for tick in ticks]
        axes.set_xticklabels(shown, rotation=90 if max(map(len, shown)) > 2 else 0, **style)
        axes.set_yticklabels(shown, **style)
    axes.set_title(f"{int(counts[~diagonal].sum()):,} of {int(counts.sum()):,} images misclassified", fontsize=11)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _save(figure, path)


def draw_mistakes(
    path: Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str] = ()
) -> None:
    """Draw the misclassified images with the most confident predictions, the most confident first.

    Args:
        path: the PNG file to write.
        images: (n, height, width) or (n, height, width, channels) with 1, 3 or 4 channels, uint8 or float32.
        labels: (n,) int64, at least one of which differs from the prediction.
        logits: (n, classes) floats.
        class_names: the name of each class; empty shows numbers.
    """
    from matplotlib.figure import Figure

    predictions, confidence = logits.argmax(1), np.exp(log_softmax(logits).max(1))
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][: COLUMNS * ROWS]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(
        figsize=(max(3.0, 0.95 * columns), (1.4 if class_names else 1.25) * rows + 0.5), layout="constrained"
    )
    figure.suptitle("most confident mistakes: prediction (label) and confidence", fontsize=11)
    panels: Any = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    largest = 255 if images.dtype == np.uint8 else None
    if largest is None and images.ndim == 4:  # matplotlib clips colors outside 0 to 1
        low, high = images[shown].min(), images[shown].max()
        images = (images - low) / (high - low or 1)
    for axes, i in zip(panels, shown, strict=False):
        image = images[i] if images.ndim == 3 or images.shape[3] > 1 else images[i, ..., 0]
        axes.imshow(image, cmap="gray_r", vmin=None if largest is None else 0, vmax=largest)
        prediction, label = (
            short(class_names[k], TITLE_NAME) if class_names else str(k) for k in (predictions[i], labels[i])
        )
        answer = f"{prediction}\n({label})" if class_names else f"{prediction} ({label})"
        axes.set_title(f"{answer}\n{confidence[i] * 100:.0f} %", fontsize=8, parse_math=False)
    _save(figure, path)


def short(name: str, length: int) -> str:
    """Return a name, with its middle replaced by "…" if it is longer than `length` characters."""
    half = length // 2
    return name if len(name) <= length else f"{name[:half]}…{name[half + 1 - length :]}"


def _save(figure: Any, path: Path) -> None:
    with whole_file(path) as draft, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a class name in a script that the font lacks
        figure.savefig(draft, dpi=130)
