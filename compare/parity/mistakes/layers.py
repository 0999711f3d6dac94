"""Known mistakes in loading the weights, and in the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad import ops

from .case import FLOAT32, SOFTMAX, Case, Numbers, ratio, scale_of, softmax

TRANSPOSED = "It is transposed."
COARSE = 1e-5  # more than the rounding error of a float32 sum of hundreds of terms
SWAPPED = "Height and width of its kernel are swapped."
ROTATED = "Its kernel is rotated by 180 degrees, as in a mathematical convolution."
OTHER_ORDER = "Its buffer is read in the other order, as (in, out) instead of (out, in)."


def misread(case: Case) -> Iterator[tuple[str, Numbers]]:
    """A weight is loaded in another layout or dtype, or not at all."""
    w, key = case.weights(0)[case.name], f"weight {case.name} 0"
    yield "It is zero.", {key: np.zeros_like(w)}
    yield FLOAT32, {key: w.astype(np.float32).astype(np.float64)}
    if w.ndim > 1:
        for sentence, array in misreadings(w):
            yield sentence, {key: array}


def misreadings(w: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a weight (out, in) or (out, in, height, width) in layouts that other frameworks use."""
    if w.ndim == 2:
        yield TRANSPOSED, w.T
        yield OTHER_ORDER, w.T.reshape(w.shape)
        yield OTHER_ORDER, w.reshape(w.shape[::-1]).T
        return
    if w.ndim == 4:
        yield SWAPPED, w.swapaxes(2, 3)
    yield ROTATED, np.flip(w, tuple(range(2, w.ndim)))
    yield OTHER_ORDER, np.moveaxis(w, (1, 0), (-2, -1)).reshape(w.shape)
    yield OTHER_ORDER, np.moveaxis(w.reshape(*w.shape[2:], w.shape[1], w.shape[0]), (-2, -1), (1, 0))


def badly_scaled(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The input is scaled by another factor, or its axes are swapped."""
    if case.name != "scaled":
        return
    expected, actual, images = (
        case.reference.at("trace", 1)["scaled"],
        case.other.at("trace", 1)["scaled"],
        case.reference.batch(1)[0],
    )
    key = "trace scaled 1"
    if images.dtype == np.uint8:
        yield "The pixels are not scaled by 1/255.", {key: expected * 255}
        yield "The pixels are scaled by 1/255 twice.", {key: expected / 255}
        yield "1/255 is rounded to float32.", {key: expected * 255 * float(np.float32(1 / 255))}
    yield FLOAT32, {key: expected.astype(np.float32).astype(np.float64)}
    if images.ndim > 2:
        swapped = images.swapaxes(1, 2).reshape(len(images), *images.shape[1:])
        swapped = np.moveaxis(swapped, -1, 1) if expected.ndim == 4 and images.ndim == 4 else swapped
        yield "Height and width of the images are swapped.", {key: swapped.reshape(expected.shape) * scale_of(images)}
    factor = ratio(actual, expected)
    yield (
        f"The input is scaled by {factor * scale_of(images):.4g} instead of {scale_of(images):.4g}.",
        {key: expected * factor},
    )


def wrong_layer(case: Case) -> Iterator[tuple[str, Numbers]]:
    """A layer computes another output from the correct input."""
    actual, expected = case.other.at("trace", 1), case.reference.at("trace", 1)
    before = list(expected)[: list(expected).index(case.name)]
    key, x = f"trace {case.name} 1", actual[before[-1]] if before and before[-1] in actual else None
    if case.name == "output":
        yield SOFTMAX, {key: softmax(expected["output"])}
        yield (
            "The logits went through log_softmax, which cross_entropy applies itself.",
            {key: np.asarray(ops.log_softmax(expected["output"], 1))},
        )
    yield from ((sentence, {key: array}) for sentence, array in _in_float32(case, actual[case.name]))
    if x is None:
        return
    for sentence, output in _layers(case, x):
        yield sentence, {key: output}


def _in_float32(case: Case, actual: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Check whether the contender's values are float32 numbers.

    A computation in float32 cannot be replayed, since the order of its sums is unknown.
    """
    if case.allowed.dtype == "float64" and case.gap < COARSE * max(1.0, float(np.abs(actual).max(initial=0))):
        yield FLOAT32, actual.astype(np.float32).astype(np.float64)
        shape = (-1, *[1] * (actual.ndim - 2))
        bias = case.weights(0)[f"{case.name}.bias"].reshape(shape)
        yield "Its product with the weight is computed in float32.", (actual - bias).astype(np.float32) + bias


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "no activation": lambda x: x,
    "relu": ops.relu,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "gelu": ops.gelu,
    "gelu with tanh": lambda x: ops.gelu(x, "tanh"),
    "leaky_relu": ops.leaky_relu,
    "elu": ops.elu,
    "silu": ops.silu,
    "softplus": ops.softplus,
}


def _layers(case: Case, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the outputs of wrong layers for the input `x`."""
    weights = case.weights(0)
    if case.name.endswith("activation"):
        yield from (
            (f"The activation is {name} instead of {case.recipe.model.activation}.", np.asarray(activation(x)))
            for name, activation in ACTIVATIONS.items()
        )
    elif case.name.endswith("pooled"):
        yield "It is mean pooling instead of max pooling.", np.asarray(ops.avg_pool2d(x, 2))
    elif f"{case.name}.running_mean" in weights:
        yield from _norms(x, weights[f"{case.name}.weight"], weights[f"{case.name}.bias"])
    else:
        yield from _linears(x, weights[f"{case.name}.weight"], weights.get(f"{case.name}.bias", np.zeros(1)))


def _linears(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if w.ndim == 4:
        half = w.shape[-1] // 2
        yield "The bias is missing.", np.asarray(ops.conv2d(x, w, None, 1, half))
        for sentence, wrong in misreadings(w):
            if wrong.shape == w.shape:
                yield f"Its weight: {sentence}", np.asarray(ops.conv2d(x, np.ascontiguousarray(wrong), b, 1, half))
        return
    flat = x.reshape(len(x), -1)
    yield "The bias is missing.", flat @ w.T
    for sentence, wrong in misreadings(w):
        if wrong.shape == w.shape:
            yield f"Its weight: {sentence}", flat @ wrong.T + b
    if x.ndim == 4:
        last = x.transpose(0, 2, 3, 1).reshape(len(x), -1)
        yield "Its input is flattened channels last, but its weight expects channels first.", last @ w.T + b


def _norms(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    shape, axes = (1, -1, *[1] * (x.ndim - 2)), (0, *range(2, x.ndim))
    w, b = w.reshape(shape), b.reshape(shape)
    yield "The running statistics are used instead of those of the batch.", x / np.sqrt(1 + 1e-5) * w + b
    centered, var = x - x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    for eps in (1e-3, 1e-4, 1e-6, 1e-7, 1e-8, 0.0):
        yield f"Its epsilon is {eps:g} where minigrad has 1e-05.", centered / np.sqrt(var + eps) * w + b
    n = x.size // x.shape[1]
    yield (
        "The variance of the batch is divided by n - 1 instead of n.",
        centered / np.sqrt(var * n / (n - 1) + 1e-5) * w + b,
    )
