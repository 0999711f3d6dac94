"""Mistakes of a port, planted in NumPy: each is found by its name, and none in a correct pair.

The planted outputs are computed here, with formulas of their own, not with the replay.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compare.porting.adapters.layouts import same_padding
from compare.porting.case import Case, Training
from compare.porting.mistakes import explain
from compare.porting.model import Layer, Parameter

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 3, 8, 8))
VECTORS = RNG.normal(size=(6, 12))
KERNEL = RNG.normal(size=(5, 3, 3, 3))
SQUARE = RNG.normal(size=(6, 6))
PER_CHANNEL = {
    "weight": RNG.normal(size=3),
    "bias": RNG.normal(size=3),
    "running_mean": RNG.normal(size=3),
    "running_var": RNG.uniform(0.5, 1.5, size=3),
}
LINEAR = {"weight": RNG.normal(size=(5, 12)), "bias": RNG.normal(size=5)}
CONV = {"weight": KERNEL, "bias": RNG.normal(size=5)}
NORM = {"weight": RNG.normal(size=12), "bias": RNG.normal(size=12)}
ONES, ZEROS, SAME = [[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 1], [0, 1]]


def make_layer(
    name: str, kind: str, config: Mapping[str, Any], weights: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray
) -> Layer:
    parameters = tuple(Parameter(f"{name}.{role}", role, w.shape, True) for role, w in weights.items())
    return Layer(name, kind, config, parameters, (x.shape,), y.shape)


def make_case(
    kind: str,
    x: np.ndarray,
    outputs: tuple[np.ndarray, np.ndarray],
    configs: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
    weights: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]] = ({}, {}),
    **options: Any,
) -> Case:
    """Return a case of a layer of PyTorch and one of Keras, which was fed the same input."""
    kinds = options.pop("kinds", (kind, kind))
    settings: dict[str, Any] = {"stage": "forward", "mode": "eval", "tensor": "output", "tolerance": 1e-10}
    return Case(
        left=make_layer("first", kinds[0], configs[0], weights[0], x, outputs[0]),
        right=make_layer("second", kinds[1], configs[1], weights[1], x, outputs[1]),
        expected=outputs[0],
        actual=outputs[1],
        **settings
        | {"inputs": (x,), "left_weights": weights[0], "right_weights": weights[1], "right_framework": "keras"}
        | options,
    )


def reversed_case(case: Case) -> Case:
    """Return the same case with the sides exchanged."""
    return replace(
        case,
        left=case.right,
        right=case.left,
        expected=case.actual,
        actual=case.expected,
        left_weights=case.right_weights,
        right_weights=case.left_weights,
        left_framework=case.right_framework,
        right_framework=case.left_framework,
    )


def convolve(x: np.ndarray, w: np.ndarray, padding: Any, stride: int = 1, bias: Any = 0.0) -> np.ndarray:
    x = np.pad(x, [(0, 0), (0, 0), *padding])
    k = w.shape[-1]
    size = [(n - k) // stride + 1 for n in x.shape[2:]]
    y = np.zeros((len(x), len(w), *size))
    for i, j in np.ndindex(*size):
        patch = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
        y[:, :, i, j] = np.einsum("ncij,ocij->no", patch, w)
    return y + np.reshape(bias, (-1, 1, 1))


def averages(x: np.ndarray, padding: Any, count_padding: bool, stride: int = 1) -> np.ndarray:
    """Average pooling with windows of 3 x 3."""
    ones = np.ones((1, 1, 3, 3))

    def sums(x: np.ndarray) -> np.ndarray:
        return np.concatenate([convolve(x[:, c : c + 1], ones, padding, stride) for c in range(x.shape[1])], axis=1)

    return sums(x) / (9 if count_padding else sums(np.ones_like(x)))


def batch_norm(x: np.ndarray, eps: float, weights: Mapping[str, np.ndarray] = PER_CHANNEL, batch: bool = False) -> Any:
    shape = (1, -1, 1, 1)
    mean = x.mean((0, 2, 3)) if batch else weights["running_mean"]
    var = x.var((0, 2, 3)) if batch else weights["running_var"]
    unit = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return unit * np.reshape(weights.get("weight", 1.0), shape) + np.reshape(weights.get("bias", 0.0), shape)


def layer_norm(x: np.ndarray, eps: float) -> np.ndarray:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps) * NORM["weight"] + NORM["bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def without(weights: Mapping[str, np.ndarray], role: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in weights.items() if name != role}


def conv_case(padding: Any, stride: int, kernels: Any = None, **options: Any) -> Case:
    """Return a case of convolutions with these paddings."""
    kernels = kernels or (CONV, CONV)
    outputs = [
        convolve(IMAGES, w["weight"], p, stride, w.get("bias", 0.0)) for w, p in zip(kernels, padding, strict=True)
    ]
    configs = [{"padding": p, "stride": [stride, stride], "dilation": [1, 1], "groups": 1} for p in padding]
    return make_case("conv2d", IMAGES, tuple(outputs), tuple(configs), kernels, **options)


def norm_case(eps: tuple[float, float], told: bool = True) -> Case:
    configs = ({"eps": eps[0], "momentum": 0.1}, {"eps": eps[1 if told else 0], "momentum": 0.01})
    outputs = (batch_norm(IMAGES, eps[0]), batch_norm(IMAGES, eps[1]))
    return make_case("batch_norm", IMAGES, outputs, configs, (PER_CHANNEL, PER_CHANNEL))


def pool_case(padding: Any, counted: tuple[bool, bool], stride: int = 1) -> Case:
    sides = list(zip(padding, counted, strict=True))
    outputs = tuple(averages(IMAGES, p, c, stride) for p, c in sides)
    configs = tuple(
        {"kernel_size": [3, 3], "stride": [stride, stride], "padding": p, "count_padding": c} for p, c in sides
    )
    return make_case("avg_pool", IMAGES, outputs, configs)  # type: ignore[arg-type]


def activation_case(names: tuple[str, str], functions: tuple[Any, Any], x: np.ndarray = 3 * VECTORS) -> Case:
    outputs = (functions[0](x), functions[1](x))
    return make_case("activation", x, outputs, ({"function": names[0]}, {"function": names[1]}))


def linear_case(weights: tuple[Any, Any], x: np.ndarray = VECTORS, **options: Any) -> Case:
    outputs = tuple(x @ w["weight"].T + w.get("bias", 0.0) for w in weights)
    return make_case("linear", x, outputs, ({}, {}), weights, **options)  # type: ignore[arg-type]


def dropped(x: np.ndarray, rate: float = 0.3) -> np.ndarray:
    return x * (np.random.default_rng(1).random(x.shape) >= rate) / (1 - rate)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


LAYERS: dict[str, tuple[Case, str, tuple[str, ...]]] = {
    "batch norm epsilon": (norm_case((1e-5, 1e-3)), "batch norm epsilon", ("BatchNormalization(..., epsilon=1e-05)",)),
    "batch norm epsilon that the config hides": (norm_case((1e-5, 1e-3), told=False), "batch norm epsilon", ("0.001",)),
    "layer norm epsilon": (
        make_case(
            "layer_norm",
            VECTORS,
            (layer_norm(VECTORS, 1e-5), layer_norm(VECTORS, 1e-3)),
            ({"eps": 1e-5}, {"eps": 1e-3}),
            (NORM, NORM),
        ),
        "layer norm epsilon",
        ("LayerNormalization(..., epsilon=1e-05)",),
    ),
    "padding same at stride 2": (
        conv_case((ONES, SAME), 2),
        "asymmetric padding",
        ('(padding="same" of Keras)', "ZeroPadding2D(((1, 1), (1, 1)))"),
    ),
    "no padding": (conv_case((ONES, ZEROS), 2), "padding", ("the shapes (4, 5, 4, 4) and (4, 5, 3, 3)",)),
    "gelu": (
        activation_case(("gelu", "gelu_tanh"), (gelu, gelu_tanh)),
        "gelu approximation",
        ("keras.activations.gelu(x, approximate=False)",),
    ),
    "relu6": (
        activation_case(("relu", "relu6"), (relu, lambda x: np.clip(x, 0, 6))),
        "activation",
        ("computes relu6", 'activation="relu"'),
    ),
    "leaky relu": (
        activation_case(("relu", "custom"), (relu, lambda x: np.where(x > 0, x, 0.3 * x))),
        "activation",
        ("negative slope 0.3",),
    ),
    "missing bias": (
        conv_case((ONES, ONES), 1, (CONV, without(CONV, "bias"))),
        "missing bias",
        ("Conv2D(..., use_bias=True)",),
    ),
    "missing bias of a linear layer": (
        linear_case((LINEAR, without(LINEAR, "bias"))),
        "missing bias",
        ("Dense(..., use_bias=True)",),
    ),
    "average that counts the padding": (
        pool_case((ONES, ONES), (False, True)),
        "padding counted in the average",
        ('padding="same"',),
    ),
    "average that does not count an asymmetric padding": (
        pool_case((ONES, SAME), (True, False), 2),
        "padding counted in the average",
        ("does not count the padding in the average",),
    ),
    "max pooling": (
        make_case(
            "avg_pool",
            IMAGES,
            (IMAGES.reshape(4, 3, 4, 2, 4, 2).mean((3, 5)), IMAGES.reshape(4, 3, 4, 2, 4, 2).max((3, 5))),
            ({"kernel_size": 2, "stride": 2, "padding": 0}, {"kernel_size": 2, "stride": 2, "padding": 0}),
            kinds=("avg_pool", "max_pool"),
        ),
        "max pooling instead of average pooling",
        ("AveragePooling2D",),
    ),
    "dropout": (
        make_case("dropout", IMAGES, (IMAGES, dropped(IMAGES)), ({"rate": 0.3}, {"rate": 0.3})),
        "dropout active",
        ("as with rate 0.3", "training=False"),
    ),
    "flatten order": (
        make_case(
            "flatten",
            IMAGES,
            (IMAGES.reshape(4, -1), IMAGES.transpose(0, 2, 3, 1).reshape(4, -1)),
            following=("fc", "dense"),
        ),
        "flatten order",
        ("rows: [3, 8, 8]",),
    ),
    "statistics of the batch": (
        make_case(
            "batch_norm",
            IMAGES,
            (batch_norm(IMAGES, 1e-5), batch_norm(IMAGES, 1e-5, batch=True)),
            ({"eps": 1e-5}, {"eps": 1e-5}),
            (PER_CHANNEL, PER_CHANNEL),
        ),
        "batch norm statistics",
        ("uses the statistics of the batch in eval mode",),
    ),
    "missing scale": (
        make_case(
            "batch_norm",
            IMAGES,
            (batch_norm(IMAGES, 1e-5), batch_norm(IMAGES, 1e-5, without(PER_CHANNEL, "weight"))),
            ({"eps": 1e-5}, {"eps": 1e-5}),
            (PER_CHANNEL, without(PER_CHANNEL, "weight")),
        ),
        "missing scale",
        ("BatchNormalization(..., scale=True)",),
    ),
    "softmax in the layer": (
        make_case(
            "linear",
            VECTORS,
            (VECTORS @ LINEAR["weight"].T + LINEAR["bias"], softmax(VECTORS @ LINEAR["weight"].T + LINEAR["bias"])),
            weights=(LINEAR, LINEAR),
        ),
        "softmax in the model",
        ("a loss from logits applies softmax itself",),
    ),
    "output of a reshaped kernel": (
        linear_case((LINEAR, LINEAR | {"weight": LINEAR["weight"].reshape(12, 5).T})),
        "reshaped kernel",
        ("kernel = weight.T",),
    ),
}


@pytest.mark.parametrize("title", LAYERS)
def test_mistakes_of_a_layer(title: str) -> None:
    case, mistake, words = LAYERS[title]
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == mistake
    assert (explanation.left, explanation.right) == ("first", "second")
    for text in ("`second` (right)", *words):
        assert text in explanation.sentence
    if case.expected.shape == case.actual.shape and not explanation.sentence.startswith("The weight"):
        assert f"differ by up to {np.abs(case.expected - case.actual).max():.3g}" in explanation.sentence


def test_sides_can_be_exchanged() -> None:
    """The same mistakes are found if the left side has them, and the words are those of PyTorch."""
    words = {
        "batch norm epsilon": "nn.BatchNorm2d(..., eps=0.001)",
        "padding same at stride 2": "`F.pad(x, (0, 1, 0, 1))` in front of `nn.Conv2d(..., padding=0)`",
        "gelu": 'nn.GELU(approximate="tanh")',
        "missing bias": "Conv2D(..., use_bias=True)",
        "average that counts the padding": "count_include_pad=True",
        "dropout": "training=False",
        "statistics of the batch": "`second` (left) uses the statistics of the batch in eval mode",
        "softmax in the layer": "The output of `second` (left) went through softmax",
    }
    for title, text in words.items():
        explanation = explain(reversed_case(LAYERS[title][0]))
        assert explanation is not None, title
        assert explanation.mistake == LAYERS[title][1]
        assert text in explanation.sentence


def test_map_of_another_flatten_order() -> None:
    explanation = explain(LAYERS["flatten order"][0])
    assert explanation is not None
    assert explanation.map == "- left: fc\n  right: dense\n  rows: [3, 8, 8]\n"


def test_no_false_alarms() -> None:
    """Equal outputs are no mistake, whatever the settings say, and unknown differences have no explanation."""
    for case, _, _ in LAYERS.values():
        rounded = replace(case, actual=case.expected * (1 + 1e-13))
        noise = replace(case, actual=case.actual + 1e-6 * RNG.normal(size=case.actual.shape))
        assert explain(rounded) is None
        assert explain(noise) is None


def test_a_setting_without_effect_is_not_the_explanation() -> None:
    """The configs differ in epsilon and in padding, but only the padding explains the numbers."""
    case = conv_case((ONES, SAME), 2)
    assert case.left is not None
    assert case.right is not None
    left, right = (
        replace(layer, config={**layer.config, "eps": eps}) for layer, eps in ((case.left, 1), (case.right, 2))
    )
    explanation = explain(replace(case, left=left, right=right))
    assert explanation is not None
    assert "variance" not in explanation.sentence
    other = make_case("conv2d", IMAGES, (case.expected, 1.5 * case.expected), (left.config, right.config), (CONV, CONV))
    assert explain(other) is None


def keras_convolution(sentence: str, arguments: dict[str, Any]) -> np.ndarray:
    """Return the output of Keras's convolution after the change that a sentence proposes has been made.

    Args:
        sentence: the explanation.
        arguments: the arguments `strides` and `padding` before the change.
    """
    new = dict(re.findall(r"(strides|padding)=(\(\d, \d\)|\"\w+\")", sentence.rpartition("Write ")[2]))
    stride, padding = (ast.literal_eval(new[key]) if key in new else arguments[key] for key in ("strides", "padding"))
    front = re.search(r"ZeroPadding2D\((.*?)\)`", sentence)
    x = np.pad(IMAGES, [(0, 0), (0, 0), *ast.literal_eval(front[1])]) if front else IMAGES
    pairs = same_padding(x.shape[2:], (3, 3), stride, (1, 1)) if padding == "same" else ZEROS
    return convolve(x, KERNEL, pairs, stride[0], CONV["bias"])


@pytest.mark.parametrize("ours", list(itertools.product((ONES, ZEROS, SAME), (1, 2, 3))))
@pytest.mark.parametrize("theirs", list(itertools.product(("same", "valid"), (1, 2, 3))))
def test_a_convolution_is_equal_after_the_proposed_change(ours: tuple[Any, int], theirs: tuple[str, int]) -> None:
    arguments = {"padding": theirs[0], "strides": (theirs[1], theirs[1])}
    pairs = same_padding((8, 8), (3, 3), arguments["strides"], (1, 1)) if theirs[0] == "same" else ZEROS
    sides = (ours, (pairs, theirs[1]))
    outputs = tuple(convolve(IMAGES, KERNEL, p, s, CONV["bias"]) for p, s in sides)
    configs = tuple({"padding": p, "stride": [s, s], "dilation": [1, 1], "groups": 1} for p, s in sides)
    explanation = explain(make_case("conv2d", IMAGES, outputs, configs, (CONV, CONV)))  # type: ignore[arg-type]
    if outputs[0].shape == outputs[1].shape and np.allclose(*outputs):
        assert explanation is None
        return
    assert explanation is not None
    np.testing.assert_allclose(keras_convolution(explanation.sentence, arguments), outputs[0], atol=1e-10)


def test_same_is_that_of_the_stride_of_each_side() -> None:
    """The right layer hides that it has another stride and the padding "same" of this stride."""
    outputs = tuple(convolve(IMAGES, KERNEL, p, s, CONV["bias"]) for p, s in ((ONES, 1), (SAME, 2)))
    config = {"padding": ONES, "stride": [1, 1], "dilation": [1, 1], "groups": 1}
    explanation = explain(make_case("conv2d", IMAGES, outputs, (config, config), (CONV, CONV)))  # type: ignore[arg-type]
    assert explanation is not None
    assert 'pads (0, 1) x (0, 1) (padding="same" of Keras) and has stride (2, 2) where' in explanation.sentence
    assert 'Conv2D(..., strides=(1, 1), padding="same")' in explanation.sentence


def weight_case(role: str, expected: np.ndarray, actual: np.ndarray, others: Any = None, **options: Any) -> Case:
    weights = ({role: expected, **(others or {})}, {role: actual, **(others or {})})
    x = np.zeros((1, 1))
    return make_case("linear", x, (expected, actual), ({}, {}), weights, stage="weights", tensor=role, **options)


FEATURES = RNG.normal(size=(5, 3 * 4 * 4))
WEIGHTS: dict[str, tuple[Case, str]] = {
    "transposed": (weight_case("weight", SQUARE, SQUARE.T), "transposed weight"),
    "reshaped linear": (
        weight_case("weight", LINEAR["weight"], LINEAR["weight"].reshape(12, 5).T),
        "reshaped kernel",
    ),
    "reshaped linear from Keras": (
        weight_case("weight", LINEAR["weight"], LINEAR["weight"].T.reshape(5, 12), left_framework="keras"),
        "reshaped kernel",
    ),
    "reshaped kernel": (
        weight_case("weight", KERNEL, KERNEL.reshape(3, 3, 3, 5).transpose(3, 2, 0, 1)),
        "reshaped kernel",
    ),
    "reshaped kernel from Keras": (
        weight_case("weight", KERNEL, KERNEL.transpose(2, 3, 1, 0).reshape(5, 3, 3, 3)),
        "reshaped kernel",
    ),
    "swapped height and width": (weight_case("weight", KERNEL, KERNEL.swapaxes(2, 3)), "swapped height and width"),
    "rotated": (weight_case("weight", KERNEL, KERNEL[:, :, ::-1, ::-1]), "rotated kernel"),
    "first kernel for BGR": (weight_case("weight", KERNEL, KERNEL[:, ::-1]), "channels swapped"),
    "flatten order": (
        weight_case("weight", FEATURES, FEATURES.reshape(5, 3, 16).swapaxes(1, 2).reshape(5, 48)),
        "flatten order",
    ),
    "beta and gamma": (
        weight_case("weight", NORM["weight"], NORM["bias"], {"bias": NORM["bias"]}),
        "swapped weights",
    ),
    "initial": (weight_case("running_var", PER_CHANNEL["running_var"], np.ones(3)), "weight not copied"),
    "rounded": (weight_case("weight", SQUARE, SQUARE.astype(np.float32).astype(np.float64)), "rounded weight"),
}


@pytest.mark.parametrize("title", WEIGHTS)
def test_mistakes_of_a_weight(title: str) -> None:
    case, mistake = WEIGHTS[title]
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == mistake
    assert explain(replace(case, actual=case.expected)) is None
    assert explain(replace(case, actual=case.actual + RNG.normal(size=case.actual.shape))) is None


def test_map_of_permuted_columns() -> None:
    case = WEIGHTS["flatten order"][0]
    explanation = explain(case)
    assert explanation is not None
    assert explanation.map == "- left: first\n  right: second\n  rows: [3, 4, 4]\n"
    explanation = explain(replace(case, before=np.zeros((1, 3, 2, 8))))
    assert explanation is not None
    assert "rows: [3, 2, 8]" in explanation.map
    from_keras = replace(reversed_case(case), left_framework="keras", right_framework="torch")
    explanation = explain(from_keras)
    assert explanation is not None
    assert "rows: [3, 4, 4]" in explanation.map


def check_explained(case: Case, mistake: str, words: str) -> None:
    """Equal values are no mistake, and an unknown difference has no explanation."""
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == mistake
    assert words in explanation.sentence
    assert explain(replace(case, actual=case.expected)) is None
    assert explain(replace(case, actual=case.actual + RNG.normal(size=case.actual.shape))) is None


PIXELS = RNG.integers(0, 256, (4, 3, 6, 6)).astype(np.float64)


def input_case(expected: np.ndarray, actual: np.ndarray, before: np.ndarray = PIXELS, **options: Any) -> Case:
    case = make_case("conv2d", expected, (expected, actual), **options)
    return replace(case, tensor="input", before=before, inputs=(expected,))


INPUTS: dict[str, tuple[Case, str, str]] = {
    "channels": (input_case(PIXELS, PIXELS[:, ::-1]), "channels swapped", "BGR instead of RGB"),
    "scaled twice": (
        input_case(PIXELS / 255, PIXELS / 255**2),
        "input scaled twice",
        "divides its input by 255 twice and the left model once",
    ),
    "not scaled": (
        input_case(PIXELS / 255, PIXELS),
        "input not scaled",
        "divides its input by 255 not at all and the left model once",
    ),
    "not scaled on the left": (
        input_case(PIXELS, PIXELS / 255),
        "input not scaled",
        "divides its input by 255 once and the left model not at all",
    ),
    "not transposed": (
        input_case(PIXELS, PIXELS.transpose(0, 2, 3, 1).reshape(PIXELS.shape)),
        "input not transposed",
        "reshaped to the other layout",
    ),
    "channels as height": (
        input_case(PIXELS, PIXELS.transpose(0, 2, 3, 1)),
        "input not transposed",
        "axes in the order (0, 2, 3, 1)",
    ),
    "height and width": (input_case(PIXELS, PIXELS.swapaxes(2, 3)), "swapped height and width", "(0, 1, 3, 2)"),
    "normalized": (
        input_case(PIXELS / 255, PIXELS / 127.5 - 1),
        "input normalization",
        "times 2 plus -1",
    ),
    "flatten order": (
        input_case(PIXELS.reshape(4, -1), PIXELS.transpose(0, 2, 3, 1).reshape(4, -1), kinds=("linear", "linear")),
        "flatten order",
        "rows: [3, 6, 6]",
    ),
    "functional dropout": (
        input_case(VECTORS, dropped(VECTORS)),
        "dropout active",
        "F.dropout(x, p, training=self.training)",
    ),
    "functional gelu": (
        input_case(gelu(VECTORS), gelu_tanh(VECTORS), VECTORS),
        "gelu approximation",
        "has `gelu_tanh` in front of it where `first` (left) has `gelu`",
    ),
    "functional pooling": (
        input_case(
            relu(IMAGES).reshape(4, 3, 4, 2, 4, 2).max((3, 5)),
            relu(IMAGES).reshape(4, 3, 4, 2, 4, 2).mean((3, 5)),
            IMAGES,
        ),
        "pooling",
        "`relu` and `avg_pool(2, stride 2)`",
    ),
}


@pytest.mark.parametrize("title", INPUTS)
def test_mistakes_of_an_input(title: str) -> None:
    case, mistake, words = INPUTS[title]
    if "training=self.training" in words:
        case = replace(case, right_framework="torch")
    check_explained(case, mistake, words)


def test_softmax_at_the_end_of_the_model() -> None:
    logits = VECTORS[:, :4]
    case = Case("forward", "eval", "output", None, None, logits, softmax(logits), 1e-10, (VECTORS,), logits)
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == "softmax in the model"
    assert "The output of the right model went through softmax" in explanation.sentence
    explanation = explain(replace(case, expected=case.actual, actual=case.expected))
    assert explanation is not None
    assert "The output of the left model went through softmax" in explanation.sentence


LABELS = np.array([0, 3, 1, 2, 2, 0])
LOGITS = VECTORS[:, :4]
TRAINING = Training("cross_entropy", "sgd", 0.1, LABELS)


def cross_entropy(logits: np.ndarray) -> float:
    return float(-np.log(softmax(logits))[np.arange(6), LABELS].mean())


def loss_case(expected: float, actual: float, training: Training = TRAINING, output: np.ndarray = LOGITS) -> Case:
    reference = {"loss 1": np.array(expected), "output fc": output, "weight fc 0": SQUARE, "gradient fc 1": SQUARE}
    arrays = np.array(expected), np.array(actual)
    return Case("backward", "train", "loss", None, None, *arrays, 1e-10, step=1, reference=reference, training=training)


MSE = Training("mse", "sgd", 0.1, np.zeros((6, 4)))
LOSSES: dict[str, tuple[Case, str, str]] = {
    "softmax twice": (
        loss_case(cross_entropy(LOGITS), cross_entropy(softmax(LOGITS))),
        "softmax twice",
        "On the right",
    ),
    "softmax twice on the left": (
        loss_case(cross_entropy(softmax(LOGITS)), cross_entropy(LOGITS)),
        "softmax twice",
        "On the left",
    ),
    "sum": (loss_case(cross_entropy(LOGITS), 6 * cross_entropy(LOGITS)), "loss reduction", 'reduction="mean"'),
    "mean": (loss_case(6 * cross_entropy(LOGITS), cross_entropy(LOGITS)), "loss reduction", 'reduction="sum"'),
    "sum of squares": (
        loss_case(float((LOGITS**2).mean()), float((LOGITS**2).sum()), MSE),
        "loss reduction",
        "the sum over the batch",
    ),
    "penalty": (
        loss_case(cross_entropy(LOGITS), cross_entropy(LOGITS) + 1e-4 * float((SQUARE**2).sum())),
        "penalty in the loss",
        "The right loss contains 0.0001 times the squares",
    ),
}


@pytest.mark.parametrize("title", LOSSES)
def test_mistakes_of_the_loss(title: str) -> None:
    case, mistake, words = LOSSES[title]
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == mistake
    assert words in explanation.sentence
    assert explain(replace(case, actual=case.expected)) is None
    assert explain(replace(case, actual=np.array(1.2345))) is None


def gradient_case(change: Callable[[str, np.ndarray], np.ndarray], step: int = 1) -> Case:
    """Return the case of the gradient of a linear layer whose gradients were changed."""
    reference: dict[str, np.ndarray] = {}
    for k in range(step + 1):
        for role, w in LINEAR.items():
            reference[f"weight fc.{role} {k}"] = w + k
            reference[f"gradient fc.{role} {k}"] = np.sin(w + 2 * k)
    gradients = {key: array for key, array in reference.items() if key.startswith("gradient")}
    other = reference | {key: change(key, array) for key, array in gradients.items() if key.endswith(f" {step}")}
    key = f"gradient fc.weight {step}"
    case = make_case("linear", VECTORS, (reference[key], other[key]), weights=(LINEAR, LINEAR))
    names = {role: f"fc.{role}" for role in LINEAR}
    suffix = "" if step == 1 else f" in step {step}"
    return replace(
        case,
        stage="backward" if step == 1 else "steps",
        tensor=f"gradient of weight{suffix}",
        step=step,
        reference=reference,
        other=other,
        names=names,
        training=TRAINING,
    )


NORM_OF_ALL = math.sqrt(sum(float((np.sin(w + 2) ** 2).sum()) for w in LINEAR.values()))
GRADIENTS: dict[str, tuple[Case, str, str]] = {
    "sum": (gradient_case(lambda key, g: 6 * g), "loss reduction", "summed over the batch of 6"),
    "factor": (gradient_case(lambda key, g: 0.3 * g), "scaled gradient", "0.3 times"),
    "clipped by norm": (gradient_case(lambda key, g: g * 0.5 / NORM_OF_ALL), "gradient clipping", "norm of 0.5"),
    "clipped by value": (gradient_case(lambda key, g: np.clip(g, -0.25, 0.25)), "gradient clipping", "±0.25"),
    "frozen": (gradient_case(lambda key, g: 0 * g), "no gradient", "trainable = True"),
    "not zeroed": (
        gradient_case(lambda key, g: g + np.sin(LINEAR[key.split()[1].removeprefix("fc.")] + 2), 2),
        "gradient not zeroed",
        "contains that of step 1",
    ),
    "penalty": (
        gradient_case(lambda key, g: g + 0.02 * LINEAR[key.split()[1].removeprefix("fc.")]),
        "penalty in the loss",
        "contains 0.02 times its weight",
    ),
}


@pytest.mark.parametrize("title", GRADIENTS)
def test_mistakes_of_a_gradient(title: str) -> None:
    case, mistake, words = GRADIENTS[title]
    check_explained(case, mistake, words)


def test_a_factor_must_hold_for_all_gradients() -> None:
    case = gradient_case(lambda key, g: 6 * g if "weight" in key else g)
    assert explain(case) is None


def adam(w: np.ndarray, gs: list[np.ndarray], eps: float, early: bool, decay: float = 0.0, coupled: bool = True) -> Any:
    """Adam with learning rate 0.1, written out."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gs, 1):
        if coupled:
            g = g + decay * w
        else:
            w = w - 0.1 * decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        w = w - 0.1 * m / c1 / ((np.sqrt(v) + eps) / np.sqrt(c2) if early else np.sqrt(v / c2) + eps)
    return w


def sgd(w: np.ndarray, gs: list[np.ndarray], momentum: float = 0.0, decay: float = 0.0, rate: float = 0.1) -> Any:
    velocity = np.zeros_like(w)
    for g in gs:
        velocity = momentum * velocity + g + decay * w
        w = w - rate * velocity
    return w


Optimizer = Callable[[np.ndarray, list[np.ndarray]], np.ndarray]


def update_case(kind: str, optimizers: tuple[Optimizer, Optimizer], steps: int = 2) -> Case:
    start, gradients = SQUARE, [1e-3 * np.sin(SQUARE + k) for k in range(steps)]
    arrays: list[dict[str, np.ndarray]] = []
    for update in optimizers:
        numbers = {f"weight fc.weight {k}": update(start, gradients[:k]) for k in range(steps + 1)}
        arrays.append(numbers | {f"gradient fc.weight {k + 1}": g for k, g in enumerate(gradients)})
    key, weights = f"weight fc.weight {steps}", {"weight": SQUARE}
    case = make_case("linear", VECTORS, (arrays[0][key], arrays[1][key]), weights=(weights, weights))
    return replace(
        case,
        stage="steps",
        tensor=f"weight after step {steps}",
        step=steps,
        reference=arrays[0],
        other=arrays[1],
        names={"weight": "fc.weight"},
        training=Training("cross_entropy", kind, 0.1, LABELS),
    )


def right_adam(w: np.ndarray, gs: list[np.ndarray]) -> np.ndarray:
    return adam(w, gs, 1e-8, early=False)


UPDATES: dict[str, tuple[Case, str, str]] = {
    "epsilon of Keras": (
        update_case("adam", (right_adam, lambda w, gs: adam(w, gs, 1e-7, early=True))),
        "adam epsilon",
        "has epsilon 1e-07 and adds epsilon before the bias correction",
    ),
    "epsilon": (
        update_case("adam", (right_adam, lambda w, gs: adam(w, gs, 1e-6, early=False))),
        "adam epsilon",
        "has epsilon 1e-06 and the left one has epsilon 1e-08",
    ),
    "decoupled": (
        update_case(
            "adam",
            (
                lambda w, gs: adam(w, gs, 1e-8, False, 0.01, coupled=True),
                lambda w, gs: adam(w, gs, 1e-8, False, 0.01, coupled=False),
            ),
        ),
        "coupled or decoupled weight decay",
        "kernel_regularizer=keras.regularizers.L2(0.005)",
    ),
    "coupled": (
        update_case(
            "adam",
            (
                lambda w, gs: adam(w, gs, 1e-8, False, 0.01, coupled=False),
                lambda w, gs: adam(w, gs, 1e-8, False, 0.01, coupled=True),
            ),
        ),
        "coupled or decoupled weight decay",
        "keras.optimizers.AdamW(..., weight_decay=0.01)",
    ),
    "weight decay": (
        update_case("sgd", (sgd, lambda w, gs: sgd(w, gs, decay=5e-4))),
        "weight decay",
        "has weight decay 0.0005",
    ),
    "momentum": (
        update_case("sgd", (sgd, lambda w, gs: sgd(w, gs, momentum=0.9))),
        "momentum",
        "has momentum 0.9 and the left one has momentum 0",
    ),
    "frozen": (update_case("sgd", (sgd, lambda w, gs: w)), "weight not updated", "trainable = True"),
    "learning rate": (
        update_case("sgd", (sgd, lambda w, gs: sgd(w, gs, rate=0.025)), 1),
        "learning rate",
        "is 0.025 and that of the left one 0.1",
    ),
}


@pytest.mark.parametrize("title", UPDATES)
def test_mistakes_of_the_optimizer(title: str) -> None:
    case, mistake, words = UPDATES[title]
    check_explained(case, mistake, words)


def running_case(role: str, momentum: tuple[float, float], unbiased: tuple[bool, bool]) -> Case:
    """Return the case of running statistics after two steps on batches of 6 images of 8 x 8."""
    reference: dict[str, np.ndarray] = {}
    other: dict[str, np.ndarray] = {}
    n, x = 6 * 64, np.zeros((6, 3, 8, 8))
    for numbers, m, is_unbiased in zip((reference, other), momentum, unbiased, strict=True):
        numbers[f"weight bn.{role} 0"] = PER_CHANNEL[role]
        for k in (1, 2):
            statistic = np.array([1.0, 2.0, 3.0]) * k * (n / (n - 1) if is_unbiased and role == "running_var" else 1.0)
            numbers[f"weight bn.{role} {k}"] = (1 - m) * numbers[f"weight bn.{role} {k - 1}"] + m * statistic
    configs = [
        {"eps": 1e-5, "momentum": m, "unbiased": is_unbiased} for m, is_unbiased in zip(momentum, unbiased, strict=True)
    ]
    key = f"weight bn.{role} 2"
    case = make_case("batch_norm", x, (reference[key], other[key]), tuple(configs), (PER_CHANNEL, PER_CHANNEL))  # type: ignore[arg-type]
    settings: dict[str, Any] = {"stage": "steps", "tensor": f"{role} after step 2", "step": 2, "training": TRAINING}
    return replace(case, reference=reference, other=other, names={role: f"bn.{role}"}, **settings)


@pytest.mark.parametrize(
    ("role", "momentum", "unbiased", "mistake", "words"),
    [
        ("running_var", (0.1, 0.1), (True, False), "running variance", "there is no setting for it"),
        ("running_mean", (0.1, 0.01), (True, False), "batch norm momentum", "BatchNormalization(..., momentum=0.9)"),
        ("running_mean", (0.1, 0.9), (True, False), "batch norm momentum", "BatchNormalization(..., momentum=0.9)"),
        ("running_var", (0.1, 0.01), (True, False), "batch norm momentum", "divides the running variance by n"),
    ],
)
def test_mistakes_of_running_statistics(
    role: str, momentum: tuple[float, float], unbiased: tuple[bool, bool], mistake: str, words: str
) -> None:
    case = running_case(role, momentum, unbiased)
    explanation = explain(case)
    assert explanation is not None
    assert explanation.mistake == mistake
    assert words in explanation.sentence
    assert explain(replace(case, actual=case.expected)) is None
    assert explain(replace(case, actual=case.actual + RNG.normal(size=3))) is None
