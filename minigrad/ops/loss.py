"""Losses, with the names and arguments of torch.nn.functional.

`reduction` is "mean" (the default), "sum", or "none", which returns all
losses l_1 ... l_n of the batch. Below, g is dL/dl_i for one loss l_i. Inputs
are floats, and the value has their dtype.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..operation import Array, operation
from .activation import log1p_exp_of_minus_abs, logistic
from .fast import columns, outside, position_in_columns

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss", "mse_loss", "nll_loss",
]  # fmt: skip

Reduction = Literal["mean", "sum", "none"]


def _reduce(losses: np.ndarray, reduction: str, total: float | None = None):
    """(the reduced losses, the factor from the gradient of the value to that of each loss); the mean divides by `total`."""
    if reduction == "none":
        return losses, 1.0
    if reduction == "sum":
        return np.add.reduce(losses, axis=None), 1.0
    if reduction != "mean":
        raise ValueError(f"reduction = {reduction!r}; expected 'mean', 'sum' or 'none'")
    total = total or np.nan  # the mean of no losses is NaN, as in torch
    return np.add.reduce(losses, axis=None) / total, 1 / total


def _difference(input: np.ndarray, target: np.ndarray) -> np.ndarray:
    if np.shape(input) != np.shape(target):
        raise ValueError("expected the same shape")
    return input - target


@operation
def mse_loss(input: Array, target: Array, reduction: Reduction = "mean"):
    """l = (x - t)^2, for x and t of equal shape.   dL/dx = 2 g (x - t) = -dL/dt."""
    d = _difference(input, target)
    y, scale = _reduce(d * d, reduction, d.size)
    return y, lambda g: 2 * scale * g * d, lambda g: -2 * scale * g * d


@operation
def l1_loss(input: Array, target: Array, reduction: Reduction = "mean"):
    """l = |x - t|, for x and t of equal shape.   dL/dx = g sign(x - t) = -dL/dt (0 at the kink)."""
    d = _difference(input, target)
    y, scale = _reduce(np.abs(d), reduction, d.size)
    return y, lambda g: scale * g * np.sign(d), lambda g: -scale * g * np.sign(d)


@operation
def huber_loss(input: Array, target: Array, reduction: Reduction = "mean", delta: float = 1.0):
    """l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - t.   dL/dx = g clip(d, -delta, delta) = -dL/dt.

    With c = clip(d, -delta, delta), both cases are c (d - c / 2). Huber, 1964.

    Raises:
        ValueError: the shapes differ, or delta is not positive.
    """
    d = _difference(input, target)
    if not delta > 0:
        raise ValueError(f"delta = {delta}; expected a positive number")
    c = np.clip(d, -delta, delta)
    y, scale = _reduce(c * (d - c / 2), reduction, d.size)
    return y, lambda g: scale * g * c, lambda g: -scale * g * c


@operation
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: np.ndarray | None = None,
    reduction: Reduction = "mean",
    pos_weight: np.ndarray | None = None,
):
    """l = -w (p t ln s + (1 - t) ln(1 - s)), s = sigmoid(x).   dL/dx = g w ((1 - t) s - p t (1 - s)).

    -ln s = softplus(-x) and -ln(1 - s) = softplus(x), which stay finite where s
    rounds to 0 or 1, and don't cancel.   dL/dt = g w ((p - 1) softplus(-x) - x).

    Args:
        input: the logits x, of any shape.
        target: t, from 0 to 1, of x's shape.
        weight: w, broadcast to x's shape; by default 1.
        reduction: see above.
        pos_weight: p, the weight of t = 1, broadcast to x's shape; by default 1.

    Raises:
        ValueError: the shapes differ.
    """
    _difference(input, target)
    x, t = input, target
    w = 1.0 if weight is None else np.asarray(weight, x.dtype)
    p = 1.0 if pos_weight is None else np.asarray(pos_weight, x.dtype)
    tail = log1p_exp_of_minus_abs(x)
    softplus = np.maximum(-x, 0) + tail  # of -x
    losses = w * (p * t * softplus + (1 - t) * (np.maximum(x, 0) + tail))
    y, scale = _reduce(losses, reduction, losses.size)
    return (
        y,
        lambda g: scale * g * (w * ((1 - t) * logistic(x) - p * t * logistic(-x))),
        lambda g: scale * g * (w * ((p - 1) * softplus - x)),
    )


def _labels(input: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The labels (n,) of an (n, classes) input.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    if input.ndim != 2 or target.shape != input.shape[:1]:
        raise ValueError(f"target {target.shape}; expected (n, classes) and a target (n,)")
    if target.dtype.kind not in "iu":
        raise ValueError(f"target of dtype {target.dtype}; expected integers, one class per row")
    labels = target.astype(np.intp, copy=False)
    if outside(labels, input.shape[1]):
        raise ValueError(f"labels from {target.min()} to {target.max()}; expected 0 to {input.shape[1] - 1}")
    return labels


def _class_weight(input: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The class weights (classes,), by default ones, in the dtype of the input."""
    w = np.ones(input.shape[1:], input.dtype) if weight is None else np.asarray(weight, input.dtype)
    if w.shape != input.shape[1:]:
        raise ValueError(f"weight {w.shape}; expected {input.shape[1:]}, one number per class")
    return w


@operation
def nll_loss(input: Array, target: np.ndarray, weight: np.ndarray | None = None, reduction: Reduction = "mean"):
    """l_i = -w_t x_i,t for log-probabilities x and labels t.   dL/dx_i,t = -g w_t; other elements of dL/dx are 0.

    Args:
        input: x, (n, classes).
        target: t, (n,) integers from 0 to classes - 1.
        weight: w, (classes,); by default ones.
        reduction: see above; "mean" divides by the sum of the w_t.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    labels = _labels(input, np.asarray(target))
    at_label = np.arange(len(input)), labels
    w = _class_weight(input, weight)[labels]
    y, scale = _reduce(-w * input[at_label], reduction, w.sum().item())

    shape, dtype = input.shape, input.dtype

    def back(g: np.ndarray) -> np.ndarray:
        out = np.zeros(shape, dtype)
        out[at_label] = -scale * g * w
        return out

    return y, back


@operation
def cross_entropy(
    input: Array,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
):
    """l = -sum_c q_c ln softmax(x)_c, for logits x and labels t.   dL/dx = g (softmax(x) sum q - q).

    q_c = w_c ((1 - e) [c = t] + e / classes): 1 at the label and 0 elsewhere,
    unless there are class weights w or smoothing e. The derivative follows
    from -ln softmax(x)_c = logsumexp(x) - x_c, since the gradient of
    logsumexp is softmax.

    Args:
        input: x, (n, classes).
        target: t, (n,) integers from 0 to classes - 1.
        weight: w, (classes,); by default ones.
        reduction: see above; "mean" divides by the sum of the w_t.
        label_smoothing: e, from 0 to 1.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing = {label_smoothing}; expected 0 to 1")
    labels = _labels(input, np.asarray(target))
    at_label = position_in_columns(labels)
    n, classes = input.shape
    plain = weight is None and not label_smoothing
    z = np.array(input, order="F")  # softmax is 2 times faster for 128 x 10: NumPy reduces short rows slowly
    z -= np.maximum.reduce(z, axis=1, keepdims=True)  # so that no exponential overflows
    e = np.exp(z)
    s = np.add.reduce(e, axis=1, keepdims=True)
    losses = np.log(s[:, 0]) - columns(z)[at_label]
    label_weight, total = 1.0, float(n)
    if not plain:
        w = _class_weight(input, weight)
        label_weight, total = (1 - label_smoothing) * w[labels], w[labels].sum().item()
        smoothing = (label_smoothing / classes) * w
        losses = label_weight * losses
        if label_smoothing:  # without smoothing, 0 times the infinity of a masked logit would be NaN
            losses += ((np.log(s) - z) * smoothing).sum(axis=1)
    y, scale = _reduce(losses, reduction, total)

    def back(g: np.ndarray) -> np.ndarray:
        d = e / s
        if not plain:
            d = np.subtract(d * (label_weight + smoothing.sum())[:, None], smoothing, order="F")
        columns(d)[at_label] -= label_weight
        d *= scale * (g[:, None] if g.ndim else g)
        return d

    return y, back
