"""The two sides of a comparison of models: each model runs in a process of its own."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.porting.adapters.layouts import same_padding
from compare.porting.conventions import adam_update
from compare.porting.model import Layer, Structure
from compare.porting.side import Side, SideSpec
from minigrad.runs import UserError

TORCH = """
import torch
from torch import nn
from torch.nn import functional as F

class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.conv = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
        self.relu = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(4, 8, 3, padding="same", groups=4, dilation=2)
        self.gelu = nn.GELU(approximate="tanh")
        self.max = nn.MaxPool2d(2, 1)
        self.avg = nn.AvgPool2d(2)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 7)
        self.silu = nn.SiLU()
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(self.pad(x))))
        x = self.gap(self.avg(self.max(self.gelu(self.depthwise(x))))).flatten(1)
        return self.head(self.silu(self.fc(self.drop(x))))

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8, eps=1e-3)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.3)  # of sequences (length, n, d)
        self.up, self.act, self.down = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)

    def forward(self, x):
        x = self.embed(x).transpose(0, 1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return (x + self.down(self.act(self.up(x)))).transpose(0, 1)

def sequences():
    return nn.Sequential(nn.Conv1d(3, 4, 3, padding=1), nn.Tanh(), nn.MaxPool1d(2), nn.Conv1d(4, 6, 3), nn.ELU(),
                         nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 5))

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(3, 4)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x, y):
        return F.dropout(self.a(self.a(x)) + self.b(y), 0.5)

class LastChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).mean((2, 3))

def resnet():
    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.relu = nn.ReLU(inplace=True)
            self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.downsample = None
            if stride > 1:
                self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    for i, o, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [Block(i, o, stride), Block(o, o, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))

def fails():
    raise ValueError("no such data")

def number():
    return 3

def ends():
    import os, sys
    print("out of memory", file=sys.stderr, flush=True)
    os._exit(3)
"""
KERAS = """
import keras
from keras import layers as L

def Images():
    def gelu(x):
        return keras.activations.gelu(x, approximate=True)

    return keras.Sequential([
        keras.Input((14, 12, 3)), L.ZeroPadding2D(((0, 1), (0, 1))), L.Conv2D(4, 3, strides=2, use_bias=False),
        L.BatchNormalization(), L.ReLU(), L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, dilation_rate=2),
        L.Activation(gelu), L.MaxPooling2D(2, 1), L.AveragePooling2D(2), L.GlobalAveragePooling2D(), L.Dropout(0.5),
        L.Dense(7, activation="silu"), L.Dense(5),
    ])

class Block(L.Layer):
    def __init__(self):
        super().__init__(name="block")
        self.norm, self.attention = L.LayerNormalization(), L.MultiHeadAttention(2, 4, dropout=0.3)
        self.mlp = [L.Dense(16, activation=L.Activation("gelu")), L.Dense(8)]

    def call(self, x):
        y = self.norm(x)
        x = x + self.attention(y, y)
        return x + self.mlp[1](self.mlp[0](x))

class Tokens(keras.Model):
    def __init__(self):
        super().__init__()
        self.embed, self.block = L.Embedding(11, 8), Block()

    def call(self, x):
        return self.block(self.embed(x))

def sequences():
    return keras.Sequential([
        keras.Input((10, 3)), L.Conv1D(4, 3, padding="same", activation="tanh"), L.MaxPooling1D(2), L.Conv1D(6, 3),
        L.ELU(), L.GlobalAveragePooling1D(), L.Dense(5),
    ])

def rescaled():
    x = inputs = keras.Input((9, 9, 1))
    x = L.Conv2D(2, 3, strides=2, padding="same", name="conv")(L.Rescaling(1 / 255, name="rescale")(x))
    return keras.Model(inputs, L.Softmax(name="softmax")(L.Add(name="add")([x, x])))

def mobilenet():
    return keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10)

def half():
    return keras.Sequential([keras.Input((3,)), L.Dense(2, dtype="float16", name="narrow")])
"""

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.normal(size=(4, 3, 14, 12)), rng.integers(0, 5, 4)
TOKENS, TARGETS = rng.integers(0, 11, (3, 6)), rng.integers(0, 8, (3, 6))
DATA = {"Images": (IMAGES, LABELS), "Tokens": (TOKENS, TARGETS), "sequences": (rng.normal(size=(4, 3, 10)), LABELS)}
BACKENDS = (
    "torch",
    pytest.param("tensorflow", marks=pytest.mark.slow),
    pytest.param("jax", marks=pytest.mark.slow),
)
Start = Callable[..., Side]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "torch_models.py").write_text(textwrap.dedent(TORCH))
    (folder / "keras_models.py").write_text(textwrap.dedent(KERAS))
    return folder


@pytest.fixture
def start(files: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that starts the side of a model."""
    with ExitStack() as stack:

        def start(
            framework: str, model: str, dtype: Any = "float64", layout: Any = None, backend: str = "torch"
        ) -> Side:
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            spec = SideSpec.parse(f"{framework}:{files / f'{framework}_models.py'}:{model}")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("KERAS_BACKEND", backend)
                return stack.enter_context(Side(spec, dtype, layout, folder))

        yield start


def inputs_of(layer: Layer, record: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [record[f"input {layer.name} {i}"] for i in range(len(layer.inputs))]


def pairs(left: Structure, right: Structure) -> list[tuple[Layer, Layer]]:
    """Return the layers that both have; flattening differs, as a call of a function in one of the two models."""
    first, second = ([x for x in side.layers if x.kind != "flatten"] for side in (left, right))
    return list(zip(first, second, strict=True))


def assert_equal(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)


def check_pair(start: Start, model: str, backend: str) -> None:
    """Check that two sides of one model agree in everything that they report."""
    inputs, targets = DATA[model]
    left, right = start("torch", model), start("keras", model, backend=backend)
    a, b = left.describe(inputs), right.describe(inputs)
    assert b.backend == backend
    assert not a.others
    assert not b.others
    layers, names = pairs(a, b), dict[str, str]()
    for one, other in layers:
        assert (one.kind, one.inputs, one.output) == (other.kind, other.inputs, other.output)
        assert {**one.config, "unbiased": False} == {**other.config, "unbiased": False}
        for p in one.parameters:
            q = other.parameter(p.role)
            assert q is not None
            assert (q.shape, q.trainable) == (p.shape, p.trainable)
            names[p.name] = q.name

    weights = left.weights()
    right.set_weights({names[name]: w for name, w in weights.items()})
    copied = right.weights()
    assert set(copied) == set(names.values())
    assert all(np.array_equal(copied[names[name]], w) for name, w in weights.items())

    for mode in ("eval", "train"):
        x, y = left.record(inputs, mode, keep_inputs=True), right.record(inputs, mode, keep_inputs=True)
        assert_equal(x["output"], y["output"])
        for one, other in layers:
            assert_equal(x[f"output {one.name}"], y[f"output {other.name}"])
            assert_equal(left.single(one.name, inputs_of(one, x), mode), x[f"output {one.name}"])
            assert_equal(right.single(other.name, inputs_of(one, x), mode), x[f"output {one.name}"])

    x, y = left.train(inputs, targets, steps=2, lr=0.1), right.train(inputs, targets, steps=2, lr=0.1)
    for k in (1, 2):
        assert_equal(x[f"loss {k}"], y[f"loss {k}"])
        for name, other in names.items():
            if f"gradient {name} {k}" in x:
                assert_equal(x[f"gradient {name} {k}"], y[f"gradient {other} {k}"])
            if "running_var" not in name:  # unbiased only in PyTorch
                assert_equal(x[f"weight {name} {k}"], y[f"weight {other} {k}"])
    for side, values, before in ((left, x, weights), (right, y, copied)):
        after = side.weights()
        assert all(np.array_equal(after[name], w) for name, w in before.items())  # restored
        for key, gradient in values.items():
            if key.startswith("gradient") and key.endswith(" 1"):
                name = key.split(" ")[1]
                assert_equal(values[f"weight {name} 1"], before[name] - 0.1 * gradient)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images(start: Start, backend: str) -> None:
    check_pair(start, "Images", backend)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["Tokens", "sequences"])
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_sequences(start: Start, model: str, backend: str) -> None:
    check_pair(start, model, backend)


@pytest.mark.slow
def test_values_of_keras(start: Start, tmp_path: Path) -> None:
    """The layers and gradients of a Keras model are those of the formulas."""
    images = rng.uniform(0, 255, (2, 1, 9, 9))
    side = start("keras", "rescaled")
    structure = side.describe(images)
    assert side.input_shape() == (1, 9, 9)
    assert structure.layout == "channels_last"
    assert structure.layer("conv").config["padding"] == [[1, 1], [1, 1]]
    assert structure.layer("rescale").config == {"scale": 1 / 255, "offset": 0.0}
    assert structure.layer("softmax").config == {"function": "softmax", "axis": 1}
    outputs, weights = side.record(images), side.weights()
    assert_equal(outputs["output rescale"], images / 255)
    padded = np.pad(images / 255, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    conv = np.einsum("nchwij,ocij->nohw", windows, weights["conv/kernel"])
    assert_equal(outputs["output conv"], conv)
    assert_equal(outputs["output add"], 2 * conv)
    exponentials = np.exp(2 * conv)
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    assert_equal(outputs["output"], probabilities)
    step = side.train(images, np.zeros_like(conv), loss="mse")
    assert_equal(step["loss 1"], (probabilities**2).mean())
    assert side.check_repeat(images) is None
    assert side.save(tmp_path / "ported").name == "ported.weights.h5"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_adam_of_keras_in_float32(start: Start, backend: str) -> None:
    """The updates are those of the formula with rounded powers of the betas, over 20 steps."""
    side = start("keras", "sequences", "float32", backend=backend)
    side.describe(DATA["sequences"][0])
    bias = next(name for name, w in side.weights().items() if w.shape == (5,))  # 0 at first, so that no sum rounds it
    arrays = side.train(*DATA["sequences"], optimizer="adam", lr=2.0**-10, steps=20)
    gradients = {k: arrays[f"gradient {bias} {k}"].astype(np.float64) for k in range(1, 21)}
    before = np.zeros(5)
    for step in range(1, 21):
        after = arrays[f"weight {bias} {step}"].astype(np.float64)
        expected = adam_update("keras", gradients, step, 2.0**-10, "float32")
        np.testing.assert_allclose(after - before, expected, rtol=0, atol=2e-9 if step > 1 else 3e-10)
        before = after


def test_calls_inputs_and_randomness(start: Start, tmp_path: Path) -> None:
    """A second call, several inputs, a parameter outside the layers, and a random output."""
    side, x, y = start("torch", "Twice"), rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
    structure = side.describe([x, y])
    assert [layer.name for layer in structure.layers] == ["a", "a#2", "b"]
    assert structure.layer("a#2").parameters == ()
    assert [p.name for p in structure.others] == ["unused"]
    weights, outputs = side.weights(), side.record({"x": x, "y": y})
    again = side.single("a#2", [outputs["output a"]])
    assert_equal(again, outputs["output a"] @ weights["a.weight"].T + weights["a.bias"])
    assert side.check_repeat([x, y]) == ""  # only the output, since F.dropout is no layer
    assert not np.any(side.train([x, y], np.array([0, 1]))["gradient unused 1"])
    assert side.save(tmp_path / "ported").name == "ported.pt"
    assert side.peak_mb() > 1
    with pytest.raises(UserError, match=r"weight 'a.bias': shape \(3,\); expected \(4,\)"):
        side.set_weights({"a.bias": np.zeros(3)})
    with pytest.raises(UserError, match="layer 'c': not in the model; expected one of a, a#2, b"):
        side.single("c", [x])
    with pytest.raises(UserError, match=r"RuntimeError: .*\(torch_models.py, line \d+\)"):
        side.record([y, x])
    assert np.isfinite(side.record([x, y])["output"]).all()  # the process goes on


@pytest.mark.slow
def test_layout_of_images(start: Start) -> None:
    side, images = start("torch", "LastChannels", "float32", "channels_last"), rng.normal(size=(2, 3, 4, 4))
    assert side.describe(images).layout == "channels_last"
    record = side.record(images, keep_inputs=True)
    assert record["input conv 0"].dtype == np.float32
    np.testing.assert_array_equal(record["input conv 0"], images.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "model", "layers"), [("torch", "resnet", 61), ("keras", "mobilenet", 156)])
def test_large_model(start: Start, framework: str, model: str, layers: int) -> None:
    images = rng.normal(size=(2, 3, 32, 32))
    side = start(framework, model, backend="tensorflow")
    assert len(side.describe(images).layers) == layers
    assert side.record(images)["output"].shape == (2, 10)
    losses = side.train(images, np.array([1, 2]), steps=2)
    assert losses["loss 2"] != losses["loss 1"]


@pytest.mark.slow
def test_rejected_model(start: Start, files: Path) -> None:
    sides = {name: start("torch", name) for name in ("fails", "number", "missing", "ends")}
    sides["half"] = start("keras", "half")
    messages = {
        "fails": r"torch_models.py:fails: ValueError: no such data \(torch_models.py, line \d+\)",
        "number": "the function returned int; expected a torch.nn.Module",
        "missing": "no function missing; expected one of sequences, resnet",
        "ends": "its process has ended: out of memory",
        "half": "layer 'narrow': computes in float16; expected float64",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message):
            sides[name].weights()


@pytest.mark.parametrize("text", ["model.py:f", "jax:model.py:f", "torch:model.py", "torch:model.py:f"])
def test_rejected_spec(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"expected torch:FILE\.py:FUNCTION or keras:FILE\.py:FUNCTION"):
        SideSpec.parse(text)


def test_process_ends_with_its_side(start: Start) -> None:
    side = start("torch", "sequences")
    process = side.process.pid
    side.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "expected"),
    [(32, 3, 2, 1, [0, 1]), (33, 3, 2, 1, [1, 1]), (7, 3, 1, 2, [2, 2]), (4, 1, 2, 1, [0, 0]), (5, 2, 1, 1, [0, 1])],
)
def test_same_padding(size: int, kernel: int, stride: int, dilation: int, expected: list[int]) -> None:
    assert same_padding([size], [kernel], [stride], [dilation]) == [expected]
