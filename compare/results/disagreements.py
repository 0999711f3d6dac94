"""The test images that distinguish the networks: those with different predictions, and those with the largest loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minigrad.runs.metrics import log_softmax

from .schema import Digit, Digits

SHOWN = 24


def find_digits(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> Digits:
    """Find test images to show.

    Args:
        logits: (n, classes) logits of the test set, by contender.
        labels: (n,) labels.

    Returns:
        The number of images with different predictions; at most `SHOWN` of
        them, those with the smallest margin first; and as many images with
        the largest cross-entropy, averaged over the contenders.
    """
    if not logits:
        return {"disputed": 0, "disagree": [], "hardest": []}
    predictions = {name: z.argmax(axis=1) for name, z in logits.items()}
    table = np.stack(list(predictions.values()))
    disputed = np.flatnonzero((table != table[0]).any(axis=0))
    log_probabilities = np.mean([log_softmax(z) for z in logits.values()], axis=0)
    ordered = np.sort(log_probabilities, axis=1)
    has_margin = log_probabilities.shape[1] > 1
    margin = ordered[:, -1] - ordered[:, -2] if has_margin else np.zeros(len(log_probabilities))
    hardest = np.argsort(log_probabilities[np.arange(len(labels)), labels], kind="stable")
    closest = disputed[np.argsort(margin[disputed], kind="stable")]

    def digit(index: int) -> Digit:
        answers = {name: int(classes[index]) for name, classes in predictions.items()}
        return {"index": int(index), "label": int(labels[index]), "answers": answers}

    return {
        "disputed": len(disputed),
        "disagree": [digit(i) for i in closest[:SHOWN]],
        "hardest": [digit(i) for i in hardest[:SHOWN]],
    }
