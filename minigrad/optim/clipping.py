"""Gradient clipping, with the names of torch.nn.utils. Call it between `backward` and `step`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import checks
from ..tensor import Tensor
from .parameters import items


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Scale all gradients in place so that their total norm is at most `max_norm`.

    g <- g min(1, max_norm / (|g| + 1e-6)), where g is one vector of all
    gradients. Pascanu, Mikolov and Bengio, 2013, algorithm 1, in torch's form.

    Args:
        parameters: a tensor or tensors; those without a gradient are skipped.
        max_norm: the largest norm, 0 or more. With infinity, nothing is scaled.
        norm_type: the p of the p-norm, above 0; by default 2. With infinity, the largest absolute value.
        error_if_nonfinite: whether a NaN or infinite norm is an error, by default False.

    Returns:
        The total norm before scaling. It is computed in float32 or wider.

    Raises:
        TypeError: an argument has another type.
        ValueError: `max_norm` or `norm_type` is out of its range.
        RuntimeError: the norm is NaN or infinite, and `error_if_nonfinite` is True. No gradient is changed.
    """
    gradients = _gradients("clip_grad_norm_", parameters)
    max_norm = checks.number("clip_grad_norm_", "max_norm", max_norm, ends="[]")
    p = checks.number("clip_grad_norm_", "norm_type", norm_type, ends="(]")
    norm = _norm(gradients, p)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}; expected a finite number")
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1 and not math.isinf(max_norm):  # also for a NaN norm, which makes every gradient NaN
        for g in gradients:
            np.multiply(g, scale, out=g, dtype=max(g.dtype, np.dtype(np.float32)), casting="same_kind")
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of each gradient to [-clip_value, clip_value], in place.

    Args:
        parameters: a tensor or tensors; those without a gradient are skipped.
        clip_value: the largest absolute value, 0 or more.

    Raises:
        TypeError: an argument has another type.
        ValueError: `clip_value` is negative or NaN.
    """
    gradients = _gradients("clip_grad_value_", parameters)
    clip_value = checks.number("clip_grad_value_", "clip_value", clip_value, ends="[]")
    for g in gradients:
        limit = min(clip_value, float(np.finfo(g.dtype).max)) if math.isfinite(clip_value) else clip_value
        np.clip(g, -limit, limit, out=g)


def _gradients(owner: str, parameters: Any) -> list[np.ndarray]:
    tensors = [parameters] if isinstance(parameters, Tensor) else items(owner, parameters, "net.parameters() or [w]")
    for i, p in enumerate(tensors):
        if not isinstance(p, Tensor):
            checks.refuse(owner, f"parameter {i}", p, "a tensor", TypeError)
    return [p.grad for p in tensors if p.grad is not None]


def _norm(gradients: list[np.ndarray], p: float) -> float:
    """The p-norm of all elements."""
    if p == 2:
        return math.sqrt(sum(map(_sum_of_squares, gradients)))
    magnitudes = [np.abs(g, dtype=np.float64) for g in gradients if g.size]
    if math.isinf(p):
        return float(np.max([a.max() for a in magnitudes], initial=0.0))
    with np.errstate(over="ignore"):
        return float(sum(float((a**p).sum()) for a in magnitudes) ** (1 / p))


def _sum_of_squares(g: np.ndarray) -> float:
    """The sum of squares, in float64 if float16 or float32 would overflow or underflow."""
    total = float(np.vdot(g, g)) if g.itemsize > 2 else 0.0
    if g.itemsize < 8 and not 1e-30 < total < math.inf:
        g = g.astype(np.float64)
        total = float(np.vdot(g, g))
    return total
