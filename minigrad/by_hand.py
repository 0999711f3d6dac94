"""A two-layer network with back-propagation written out, for speed. `study/by_hand.py` is easier to read.

    z1 = x W1^T + b1        (n, hidden)
    a1 = max(z1, 0)
    z2 = a1 W2^T + b2       (n, classes)
    loss = mean of -ln softmax(z2)[label]

The chain rule, applied from the loss backwards, where d_v means d(loss)/dv:

    d_z2 = (softmax(z2) - onehot(label)) / n
    d_W2 = d_z2^T a1        d_b2 = sum of d_z2 over the batch
    d_a1 = d_z2 W2
    d_z1 = d_a1 where z1 > 0, else 0
    d_W1 = d_z1^T x         d_b1 = sum of d_z1 over the batch

d_x is never needed. The function `gradients` computes these seven formulas;
`tape.py` derives them automatically, for any network.

The weights are a dict: "hidden.0.weight" (hidden, in), "hidden.0.bias"
(hidden,), "output.weight" (classes, hidden) and "output.bias" (classes,).
"""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]


def forward(weights: Weights, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the hidden activations a1 (n, hidden) and the logits z2 (n, classes) of x (n, in)."""
    a1 = x @ weights["hidden.0.weight"].T
    a1 += weights["hidden.0.bias"]
    np.maximum(a1, 0, out=a1)
    return a1, a1 @ weights["output.weight"].T + weights["output.bias"]


def gradients(weights: Weights, x: np.ndarray, labels: np.ndarray) -> tuple[float, Weights, np.ndarray]:
    """Compute the gradients of the loss of one batch by the formulas above.

    Args:
        weights: see above; not changed.
        x: (n, in) floats.
        labels: (n,) integers.

    Returns:
        The loss, the gradient of each weight by its name, and the logits minus their row maximum.
    """
    a1, z2 = forward(weights, x)
    n = len(x)
    rows = np.arange(n)
    z2 -= z2.max(axis=1, keepdims=True)  # so that no exponential overflows; softmax is unchanged
    label_logits = z2[rows, labels]
    d_z2 = np.exp(z2)
    total = d_z2.sum(axis=1, keepdims=True)
    loss = float((np.log(total[:, 0]) - label_logits).mean())
    d_z2 /= total
    d_z2[rows, labels] -= 1
    d_z2 *= 1 / n

    d_z1 = d_z2 @ weights["output.weight"]
    d_z1 *= a1 > 0
    d_weights = {
        "hidden.0.weight": (x.T @ d_z1).T,
        "hidden.0.bias": d_z1.sum(axis=0),
        "output.weight": (a1.T @ d_z2).T,
        "output.bias": d_z2.sum(axis=0),
    }
    return loss, d_weights, z2


def step(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> tuple[float, Weights, np.ndarray]:
    """Take one step of gradient descent, which changes `weights` in place; returns the result of `gradients`."""
    loss, d_weights, z2 = gradients(weights, x, labels)
    for name, w in weights.items():
        w -= lr * d_weights[name]
    return loss, d_weights, z2
