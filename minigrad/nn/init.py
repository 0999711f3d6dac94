"""Weight initializations, with the names of torch.nn.init.

Each function takes a generator and the shape of a weight, (out, in) or (out,
in, height, width), and returns a float64 array. fan_in is the number of
inputs of one output, fan_out the number of outputs of one input.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Shape = tuple[int, ...]
Initialisation = Callable[["np.random.Generator", Shape], np.ndarray]  # a string: numpy.random is slow to import


def fans(shape: Shape) -> tuple[int, int]:
    """Compute (fan_in, fan_out) of a weight of `shape`.

    Raises:
        ValueError: the shape has less than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"init: shape = {shape}; expected (out, in) or (out, in, height, width)")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def default(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform in [-b, b], b = 1/sqrt(fan_in): the default of torch's layers (kaiming_uniform with a = sqrt 5)."""
    bound = 1 / math.sqrt(max(fans(shape)[0], 1))
    return rng.uniform(-bound, bound, shape)


def kaiming_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform with variance 2 / fan_in, which keeps the scale through relu. He et al., 2015, equation 10."""
    bound = math.sqrt(6 / fans(shape)[0])
    return rng.uniform(-bound, bound, shape)


def kaiming_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal with variance 2 / fan_in. He et al., 2015, equation 10."""
    return rng.normal(0, math.sqrt(2 / fans(shape)[0]), shape)


def xavier_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform with variance 2 / (fan_in + fan_out). Glorot and Bengio, 2010, equation 16."""
    bound = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-bound, bound, shape)


def xavier_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out). Glorot and Bengio, 2010, equation 12."""
    return rng.normal(0, math.sqrt(2 / sum(fans(shape))), shape)


def zeros(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """All 0."""
    return np.zeros(shape)


INITIALISATIONS: dict[str, Initialisation] = {
    fn.__name__: fn for fn in (default, kaiming_uniform, kaiming_normal, xavier_uniform, xavier_normal, zeros)
}


def draw(name: str, rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Draw a weight with the initialization `name`.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in INITIALISATIONS:
        raise ValueError(f"init: {name!r}; expected {', '.join(INITIALISATIONS)}")
    return INITIALISATIONS[name](rng, shape)
