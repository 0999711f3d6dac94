"""Weights from NumPy, the same in every framework, for ports whose mistake is in the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def weights(shapes: Sequence[tuple[int, ...]], seed: int = 0) -> list[np.ndarray]:
    """Return random weights, scaled by the number of inputs as in a network that was initialized with care.

    Args:
        shapes: the shape of each weight, in PyTorch's layout.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1.0) for shape in shapes]
