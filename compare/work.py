"""How much there is to do: updates, samples, and floating-point operations, the same for every contender."""

from __future__ import annotations

import math
from typing import Any

from minigrad import datasets, recipes
from minigrad.recipes import Recipe


def flops_per_sample(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> int:
    """Floating-point operations of one sample's forward and backward pass, in the matrix products alone.

    A linear layer takes 2 n m forward, 2 n m for its weight's gradient and
    2 n m for its input's; a convolution as often as it has places. The first
    layer's input needs no gradient. What is elementwise is left out: it is
    less by about the width of a layer.
    """
    plan = recipes.sizes(recipe.model, input_shape, classes)
    products = []
    if plan.conv:
        _, height, width = plan.image
        for given, taken in plan.conv:
            products.append(height * width * recipe.model.kernel_size**2 * given * taken)
            height, width = height // 2, width // 2
    products += [a * b for a, b in (*plan.hidden, plan.output)]
    return 2 * (3 * sum(products) - products[0])


def work(recipe: Recipe, data: datasets.Dataset) -> dict[str, Any]:
    """What each contender is asked to do, and what it costs."""
    epochs, n = recipe.trainer.max_epochs, len(data.train.labels)
    each = flops_per_sample(recipe, data.input_shape, data.classes)
    return {
        "updates": epochs * datasets.steps_per_epoch(n, recipe.data.batch_size),
        "samples": epochs * n,
        "flops_per_sample": each,
        "flops": each * epochs * n,
        "parameters": sum(math.prod(shape) for shape in _learned(recipe, data)),
    }


def _learned(recipe: Recipe, data: datasets.Dataset) -> list[tuple[int, ...]]:
    shapes = recipes.sizes(recipe.model, data.input_shape, data.classes).shapes(recipe.model)
    return [shape for name, shape in shapes.items() if "running" not in name]
