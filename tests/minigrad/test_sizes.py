"""The sizes of a recipe's network, its label, and data that it can't learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from minigrad_helpers import sentence_of

from minigrad.datasets import Dataset, Split
from minigrad.recipes import Data, Model, Recipe, refuse_misfit, sizes
from minigrad.runs.progress import network


def dataset(input_shape: tuple[int, ...], size: int = 20, classes: int = 3) -> Dataset:
    split = Split(np.zeros((size, *input_shape), np.uint8), np.zeros(size, np.int64))
    return Dataset(split, split, split, classes)


def cnn(**options: Any) -> Model:
    return Model(architecture="cnn", **options)


# Sizes.


@pytest.mark.parametrize(
    ("model", "input_shape", "hidden", "output"),
    [
        (Model(), (28, 28), [(784, 10)], (10, 3)),
        (Model(hidden=[]), (28, 28), [], (784, 3)),
        (Model(hidden=[7, 5]), (6,), [(6, 7), (7, 5)], (5, 3)),
        (Model(hidden=[4]), (2, 3, 5), [(30, 4)], (4, 3)),
        (Model(hidden=[4]), (2, 3, 5, 2), [(60, 4)], (4, 3)),
        (Model(hidden=[4], channels=[]), (1,), [(1, 4)], (4, 3)),
    ],
)
def test_an_mlp_is_linear_layers_whatever_the_shape(
    model: Model, input_shape: tuple[int, ...], hidden: list[tuple[int, int]], output: tuple[int, int]
) -> None:
    found = sizes(model, input_shape, 3)
    assert (found.conv, found.hidden, found.output) == ([], hidden, output)


@pytest.mark.parametrize(
    ("model", "input_shape", "image", "conv", "hidden", "output"),
    [
        (cnn(hidden=[]), (28, 28), (1, 28, 28), [(1, 8), (8, 16)], [], (16 * 7 * 7, 3)),
        (cnn(hidden=[]), (32, 32, 3), (3, 32, 32), [(3, 8), (8, 16)], [], (16 * 8 * 8, 3)),
        (cnn(channels=[5], hidden=[6]), (9, 4), (1, 9, 4), [(1, 5)], [(5 * 4 * 2, 6)], (6, 3)),
        # 7 is halved to 3, and that to 1.
        (cnn(channels=[5, 2], hidden=[6, 4]), (7, 11, 2), (2, 7, 11), [(2, 5), (5, 2)], [(2 * 2, 6), (6, 4)], (4, 3)),
        (cnn(channels=[2, 3, 4], hidden=[]), (8, 8), (1, 8, 8), [(1, 2), (2, 3), (3, 4)], [], (4, 3)),
        (cnn(channels=[2], kernel_size=31, hidden=[]), (2, 3), (1, 2, 3), [(1, 2)], [], (2, 3)),
        (cnn(channels=[2], hidden=[]), (4, 4, 1), (1, 4, 4), [(1, 2)], [], (8, 3)),
    ],
)
def test_a_cnn_halves_height_and_width_at_each_convolution(
    model: Model,
    input_shape: tuple[int, ...],
    image: tuple[int, int, int],
    conv: list[tuple[int, int]],
    hidden: list[tuple[int, int]],
    output: tuple[int, int],
) -> None:
    found = sizes(model, input_shape, 3)
    assert (found.image, found.conv, found.hidden, found.output) == (image, conv, hidden, output)


def test_the_shapes_of_the_weights_file() -> None:
    model = cnn(channels=[2, 4], kernel_size=3, hidden=[5])
    assert sizes(model, (8, 8, 3), 7).shapes(model) == {
        "conv.0.weight": (2, 3, 3, 3),
        "conv.0.bias": (2,),
        "conv.1.weight": (4, 2, 3, 3),
        "conv.1.bias": (4,),
        "hidden.0.weight": (5, 16),
        "hidden.0.bias": (5,),
        "output.weight": (7, 5),
        "output.bias": (7,),
    }


def test_batch_norm_brings_four_arrays_and_takes_the_bias_before_it() -> None:
    model = cnn(channels=[2], kernel_size=3, hidden=[5], batch_norm=True)
    assert sizes(model, (4, 4), 7).shapes(model) == {
        "conv.0.weight": (2, 1, 3, 3),
        "conv_norm.0.weight": (2,),
        "conv_norm.0.bias": (2,),
        "conv_norm.0.running_mean": (2,),
        "conv_norm.0.running_var": (2,),
        "hidden.0.weight": (5, 8),
        "hidden_norm.0.weight": (5,),
        "hidden_norm.0.bias": (5,),
        "hidden_norm.0.running_mean": (5,),
        "hidden_norm.0.running_var": (5,),
        "output.weight": (7, 5),
        "output.bias": (7,),
    }


@pytest.mark.parametrize(
    ("model", "input_shape", "label"),
    [
        (Model(), (28, 28), "784-10-3"),
        (Model(hidden=[]), (6,), "6-3"),
        (Model(hidden=[128, 64]), (4, 4, 3), "48-128-64-3"),
        (cnn(hidden=[]), (28, 28), "28x28, 8-16 channels of 5x5, then 784-3"),
        (cnn(channels=[4], kernel_size=3, hidden=[20]), (8, 6, 3), "8x6x3, 4 channels of 3x3, then 48-20-3"),
    ],
)
def test_a_network_is_called_by_its_sizes(model: Model, input_shape: tuple[int, ...], label: str) -> None:
    assert network(Recipe(model=model), dataset(input_shape)) == label


# Refusals.

IMAGES = "expected images, (height, width) or (height, width, channels)"
NORMED = {"batch_norm": True}


@pytest.mark.parametrize(
    ("model", "data", "input_shape", "words"),
    [
        (cnn(), {}, (784,), ("model.architecture: cnn", "(784,)", IMAGES)),
        (cnn(), {}, (2, 8, 8, 3), ("model.architecture: cnn", "(2, 8, 8, 3)", IMAGES)),
        (cnn(channels=[2, 3, 4]), {}, (7, 9), ("model.channels: [2, 3, 4]", "7x9", "expected at most 2 convolutions")),
        (cnn(channels=[2, 3, 4, 5]), {}, (8, 8, 3), ("model.channels: [2, 3, 4, 5]", "8x8", "expected at most 3 ")),
        (cnn(channels=[2]), {}, (1, 9), ("model.channels: [2]", "1x9", "expected at most 0 ")),
        (cnn(channels=[2]), {}, (9, 1), ("model.channels: [2]", "9x1", "expected at most 0 ")),
        (Model(), {"augment": "shift"}, (784,), ("data.augment: shift", "(784,)", IMAGES)),
        (Model(), {"augment": "shift"}, (2, 8, 8, 3), ("data.augment: shift", "(2, 8, 8, 3)", IMAGES)),
        (Model(**NORMED), {"batch_size": 1}, (6,), ("data.batch_size: 1 ", "batch of one of 20", "batch_norm", "size")),
        (Model(**NORMED), {"batch_size": 19}, (6,), ("data.batch_size: 19 ", "of one of 20", "expected another size")),
        (cnn(**NORMED), {"batch_size": 19}, (8, 8), ("data.batch_size: 19 ", "of one of 20", "expected another size")),
    ],
)
def test_what_can_not_be_learnt_is_one_sentence(
    model: Model, data: dict[str, Any], input_shape: tuple[int, ...], words: tuple[str, ...]
) -> None:
    text = sentence_of(lambda: refuse_misfit(Recipe(model=model, data=Data(**data)), dataset(input_shape)))
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("model", "data", "input_shape"),
    [
        (Model(), {}, (6,)),
        (Model(), {"batch_size": 19}, (6,)),
        (Model(), {"batch_size": 1}, (2, 8, 8, 3)),
        (Model(**NORMED), {"batch_size": 20}, (6,)),
        (Model(**NORMED), {"batch_size": 10}, (6,)),
        (Model(**NORMED), {"batch_size": 18}, (6,)),
        (Model(), {"augment": "shift"}, (1, 1)),
        (Model(), {"augment": "shift"}, (3, 2, 4)),
        (cnn(channels=[2, 3, 4]), {"augment": "shift"}, (8, 9)),
        (cnn(kernel_size=99), {}, (4, 4, 3)),
        (cnn(channels=[1] * 5, **NORMED), {"batch_size": 7}, (32, 63)),
    ],
)
def test_what_can_be_learnt_is_not_refused(model: Model, data: dict[str, Any], input_shape: tuple[int, ...]) -> None:
    refuse_misfit(Recipe(model=model, data=Data(**data)), dataset(input_shape))
