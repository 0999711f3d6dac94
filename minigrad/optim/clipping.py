"""Gradients held within bounds, under torch.nn.utils' names. Call between `backward` and `step`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients so that together, as one vector, they are no longer than `max_norm`; returns their length before.

    g <- g min(1, max_norm / (|g| + 1e-6)). Pascanu, Mikolov and Bengio, 2013, algorithm 1, in torch's form.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # a length that is no number makes every gradient so
        for g in gradients:
            g *= scale
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Hold each element of each gradient within [-clip_value, clip_value]."""
    for p in parameters:
        if p.grad is not None:
            np.clip(p.grad, -clip_value, clip_value, out=p.grad)
