"""The work that every contender has to do: updates, samples and floating-point operations."""

from __future__ import annotations

import math

from minigrad import datasets, recipes
from minigrad.recipes import Recipe

from ..results.schema import Work

Shape = tuple[int, int, int]


def matrix_products(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> list[Shape]:
    """Return the matrix products of one training step, each as (rows, inner size, columns).

    A linear layer of n inputs and m outputs multiplies (B, n) by (n, m) forward, (m, B) by (B, n) for the gradient of its
    weight, and (B, m) by (m, n) for that of its input, where B is the batch size. A convolution of k x k does the same with
    n = k k times the channels of its input, and one row per output pixel. The input of the first layer needs no gradient.

    Args:
        recipe: gives the network and the batch size.
        input_shape: shape of one sample.
        classes: number of classes.
    """
    sizes, batch = recipes.sizes(recipe.model, input_shape, classes), recipe.data.batch_size
    layers: list[Shape] = []  # rows, inputs, outputs
    _, height, width = sizes.image
    for channels_in, channels_out in sizes.conv:
        layers.append((batch * height * width, recipe.model.kernel_size**2 * channels_in, channels_out))
        height, width = height // 2, width // 2  # each pooling halves it
    layers += [(batch, n, m) for n, m in (*sizes.hidden, sizes.output)]
    products = [product for rows, n, m in layers for product in ((rows, n, m), (m, rows, n), (rows, m, n))]
    return [*products[:2], *products[3:]]


def flops_per_sample(recipe: Recipe, input_shape: tuple[int, ...], classes: int) -> int:
    """Return the floating-point operations of the matrix products in one sample's forward and backward pass.

    Elementwise operations are not counted: their number is smaller by about a factor of the layer's width.

    Args:
        recipe: gives the network.
        input_shape: shape of one sample.
        classes: number of classes.
    """
    products = matrix_products(recipe, input_shape, classes)
    return sum(2 * math.prod(shape) for shape in products) // recipe.data.batch_size


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
