"""Losses: torch.nn.functional's names and arguments.

`reduction` says what becomes of the losses l_1 ... l_n of a batch: "mean",
"sum", or "none". Below, g is the gradient of one l_i after that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..operation import Array, operation
from .activation import logistic

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss", "mse_loss", "nll_loss",
]  # fmt: skip

Reduction = Literal["mean", "sum", "none"]


def _reduce(losses: np.ndarray, reduction: str, total: float | None = None):
    """(the reduced losses, how a gradient of them is scaled for each); `total` is what the mean divides by."""
    if reduction == "none":
        return losses, 1.0
    if reduction == "sum":
        return np.add.reduce(losses, axis=None), 1.0
    if reduction != "mean":
        raise ValueError(f"reduction = {reduction!r}; expected 'mean', 'sum' or 'none'")
    total = total or np.nan  # the mean of nothing is no number, as in torch
    return np.add.reduce(losses, axis=None) / total, 1 / total


def _difference(input: np.ndarray, target: np.ndarray) -> np.ndarray:
    if np.shape(input) != np.shape(target):
        raise ValueError("expected the same shape")
    return input - target


@operation
def mse_loss(input: Array, target: Array, reduction: Reduction = "mean"):
    """l = (x - t)^2.   dL/dx = 2 g (x - t) = -dL/dt."""
    d = _difference(input, target)
    y, scale = _reduce(d * d, reduction, d.size)
    return y, lambda g: 2 * scale * g * d, lambda g: -2 * scale * g * d


@operation
def l1_loss(input: Array, target: Array, reduction: Reduction = "mean"):
    """l = |x - t|.   dL/dx = g sign(x - t) = -dL/dt (0 at the kink)."""
    d = _difference(input, target)
    y, scale = _reduce(np.abs(d), reduction, d.size)
    return y, lambda g: scale * g * np.sign(d), lambda g: -scale * g * np.sign(d)


@operation
def huber_loss(input: Array, target: Array, reduction: Reduction = "mean", delta: float = 1.0):
    """l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = x - t.   dL/dx = g clip(d, -delta, delta) = -dL/dt.

    With c = clip(d), both cases are c (d - c / 2). Huber, 1964.
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
    """l = -w (p t ln s + (1 - t) ln(1 - s)), s = sigmoid(x), p = pos_weight, without ever forming s = 0 or 1.

    As w ((1 - t) x + (1 + (p - 1) t) ln(1 + e^-x)).   dL/dx = g w ((1 - t) s - p t (1 - s)),
    dL/dt = g w ((p - 1) ln(1 + e^-x) - x).
    """
    _difference(input, target)
    x, t = input, target
    w = 1.0 if weight is None else np.asarray(weight, x.dtype)
    p = 1.0 if pos_weight is None else np.asarray(pos_weight, x.dtype)
    softplus = np.logaddexp(0, -x)
    losses = w * ((1 - t) * x + (1 + (p - 1) * t) * softplus)
    y, scale = _reduce(losses, reduction, losses.size)
    return (
        y,
        lambda g: scale * g * (w * ((1 - t) * logistic(x) - p * t * logistic(-x))),
        lambda g: scale * g * (w * ((p - 1) * softplus - x)),
    )


def _at_labels(input: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Where each row's label stands in (n, classes) flattened class by class, once all fits.

    Raises:
        ValueError: the shapes don't match, or a label is no class.
    """
    if input.ndim != 2 or target.shape != input.shape[:1]:
        raise ValueError(f"target {target.shape}; expected (n, classes) and a target (n,)")
    if target.dtype.kind not in "iu":
        raise ValueError(f"target of dtype {target.dtype}; expected integers, a class each")
    n, classes = input.shape
    places = target.astype(np.intp, copy=False)
    # Seen as unsigned, a negative label is a huge one: one look at the labels instead of two.
    if n and np.maximum.reduce(places.view(np.uintp)) >= classes:
        raise ValueError(f"labels from {target.min()} to {target.max()}; expected 0 to {classes - 1}")
    return places * n + np.arange(n)


def _class_weight(input: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """A weight for each class, ones by default, of the input's dtype."""
    w = np.ones(input.shape[1:], input.dtype) if weight is None else np.asarray(weight, input.dtype)
    if w.shape != input.shape[1:]:
        raise ValueError(f"weight {w.shape}; expected {input.shape[1:]}, a number a class")
    return w


@operation
def nll_loss(input: Array, target: np.ndarray, weight: np.ndarray | None = None, reduction: Reduction = "mean"):
    """l_i = -w_t x_i,t for log-probabilities x (n, classes) and labels t (n,).   dL/dx_i,t = -g w_t, else 0.

    The mean divides by the sum of the w_t.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    target = np.asarray(target)
    at = _at_labels(input, target)
    w = _class_weight(input, weight)[target]
    y, scale = _reduce(-w * input.T.reshape(-1)[at], reduction, w.sum().item())

    def back(g: np.ndarray) -> np.ndarray:
        out = np.zeros(input.size, input.dtype)
        out[at] = -scale * g * w
        return out.reshape(input.shape[::-1]).T

    return y, back


@operation
def cross_entropy(
    input: Array,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
):
    """l = -sum_c q_c ln softmax(x)_c, for logits x (n, classes) and labels t (n,).   dL/dx = g (softmax(x) sum q - q).

    q is 1 at the label and 0 elsewhere; with class weights w and smoothing e,
    q_c = w_c ((1 - e) [c = t] + e / classes), and the mean divides by the sum
    of the w_t. The derivative: -ln softmax(x)_c = logsumexp(x) - x_c, and the
    gradient of logsumexp is softmax.

    Args:
        input: (n, classes).
        target: (n,) integers from 0 to classes - 1.
        weight: (classes,).
        label_smoothing: e, from 0 to 1.

    Raises:
        ValueError: the shapes don't match, or a label is out of range.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing = {label_smoothing}; expected 0 to 1")
    target = np.asarray(target)
    at = _at_labels(input, target)
    n, classes = input.shape
    plain = weight is None and not label_smoothing
    # One class after the other in memory: along short rows NumPy reduces slowly.
    z = np.array(input, order="F")
    z -= np.maximum.reduce(z, axis=1, keepdims=True)
    e = np.exp(z)
    s = np.add.reduce(e, axis=1, keepdims=True)
    losses = np.log(s[:, 0]) - z.T.reshape(-1)[at]
    at_label, total = 1.0, float(n)
    if not plain:
        w = _class_weight(input, weight)
        at_label, total = (1 - label_smoothing) * w[target], w[target].sum().item()
        evenly = (label_smoothing / classes) * w
        losses = at_label * losses
        if label_smoothing:  # else 0 times the infinity of a masked logit would be no number
            losses += ((np.log(s) - z) * evenly).sum(axis=1)
    y, scale = _reduce(losses, reduction, total)

    def back(g: np.ndarray) -> np.ndarray:
        d = e / s
        if not plain:
            d = np.subtract(d * (at_label + evenly.sum())[:, None], evenly, order="F")
        d.T.reshape(-1)[at] -= at_label
        d *= scale * (g[:, None] if g.ndim else g)
        return d

    return y, back
