"""Calibration: whether predictions with 80 % confidence are right in 80 % of the cases; and `reliability.png`.

Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import whole_file
from .metrics import log_softmax

BINS = 15
BAR_COLOR, GAP_COLOR, LINE_COLOR, TEXT_COLOR = "#9ec5fe", "#d1242f", "#57606a", "#24292f"


class Bin(NamedTuple):
    """The test images whose confidence is above `lower` and at most `upper`.

    The confidence is the probability of the predicted class.

    Attributes:
        lower: the lower limit, not included.
        upper: the upper limit, included.
        images: the number of images.
        confidence: their mean confidence; None without images.
        accuracy: the fraction of them that is classified correctly; None without images.
    """

    lower: float
    upper: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(logits: np.ndarray, labels: np.ndarray) -> list[Bin]:
    """Return the images in 15 bins of equal width, by their confidence.

    Args:
        logits: the network's outputs, (n, classes), all finite. n is at least 1.
        labels: (n,) integers.
    """
    confidence = np.exp(log_softmax(logits).max(axis=-1))
    correct = logits.argmax(axis=-1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    index = np.searchsorted(edges[1:-1], confidence, side="left")  # a value on an edge belongs to the lower bin
    images = np.bincount(index, minlength=BINS)
    sums = (np.bincount(index, values, BINS) for values in (confidence, correct))
    means = ((total / np.maximum(images, 1)).tolist() for total in sums)
    limits = zip(edges[:-1].tolist(), edges[1:].tolist(), images.tolist(), *means, strict=True)
    return [Bin(low, high, n, c if n else None, a if n else None) for low, high, n, c, a in limits]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean of |accuracy - confidence| over all bins, weighted by their images: 0 is best, 1 is worst.

    Args:
        bins: from `reliability`.
    """
    images = sum(b.images for b in bins)
    gaps = (
        b.images * abs(b.accuracy - b.confidence) for b in bins if b.accuracy is not None and b.confidence is not None
    )
    return sum(gaps) / images


def draw(path: Path, bins: Sequence[Bin]) -> None:
    """Draw a reliability diagram: the accuracy of each bin, its distance from the mean confidence, and its images.

    Args:
        path: the PNG file to write.
        bins: from `reliability`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_accuracy(upper, bins)
    figure.suptitle(f"expected calibration error {100 * expected_calibration_error(bins):.2f} %", fontsize=11)
    _draw_counts(lower, bins)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=130)


def _draw_accuracy(axes: Any, bins: Sequence[Bin]) -> None:
    # In percent, as in the other pictures. The bars are as wide as the bins.
    filled = [b for b in bins if b.accuracy is not None and b.confidence is not None]
    left, width = [100 * b.lower for b in filled], 100 / len(bins)
    accuracy, confidence = (np.array([getattr(b, name) for b in filled]) * 100 for name in ("accuracy", "confidence"))
    bar: dict[str, Any] = {"width": width, "align": "edge"}
    axes.bar(left, accuracy, color=BAR_COLOR, edgecolor="white", label="accuracy", **bar)
    gap: dict[str, Any] = {"facecolor": GAP_COLOR + "22", "edgecolor": GAP_COLOR, "linewidth": 0.8, "hatch": "////"}
    axes.bar(left, confidence - accuracy, bottom=accuracy, label="gap to the mean confidence", **gap, **bar)
    axes.plot([0, 100], [0, 100], linestyle="--", linewidth=1, color=LINE_COLOR, label="perfectly calibrated")
    axes.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_counts(axes: Any, bins: Sequence[Bin]) -> None:
    width = 100 / len(bins)
    most = max(b.images for b in bins)
    axes.bar(
        [100 * b.lower for b in bins], [b.images for b in bins], width, align="edge", color="#d0d7de", edgecolor="white"
    )
    for b in bins:
        if b.images:
            style: dict[str, Any] = {"ha": "center", "va": "bottom", "rotation": 90, "fontsize": 7, "color": TEXT_COLOR}
            axes.text(100 * b.lower + width / 2, b.images, f" {b.images:,}", **style)
    axes.set_yscale("log")
    axes.set(xlabel="confidence (%)", ylabel="images (log scale)", ylim=(0.7, 20 * max(most, 10)))
    axes.yaxis.set_tick_params(which="both", left=False, labelleft=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
