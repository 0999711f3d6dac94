"""The network of a recipe: shapes, names, scale, seeds and dropout; and torch's of the same recipe."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch

from minigrad import Tensor
from minigrad.classifier import Classifier
from minigrad.recipes import Model, sizes

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 4, 3)).astype(np.uint8)


def test_images_of_any_shape_become_logits_of_any_number() -> None:
    for shape, classes in (((4, 3), 3), ((12,), 2), ((2, 2, 3), 10)):
        net = Classifier(Model(hidden=[5, 7]), shape, classes)
        logits = net(PIXELS.reshape(50, *shape))
        assert type(logits) is Tensor
        assert (logits.shape, logits.dtype) == ((50, classes), np.float32)


def test_weights_have_the_names_and_the_layout_of_the_weights_file() -> None:
    shapes = {
        "hidden.0.weight": (5, 12),
        "hidden.0.bias": (5,),
        "hidden.1.weight": (7, 5),
        "hidden.1.bias": (7,),
        "output.weight": (3, 7),
        "output.bias": (3,),
    }
    for dropout in (0.0, 0.5):  # dropout moves no name
        net = Classifier(Model(hidden=[5, 7], dropout=dropout), (4, 3), 3)
        assert {name: p.shape for name, p in net.named_parameters()} == shapes


def test_no_hidden_layer_is_logistic_regression() -> None:
    net = Classifier(Model(hidden=[]), (12,), 3, scale=1.0, dtype=np.float64)
    x = np.random.default_rng(1).normal(size=(5, 12))
    w = net.state_dict()
    assert w.keys() == {"output.weight", "output.bias"}
    np.testing.assert_allclose(net(x).data, x @ w["output.weight"].T + w["output.bias"], rtol=1e-13)


def test_pixels_are_scaled_inside() -> None:
    net = Classifier(Model(), (4, 3), 3)
    floats = Classifier(Model(), (4, 3), 3, scale=1.0)
    np.testing.assert_allclose(net(PIXELS).data, floats(PIXELS / np.float32(255)).data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_the_activation_stands_after_each_hidden_layer(activation: str) -> None:
    net = Classifier(Model(hidden=[4, 3], activation=activation), (12,), 2, scale=1.0, dtype=np.float64)
    f = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh, "sigmoid": lambda z: 1 / (1 + np.exp(-z))}[activation]
    x, w = np.random.default_rng(1).normal(size=(5, 12)), net.state_dict()
    a = x
    for i in (0, 1):
        a = f(a @ w[f"hidden.{i}.weight"].T + w[f"hidden.{i}.bias"])
    np.testing.assert_allclose(net(x).data, a @ w["output.weight"].T + w["output.bias"], rtol=1e-12)


def test_the_seed_draws_the_weights() -> None:
    def drawn(seed: int) -> np.ndarray:
        return Classifier(Model(), (4, 3), 3, seed=seed).state_dict()["hidden.0.weight"]

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(2)).any()


def test_dropout_depends_on_the_seed_and_the_epoch_alone() -> None:
    def dropped(seed: int, epoch: int) -> np.ndarray:
        net = Classifier(Model(dropout=0.5), (4, 3), 3, seed=seed)
        net.load_state_dict(Classifier(Model(), (4, 3), 3, seed=0).state_dict())
        net(PIXELS)  # an epoch begins anew whatever was drawn before
        net.begin_epoch(epoch)
        return net(PIXELS).data

    np.testing.assert_array_equal(dropped(1, 3), dropped(1, 3))
    assert (dropped(1, 3) != dropped(1, 4)).any()
    assert (dropped(1, 3) != dropped(2, 3)).any()


def test_predict_drops_nothing_records_nothing_and_keeps_the_mode() -> None:
    net = Classifier(Model(dropout=0.5), (4, 3), 3)
    logits = net.predict(PIXELS, batch_size=7)
    assert type(logits) is np.ndarray
    assert logits.shape == (50, 3)
    np.testing.assert_allclose(logits, net.predict(PIXELS), rtol=1e-5, atol=1e-6)
    assert all(m.training for m in net.modules())
    net.eval()
    net.predict(PIXELS)
    assert not any(m.training for m in net.modules())


def test_input_is_not_written_to() -> None:
    pixels = PIXELS.copy()
    pixels.flags.writeable = False
    Classifier(Model(), (4, 3), 3)(pixels).sum().backward()
    np.testing.assert_array_equal(pixels, PIXELS)


# Convolutions and batch norm.

MODELS: dict[str, tuple[Model, tuple[int, ...]]] = {
    "mlp": (Model(hidden=[5, 7]), (8, 6)),
    "mlp without a hidden layer": (Model(hidden=[]), (12,)),
    "cnn": (Model(architecture="cnn", channels=[3, 4], hidden=[]), (8, 6)),
    "cnn of colours": (Model(architecture="cnn", channels=[3], kernel_size=3, hidden=[5]), (7, 9, 3)),
    "cnn of one channel": (Model(architecture="cnn", channels=[2, 3], kernel_size=1, hidden=[6, 5]), (5, 4, 1)),
    "cnn of a window larger than the image": (
        Model(architecture="cnn", channels=[3], kernel_size=7, hidden=[]),
        (3, 2),
    ),
}


def images_of(shape: tuple[int, ...], count: int = 6, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def redrawn(net: Classifier) -> Classifier:
    """The network with all its numbers drawn anew, those of the norms too."""
    rng = np.random.default_rng(6)
    state = {name: rng.normal(size=a.shape) for name, a in net.state_dict().items()}
    net.load_state_dict({name: a**2 + 0.3 if "running_var" in name else a for name, a in state.items()})
    return net


def variant(name: str, **changes: Any) -> tuple[Model, tuple[int, ...]]:
    model, shape = MODELS[name]
    return Model(**{**vars(model), **changes}), shape


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["bare", "normed"])
def test_names_and_shapes_are_the_plans(name: str, batch_norm: bool) -> None:
    model, shape = variant(name, batch_norm=batch_norm)
    net = Classifier(model, shape, 3)
    shapes = sizes(model, shape, 3).shapes(model)
    assert {key: a.shape for key, a in net.state_dict().items()} == shapes
    assert {key for key, _ in net.named_buffers()} == {key for key in shapes if "running" in key}
    assert all(a.dtype == np.float32 for a in net.state_dict().values())


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_there_is_no_bias_before_a_batch_norm(architecture: Any) -> None:
    model = Model(architecture=architecture, channels=[2, 3], hidden=[5, 4], batch_norm=True)
    names = Classifier(model, (8, 8), 3).state_dict().keys()
    assert {key for key in names if key.endswith(".bias") and "norm" not in key} == {"output.bias"}


def test_the_built_in_cnn_on_mnist_has_11274_parameters() -> None:
    net = Classifier(Model(architecture="cnn", hidden=[]), (28, 28), 10)
    assert sum(p.size for p in net.parameters()) == (25 * 8 + 8) + (8 * 25 * 16 + 16) + (784 * 10 + 10) == 11274


def torch_network(model: Model, shape: tuple[int, ...], classes: int) -> Any:
    """The network of a recipe with torch's layers, in float64."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            wide: dict[str, Any] = {"dtype": torch.float64}
            k, bias = model.kernel_size, not model.batch_norm
            height, width, channels = (*shape, 1)[:3] if len(shape) > 1 else (1, shape[0], 1)
            self.shape = height, width, channels
            convolutions = model.channels if model.architecture == "cnn" else []
            self.conv, self.conv_norm, self.hidden, self.hidden_norm = (torch.nn.ModuleList() for _ in range(4))
            for c in convolutions:
                self.conv.append(torch.nn.Conv2d(channels, c, k, padding=k // 2, bias=bias, **wide))
                channels, height, width = c, height // 2, width // 2
            size = channels * height * width
            for h in model.hidden:
                self.hidden.append(torch.nn.Linear(size, h, bias=bias, **wide))
                size = h
            if model.batch_norm:
                self.conv_norm.extend(torch.nn.BatchNorm2d(c, **wide) for c in convolutions)
                self.hidden_norm.extend(torch.nn.BatchNorm1d(h, **wide) for h in model.hidden)
            self.output = torch.nn.Linear(size, classes, **wide)
            self.activation = getattr(torch, model.activation)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = images.reshape(-1, *self.shape) / 255
            if self.conv:
                x = x.permute(0, 3, 1, 2)
                for layer, norm in zip_longest(self.conv, self.conv_norm):
                    x = layer(x)
                    x = self.activation(torch.nn.functional.max_pool2d(norm(x) if norm else x, 2))
            x = x.flatten(1)
            for layer, norm in zip_longest(self.hidden, self.hidden_norm):
                x = layer(x)
                x = self.activation(norm(x) if norm else x)
            return self.output(x)

    return Network()


def both(model: Model, shape: tuple[int, ...]) -> tuple[Classifier, Any]:
    """The two networks in float64 with the same weights."""
    net, theirs = redrawn(Classifier(model, shape, 3, dtype=np.float64)), torch_network(model, shape, 3)
    found = theirs.load_state_dict({k: torch.from_numpy(a) for k, a in net.state_dict().items()}, strict=False)
    assert not found.unexpected_keys
    assert all("num_batches_tracked" in key for key in found.missing_keys)
    return net, theirs


def close(found: np.ndarray, expected: Any, what: str = "") -> None:
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-9, atol=1e-11, err_msg=what)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_norm", [False, True], ids=["bare", "normed"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_logits_gradients_and_running_statistics_are_torchs(name: str, batch_norm: bool, activation: str) -> None:
    model, shape = variant(name, batch_norm=batch_norm, activation=activation)
    net, theirs = both(model, shape)
    pixels = images_of(shape)
    for training in (True, False):
        net.train(training)
        theirs.train(training)
        weights = np.random.default_rng(8).normal(size=(6, 3))
        for p in [*net.parameters(), *theirs.parameters()]:
            p.grad = None
        logits, expected = net(pixels), theirs(torch.from_numpy(pixels).double())
        close(logits.data, expected)
        logits.backward(weights)
        expected.backward(torch.from_numpy(weights))
        gradients = {key: p.grad for key, p in theirs.named_parameters()}
        assert gradients.keys() == {key for key, _ in net.named_parameters()}
        for key, p in net.named_parameters():
            close(p.grad, gradients[key], key)
        buffers = dict(theirs.named_buffers())
        for key, b in net.named_buffers():
            close(b.data, buffers[key], key)


def test_grey_images_are_those_of_one_channel() -> None:
    model, pixels = Model(architecture="cnn", channels=[3], hidden=[]), images_of((6, 4))
    flat, deep = Classifier(model, (6, 4), 3), Classifier(model, (6, 4, 1), 3)
    np.testing.assert_array_equal(flat(pixels).data, deep(pixels[..., None]).data)


def test_a_cnn_sees_where_channels_stand() -> None:
    model, pixels = Model(architecture="cnn", channels=[3], hidden=[]), images_of((6, 4, 3))
    net = redrawn(Classifier(model, (6, 4, 3), 3, dtype=np.float64))
    w = net.state_dict()["conv.0.weight"]
    swapped = Classifier(model, (6, 4, 3), 3, dtype=np.float64)
    swapped.load_state_dict(net.state_dict() | {"conv.0.weight": w[:, ::-1]})
    np.testing.assert_allclose(net(pixels).data, swapped(pixels[..., ::-1]).data, rtol=1e-12)
    assert not np.allclose(net(pixels).data, net(pixels[..., ::-1]).data)


def test_the_seed_draws_a_cnns_weights() -> None:
    def drawn(seed: int) -> dict[str, np.ndarray]:
        return Classifier(Model(architecture="cnn"), (8, 8), 3, seed=seed).state_dict()

    a, b, c = drawn(1), drawn(1), drawn(2)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])
        assert (a[key] != c[key]).any()


def test_dropout_drops_hidden_units_and_no_convolutions() -> None:
    pixels = images_of((8, 8))
    for hidden, dropped in (([], False), ([9], True)):
        net = Classifier(Model(architecture="cnn", hidden=hidden, dropout=0.5), (8, 8), 3)
        assert (net(pixels).data != net.eval()(pixels).data).any() == dropped


@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn of colours"])
def test_predict_uses_the_running_statistics_and_leaves_them_alone(name: str) -> None:
    model, shape = variant(name, batch_norm=True, hidden=[5], dropout=0.5)
    net, theirs = both(model, shape)
    for seed in range(3):
        net(images_of(shape, seed=seed))
    theirs.load_state_dict({k: torch.from_numpy(a) for k, a in net.state_dict().items()}, strict=False)
    before, pixels = net.state_dict(), images_of(shape, 7)
    logits = net.predict(pixels)
    close(logits, theirs.eval()(torch.from_numpy(pixels).double()))
    np.testing.assert_allclose(net.predict(pixels, batch_size=1), logits, rtol=1e-9, atol=1e-12)
    for key, a in net.state_dict().items():
        np.testing.assert_array_equal(a, before[key])
    assert all(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_the_input_of_a_cnn_is_not_written_to() -> None:
    pixels = images_of((8, 8, 2))
    before = pixels.copy()
    pixels.flags.writeable = False
    Classifier(Model(architecture="cnn", batch_norm=True), (8, 8, 2), 3)(pixels).sum().backward()
    np.testing.assert_array_equal(pixels, before)
