"""Decides whether images are prepared as those of MNIST: light on dark, and centered by mass."""

from __future__ import annotations

import numpy as np


def is_mnist_like(images: np.ndarray) -> bool:
    """Return whether most images are light on dark and centered by mass.

    Args:
        images: (n, *input_shape), uint8 or float32.
    """
    return False
