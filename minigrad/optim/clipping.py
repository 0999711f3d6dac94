"""Gradient clipping, with the names of torch.nn.utils. Call it between `backward` and `step`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients in place so that their total norm is at most `max_norm`.

    g <- g min(1, max_norm / (|g| + 1e-6)), where g is one vector of all
    gradients. Pascanu, Mikolov and Bengio, 2013, algorithm 1, in torch's form.

    Returns:
        The total norm before scaling.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # also for a NaN norm, which makes every gradient NaN
        for g in gradients:
            g *= scale
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Limit each element of each gradient to [-clip_value, clip_value], in place."""
    for p in parameters:
        if p.grad is not None:
            np.clip(p.grad, -clip_value, clip_value, out=p.grad)
