"""The work that every contender has to do: updates, samples and floating-point operations."""

from __future__ import annotations

import math

from minigrad import datasets, recipes
from minigrad.recipes import Recipe

from ..results.schema import Work


def flops_per_sample(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> int:
    """Return the floating-point operations of the matrix products in one sample's forward and backward pass.

    A linear layer of n inputs and m outputs takes 2 n m operations forward, 2 n m for the
    gradient of its weight and 2 n m for that of its input; a convolution takes
    that many per output pixel. The input of the first layer needs no
    gradient. Elementwise operations are not counted: their number is smaller
    by about a factor of the layer's width.

    Args:
        recipe: gives the network.
        input_shape: shape of one sample.
        classes: number of classes.
    """
    sizes = recipes.sizes(recipe.model, input_shape, classes)
    products = []
    if sizes.conv:
        _, height, width = sizes.image
        for channels_in, channels_out in sizes.conv:
            products.append(height * width * recipe.model.kernel_size**2 * channels_in * channels_out)
            height, width = height // 2, width // 2
    products += [n * m for n, m in (*sizes.hidden, sizes.output)]
    return 2 * (3 * sum(products) - products[0])


def required_work(recipe: Recipe, data: datasets.Dataset) -> Work:
    """Return the work that each contender has to do."""
    epochs, n = recipe.trainer.max_epochs, len(data.train.labels)
    flops = flops_per_sample(recipe, data.input_shape, data.classes)
    shapes = recipes.sizes(recipe.model, data.input_shape, data.classes).shapes(recipe.model)
    return {
        "updates": epochs * datasets.steps_per_epoch(n, recipe.data.batch_size),
        "samples": epochs * n,
        "flops_per_sample": flops,
        "flops": flops * epochs * n,
        "parameters": sum(math.prod(shape) for name, shape in shapes.items() if "running" not in name),
    }
