"""Back-propagation written out, one name per quantity. `python -m minigrad.study.by_hand` checks a gradient.

The network has one hidden layer. For a batch of n images x, as rows:

    z1 = x w1^T + b1          (n, hidden)
    a1 = max(z1, 0)           (n, hidden)
    z2 = a1 w2^T + b2         (n, classes), the logits
    p  = softmax(z2)          (n, classes), p_c = e^(z2_c) / sum_k e^(z2_k) in each row
    loss = mean over the rows of -ln p[label]

The gradients follow from the loss backwards; d_v means d(loss)/dv, an array
of v's shape.

**Softmax and cross-entropy.** For one image with label t:

    l = -ln p_t = -ln (e^(z_t) / sum_k e^(z_k)) = ln(sum_k e^(z_k)) - z_t

The derivative of the first term with respect to z_c is e^(z_c) / sum_k e^(z_k)
= p_c. That of z_t is 1 for c = t, and otherwise 0. So dl/dz_c is p_c - 1 for
c = t, and otherwise p_c. The mean over n images divides it by n.

**A linear layer.** z_j = sum_i w_ji x_i + b_j. One image contributes
d_z_j x_i to d_w_ji, and d_z_j to d_b_j. The images of a batch share the
weights, so their contributions are summed: d_w = d_z^T x. The input x_i
reaches the loss through every z_j, so d_x_i = sum_j d_z_j w_ji: d_x = d_z w.

**ReLU.** The derivative of max(z, 0) is 1 for z > 0, and otherwise 0.

`minigrad/by_hand.py` computes the same numbers faster: there, one array is
first e^z, then softmax, then its gradient.
"""

from __future__ import annotations

import numpy as np

Weights = dict[str, np.ndarray]


def initial_weights(inputs: int, hidden: int, classes: int, seed: int = 0) -> Weights:
    """Return random weights, float64: w1 (hidden, inputs), b1 (hidden,), w2 (classes, hidden), b2 (classes,)."""
    rng = np.random.default_rng(seed)
    return {
        "w1": rng.normal(0, inputs**-0.5, (hidden, inputs)),
        "b1": np.zeros(hidden),
        "w2": rng.normal(0, hidden**-0.5, (classes, hidden)),
        "b2": np.zeros(classes),
    }


def softmax(z: np.ndarray) -> np.ndarray:
    """Return e^z / sum of e^z for each row of z (n, classes)."""
    # Subtracting a constant from a row does not change its softmax. The largest exponent is then 0: no overflow.
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_of(weights: Weights, x: np.ndarray, labels: np.ndarray) -> float:
    """Compute the loss of images x (n, inputs) with labels (n,)."""
    z1 = x @ weights["w1"].T + weights["b1"]
    a1 = np.maximum(z1, 0)
    z2 = a1 @ weights["w2"].T + weights["b2"]
    p = softmax(z2)
    return float(-np.log(p[np.arange(len(x)), labels]).mean())


def gradients(weights: Weights, x: np.ndarray, labels: np.ndarray) -> Weights:
    """Compute the gradient of the loss with respect to each weight, by the formulas above."""
    n, classes = len(x), len(weights["b2"])
    # Forward, as in `loss_of`.
    z1 = x @ weights["w1"].T + weights["b1"]
    a1 = np.maximum(z1, 0)
    z2 = a1 @ weights["w2"].T + weights["b2"]
    p = softmax(z2)
    # Backward.
    onehot = np.eye(classes)[labels]  # (n, classes), 1 at the label
    d_z2 = (p - onehot) / n
    d_w2 = d_z2.T @ a1
    d_b2 = d_z2.sum(axis=0)
    d_a1 = d_z2 @ weights["w2"]
    d_z1 = d_a1 * (z1 > 0)
    d_w1 = d_z1.T @ x
    d_b1 = d_z1.sum(axis=0)
    return {"w1": d_w1, "b1": d_b1, "w2": d_w2, "b2": d_b2}


def step(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> None:
    """Take one step of gradient descent, which changes `weights` in place."""
    for name, gradient in gradients(weights, x, labels).items():
        weights[name] -= lr * gradient


def finite_difference(
    weights: Weights, name: str, index: tuple[int, ...], x: np.ndarray, labels: np.ndarray, h: float = 1e-6
) -> float:
    """Estimate d(loss)/dw for w = `weights[name][index]` from two losses: (loss(w + h) - loss(w - h)) / 2h."""
    losses = []
    for shift in (h, -h):
        shifted = {key: w.copy() for key, w in weights.items()}
        shifted[name][index] += shift
        losses.append(loss_of(shifted, x, labels))
    return (losses[0] - losses[1]) / (2 * h)


def main() -> None:
    """Print the largest gradient of each weight array beside its finite difference."""
    from .. import datasets

    train = datasets.load("mnist").train
    x, labels = train.images[:128].reshape(128, -1) / 255.0, train.labels[:128]
    weights = initial_weights(784, 10, 10)
    print(f"network 784-10-10, {len(x)} images of MNIST, loss {loss_of(weights, x, labels):.6f}\n")
    print(f"{'element':<12}{'gradient':>18}{'finite difference':>20}{'difference':>12}")
    for name, gradient in gradients(weights, x, labels).items():
        index = tuple(int(i) for i in np.unravel_index(np.abs(gradient).argmax(), gradient.shape))
        estimate = finite_difference(weights, name, index, x, labels)
        element = f"{name}[{', '.join(map(str, index))}]"
        print(f"{element:<12}{gradient[index]:>18.12f}{estimate:>20.12f}{abs(gradient[index] - estimate):>12.0e}")


if __name__ == "__main__":
    main()
