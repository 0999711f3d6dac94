"""The network: names, shapes, answers, and what saving leaves of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import BACKEND, MOST_STEPS

from keras_model.evaluation import logits
from keras_model.model import (
    BatchNormalization,
    build_model,
    compile_model,
    count_parameters,
    get_weights,
    set_weights,
)
from minigrad import Tensor, nn
from minigrad.classifier import Classifier
from minigrad.recipes import Model, sizes

RECIPES = {
    "simple": Model(),
    "no hidden layer": Model(hidden=[]),
    "deep": Model(hidden=[7, 5, 3], activation="tanh"),
    "dropout": Model(hidden=[12, 8], dropout=0.4),
    "sigmoid": Model(hidden=[9], activation="sigmoid", dropout=0.1),
    "batch norm": Model(hidden=[9, 7], batch_norm=True, dropout=0.1),
    "cnn": Model("cnn", [3], 3, hidden=[]),
    "deep cnn": Model("cnn", [4, 3], 5, hidden=[5], activation="tanh"),
    "cnn with batch norm": Model("cnn", [3], 1, hidden=[5], batch_norm=True),
}
# Channels matter to convolutions alone.
ON = [(name, shape) for name in RECIPES for shape in ((4, 5), (4, 5, 2)) if len(shape) == 2 or "cnn" in name]


def pair(model: Model, shape: tuple[int, ...], classes: int, scale: float) -> tuple[Classifier, keras.Model]:
    """The recipe in minigrad and in Keras, with the same weights, and running statistics as after training, in both."""
    ours, net = Classifier(model, shape, classes, scale), build_model(model, shape, classes, scale)
    rng = np.random.default_rng(1)
    for name, t in ours.named_buffers():
        t.data[...] = rng.uniform(0.5, 2, t.shape) if "running" in name else t.data
    set_weights(net, ours.state_dict())
    return ours, net


@pytest.mark.parametrize(("name", "shape"), ON)
def test_names_layout_and_shapes_are_minigrads(name: str, shape: tuple[int, ...]) -> None:
    """The one weights file depends on it; dropout must not move a name."""
    ours = Classifier(RECIPES[name], shape, 6).state_dict()
    found = get_weights(build_model(RECIPES[name], shape, 6))
    assert {k: a.shape for k, a in found.items()} == {k: a.shape for k, a in ours.items()}
    assert {k: a.shape for k, a in found.items()} == sizes(RECIPES[name], shape, 6).shapes(RECIPES[name])


@pytest.mark.parametrize(("name", "shape"), ON)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_answers_are_minigrads(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Raw input of either kind, the same logits from the same weights."""
    rng, size = np.random.default_rng(0), (33, *shape)
    images = (rng.integers(0, 256, size) if dtype == "uint8" else rng.normal(0, 1, size)).astype(dtype)
    ours, net = pair(RECIPES[name], shape, 6, 1 / 255 if dtype == "uint8" else 1.0)
    np.testing.assert_allclose(logits(net, images), ours.predict(images), atol=1e-5)


def forth_and_back(layer: Any, x: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the layer makes of `x` in training, and the slope of (that times `g`) in `x`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        image = tf.Variable(x)
        with tf.GradientTape() as tape:
            found = layer(image, training=True)
            loss = tf.reduce_sum(found * g)
        back = tape.gradient(loss, image)
    elif BACKEND == "jax":
        import jax

        state = [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]
        found, pull, moved = jax.vjp(lambda x: layer.stateless_call(*state, x, training=True), x, has_aux=True)
        (back,) = pull(jax.numpy.asarray(g))
        for variable, value in zip(layer.non_trainable_variables, moved, strict=True):
            variable.assign(value)
    else:
        image = keras.ops.convert_to_tensor(x).requires_grad_()
        found = layer(image, training=True)
        found.backward(keras.ops.convert_to_tensor(g))
        back = image.grad
    return keras.ops.convert_to_numpy(found), keras.ops.convert_to_numpy(back)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("shape", [(7, 3), (7, 4, 5, 3)])
def test_batch_norm_is_torchs(shape: tuple[int, ...]) -> None:
    """What comes out, both ways back, and the running statistics, whose variance is over n - 1: minigrad's."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(3, 2, shape), rng.normal(0, 1, shape)
    first = (0, len(shape) - 1, *range(1, len(shape) - 1))  # torch's place for the channels
    ours = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3, dtype=np.float64)
    theirs = BatchNormalization(dtype="float64")
    theirs.build(shape)
    for _ in range(2):
        seen = Tensor(x.transpose(first), requires_grad=True)
        expected = ours(seen)
        (expected * g.transpose(first)).sum().backward()
        found, back = forth_and_back(theirs, x, g)
        np.testing.assert_allclose(found.transpose(first), expected.data, rtol=0, atol=1e-13)
        np.testing.assert_allclose(back.transpose(first), seen.grad, rtol=0, atol=1e-13)
    to_numpy = keras.ops.convert_to_numpy
    np.testing.assert_allclose(to_numpy(theirs.moving_mean), ours.running_mean.data, rtol=1e-13)
    np.testing.assert_allclose(to_numpy(theirs.moving_variance), ours.running_var.data, rtol=1e-13)
    ours.eval()
    expected = ours(Tensor(x.transpose(first))).data
    np.testing.assert_allclose(to_numpy(theirs(x, training=False)).transpose(first), expected, rtol=0, atol=1e-13)


def test_raw_pixels_go_in_and_logits_come_out() -> None:
    """Scaling is the network's own work, and no softmax stands at its end."""
    net = build_model(Model(hidden=[]), (2, 2), 2)
    set_weights(
        net, {"output.weight": np.full((2, 4), [[1.0], [-3.0]], np.float32), "output.bias": np.zeros(2, np.float32)}
    )
    assert net.input_shape == (None, 2, 2)
    np.testing.assert_allclose(logits(net, np.full((1, 2, 2), 255, np.uint8)), [[4, -12]], rtol=1e-6)


def test_floats_are_taken_as_they_are() -> None:
    """Only pixels are scaled."""
    net = build_model(Model(hidden=[]), (2,), 2, 1.0)
    set_weights(net, {"output.weight": np.eye(2, dtype=np.float32), "output.bias": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(logits(net, np.array([[300.0, -0.25]], np.float32)), [[300, -0.25]])


def test_weights_go_round() -> None:
    """What was set is got back to the last bit, and changes what was there."""
    model = Model(hidden=[7, 5], dropout=0.3)
    a, b = get_weights(build_model(model, (6,), 3)), build_model(model, (6,), 3)
    assert not np.array_equal(get_weights(b)["hidden.0.weight"], a["hidden.0.weight"])
    set_weights(b, a)
    for name, array in get_weights(b).items():
        np.testing.assert_array_equal(array, a[name])


def test_a_missing_weight_is_an_error() -> None:
    """Half-set weights would be a silent mistake."""
    net = build_model(Model(), (6,), 3)
    arrays = get_weights(net)
    del arrays["output.bias"]
    with pytest.raises(KeyError):
        set_weights(net, arrays)


def test_the_historical_network_has_7960_parameters() -> None:
    """784-10-10, as its makers counted; dropout's seeds are no parameters."""
    assert count_parameters(build_model(Model())) == 7_960
    assert count_parameters(build_model(Model(dropout=0.5))) == 7_960


def test_dropout_works_in_training_only() -> None:
    """Half of the units, the rest doubled; none when it answers."""
    net = build_model(Model(hidden=[2000], dropout=0.5), (1,), 2, 1.0)
    ones = {"hidden.0.weight": np.ones((2000, 1)), "hidden.0.bias": np.zeros(2000)}
    set_weights(net, {**ones, "output.weight": np.ones((2, 2000)), "output.bias": np.zeros(2)})
    x = np.ones((1, 1), np.float32)
    to_numpy = keras.ops.convert_to_numpy
    assert to_numpy(net(x, training=False))[0, 0] == 2000
    kept = to_numpy(net(x, training=True))[0, 0] / 2
    assert kept == int(kept)
    assert 850 < kept < 1150  # six deviations of 22


@pytest.mark.parametrize(
    ("asked", "total", "expected"),
    [(None, 1000, 125), (None, 430, 108), (None, 7, 7), (4, 1000, 4), (1, 9, 1)]
    if MOST_STEPS > 1
    else [(None, 1000, 1), (None, 7, 1), (1, 9, 1)],
)
def test_steps_per_execution_is_chosen(asked: int | None, total: int, expected: int) -> None:
    """Equal parts of an epoch, of as many steps as the backend can; and what is asked for where it is."""
    net = build_model(Model(), (6,), 3)
    compile_model(net, Model(), total, steps_per_execution=asked)
    assert net.steps_per_execution == expected


@pytest.mark.parametrize("steps_per_execution", [1, 3, 32] if MOST_STEPS > 1 else [1])
def test_steps_per_execution_changes_nothing_but_time(steps_per_execution: int) -> None:
    """Five steps an epoch divide by neither; the weights are those of NumPy's training loop."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (20, 3)).astype(np.float32), rng.integers(0, 2, 20)
    net = build_model(Model(hidden=[]), (3,), 2, 1.0)
    set_weights(net, {"output.weight": np.zeros((2, 3)), "output.bias": np.zeros(2)})
    compile_model(net, Model(hidden=[], learning_rate=0.5), 10, steps_per_execution=steps_per_execution)
    net.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    w, b = np.zeros((2, 3)), np.zeros(2)
    for start in [*range(0, 20, 4)] * 2:
        xs, ys = x[start : start + 4], y[start : start + 4]
        z = xs @ w.T + b
        error = (np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(2)[ys]) / 4
        w, b = w - 0.5 * error.T @ xs, b - 0.5 * error.sum(0)
    found = get_weights(net)
    np.testing.assert_allclose(found["output.weight"], w, atol=1e-5)
    np.testing.assert_allclose(found["output.bias"], b, atol=1e-5)


def trained(model: Model) -> tuple[keras.Model, Any, Any]:
    """A compiled network after three steps, and a batch."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (16, 3, 3)).astype(np.uint8), rng.integers(0, 4, 16)
    net = build_model(model, (3, 3), 4)
    compile_model(net, model, 100, steps_per_execution=1)
    for _ in range(3):
        net.train_on_batch(x, y)
    return net, x, y


@pytest.mark.parametrize("name", ["deep", "dropout", "cnn with batch norm"])
def test_a_saved_model_gives_the_same_answers(name: str, tmp_path: Path) -> None:
    """Saved whole, and loaded without trusting any code in the file."""
    net, x, _ = trained(RECIPES[name])
    net.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), net.predict(x, verbose=0))
    assert loaded.input.dtype == "uint8"


@pytest.mark.parametrize(
    "model",
    [
        Model(momentum=0.9, weight_decay=0.1),
        Model(optimizer="adam", learning_rate=0.01),
        Model("cnn", [3], 3, optimizer="rmsprop", learning_rate=0.01, schedule="one_cycle", batch_norm=True),
        Model(optimizer="adamw", learning_rate=0.01, weight_decay=1.0),
        Model(optimizer="adam", learning_rate=0.01, weight_decay=1.0),
    ],
    ids=lambda m: f"{m.optimizer}, decay {m.weight_decay}",
)
def test_a_saved_model_trains_on_as_the_one_in_memory(model: Model, tmp_path: Path) -> None:
    """The optimiser is in the file with all its settings, weight decay among them."""
    net, x, y = trained(model)
    net.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for each in (net, loaded):
        each.train_on_batch(x, y)
    for name, array in get_weights(net).items():
        np.testing.assert_allclose(get_weights(loaded)[name], array, rtol=1e-6, atol=1e-8)
