"""Measures the matrix products of a training step in a contender's process, with its own library."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from minigrad.recipes import Recipe

from ..contenders.base import Contender
from ..results.schema import Products
from .work import matrix_products

SECONDS = 0.01  # of repetitions per product, after the first two calls
MOST = 200  # repetitions
LEAST = 0.1  # share of a measured duration that counts at least as arithmetic


def measure(contender: Contender, recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> Products:
    """Multiply random matrices of the shapes of one training step.

    A convolution counts as the product of its unfolded images and its kernels, which is how many libraries compute it.
    The time of a product of 1 x 1 matrices is subtracted, since it is the overhead of a call.

    Args:
        contender: loaded.
        recipe: gives the network and the batch size.
        input_shape: shape of one sample.
        classes: number of classes.
    """
    rng = np.random.default_rng(0)
    overhead = _median_seconds(contender, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    shapes = Counter(matrix_products(recipe, input_shape, classes))
    seconds = flops = 0.0
    for (rows, inner, columns), count in shapes.items():
        a, b = (rng.standard_normal(shape, np.float32) for shape in ((rows, inner), (inner, columns)))
        duration = _median_seconds(contender, a, b)
        seconds += count * max(duration - overhead, LEAST * duration)
        flops += count * 2.0 * rows * inner * columns
    return {"step_us": seconds * 1e6, "gflops": flops / seconds / 1e9, **contender.library()}


def _median_seconds(contender: Contender, a: np.ndarray, b: np.ndarray) -> float:
    multiply = contender.product(a, b)
    for _ in range(2):
        multiply()
    durations: list[float] = []
    while sum(durations) < SECONDS and len(durations) < MOST:
        start = time.perf_counter()
        multiply()
        durations.append(time.perf_counter() - start)
    return float(np.median(durations))
