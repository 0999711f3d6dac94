"""The test images that tell networks apart: those they disagree on, and those that are hard for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.runs.metrics import log_softmax

SHOWN = 24


def found(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, Any]:
    """Of (n, classes) logits by contender: how many images they disagree on, some of them, and the hardest.

    The hardest have the largest cross-entropy, in the mean over contenders.
    Those in dispute come in the order of the smallest margin.
    """
    if not logits:
        return {"disputed": 0, "disagree": [], "hardest": []}
    answers = {name: z.argmax(axis=1) for name, z in logits.items()}
    table = np.stack(list(answers.values()))
    disputed = np.flatnonzero((table != table[0]).any(axis=0))
    odds = np.mean([log_softmax(z) for z in logits.values()], axis=0)
    ordered = np.sort(odds, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if odds.shape[1] > 1 else np.zeros(len(odds))
    hardest = np.argsort(odds[np.arange(len(labels)), labels], kind="stable")
    closest = disputed[np.argsort(margin[disputed], kind="stable")]

    def told(index: int) -> dict[str, Any]:
        given = {name: int(answer[index]) for name, answer in answers.items()}
        return {"index": int(index), "label": int(labels[index]), "answers": given}

    return {
        "disputed": len(disputed),
        "disagree": [told(i) for i in closest[:SHOWN]],
        "hardest": [told(i) for i in hardest[:SHOWN]],
    }
