"""`confusion.png` and `mistakes.png`: which classes a network takes for which, and the images it is most wrong about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import folder
from .files import whole_file
from .metrics import log_softmax

COLUMNS, ROWS = 10, 4  # of mistakes
NUMBERED = 20  # classes; of more, a cell is too small for its count
RIGHT, WRONG = "#eceff3", "Reds"


def confusion(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """How often label i was answered by j, (classes, classes) int64."""
    counts = np.bincount(labels * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes)


def draw(out: Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> list[Path]:
    """Draw both into the folder `out`; the second only if images have been taken for others, and can be shown.

    Args:
        out: a run folder.
        images: what was answered, (n, height, width), (n, height, width, channels) or vectors.
        labels: (n,) int64.
        logits: (n, classes).
    """
    drawn = [out / folder.CONFUSION]
    draw_confusion(drawn[0], confusion(labels, logits.argmax(1), logits.shape[1]))
    shown = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))
    if shown and (logits.argmax(1) != labels).any():
        drawn.append(out / folder.MISTAKES)
        draw_mistakes(drawn[1], images, labels, logits)
    else:
        (out / folder.MISTAKES).unlink(missing_ok=True)  # of an earlier test
    return drawn


def draw_confusion(path: Path, counts: np.ndarray) -> None:
    """Mistakes in colour, right answers in grey, counts in the cells where they can be read."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    classes = len(counts)
    right = np.eye(classes, dtype=bool)
    side = min(9.0, max(4.2, 0.55 * classes + 1.2))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.where(right, 0.0, np.nan), cmap=ListedColormap([RIGHT]))
    wrong = np.ma.masked_array(counts, right | (counts == 0))
    axes.imshow(wrong, cmap=WRONG, vmin=0, vmax=1.6 * max(1, int(wrong.max()) if wrong.count() else 1))
    if classes <= NUMBERED:
        for i, j in zip(*np.nonzero(counts), strict=True):
            axes.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=8, color="#24292f")
    every = range(0, classes, -(-classes // NUMBERED))
    axes.set(xlabel="answer", ylabel="label", xticks=every, yticks=every)
    axes.set_title(f"{int(counts[~right].sum()):,} of {int(counts.sum()):,} taken for another", fontsize=11)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _save(figure, path)


def draw_mistakes(path: Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
    """The images that were taken for others with most confidence, the worst first."""
    from matplotlib.figure import Figure

    answers, sure = logits.argmax(1), np.exp(log_softmax(logits).max(1))
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][: COLUMNS * ROWS]
    columns = min(COLUMNS, len(worst))
    rows = -(-len(worst) // columns)
    figure = Figure(figsize=(max(3.0, 0.95 * columns), 1.25 * rows + 0.5), layout="constrained")
    figure.suptitle("the most confident mistakes: answer, for label", fontsize=11)
    grid: Any = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    top = 255 if images.dtype == np.uint8 else None
    if top is None and images.ndim == 4:  # matplotlib takes colours from 0 to 1
        low, high = images[worst].min(), images[worst].max()
        images = (images - low) / (high - low or 1)
    for axes, i in zip(grid, worst, strict=False):
        image = images[i] if images.ndim == 3 or images.shape[3] > 1 else images[i, ..., 0]
        axes.imshow(image, cmap="gray_r", vmin=None if top is None else 0, vmax=top)
        axes.set_title(f"{answers[i]}, for {labels[i]}\n{sure[i]:.0%}".replace("%", " %"), fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=130)
