"""The network of a recipe: shapes, names, scale, seeds and dropout."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import Tensor
from minigrad.classifier import Classifier
from minigrad.recipes import Model

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
