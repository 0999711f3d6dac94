"""Losses: from a batch of answers to one number."""

from __future__ import annotations

import numpy as np

from ..tape import Array, operation


@operation
def cross_entropy(logits: Array, labels: np.ndarray):
    """y = mean over the batch of -ln softmax(logits)[label].   dL/dlogits = g (softmax - onehot) / n.

    Args:
        logits: (n, classes).
        labels: (n,) integers from 0 to classes - 1.

    The derivative: y_i = logsumexp(z_i) - z_i,label, and the gradient of
    logsumexp is softmax.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    labels = np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"cross_entropy: logits {logits.shape} and labels {labels.shape}: expected (n, classes) and (n,)"
        )
    n, classes = logits.shape
    if n and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"cross_entropy: labels from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}")
    rows = np.arange(n)
    z = logits - logits.max(axis=1, keepdims=True)
    picked = z[rows, labels]
    e = np.exp(z)
    s = e.sum(axis=1, keepdims=True)
    loss = (np.log(s[:, 0]) - picked).mean()

    def back(g: np.ndarray) -> np.ndarray:
        d = e / s
        d[rows, labels] -= 1
        d *= g / n
        return d

    return loss, back
