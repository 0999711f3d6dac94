"""The network: names, shapes and outputs, before and after saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import BACKEND, MOST_STEPS, once

from keras_model.model import (
    BatchNormalization,
    build_model,
    compile_model,
    count_parameters,
    get_weights,
    set_weights,
)
from keras_model.training import logits
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
DTYPES = ("uint8", "float32")
# Only convolutions depend on channels.
ON = [(name, shape) for name in RECIPES for shape in ((4, 5), (4, 5, 2)) if len(shape) == 2 or "cnn" in name]


def pair(model: Model, shape: tuple[int, ...], classes: int, scale: float) -> tuple[Classifier, keras.Model]:
    """Build a network in minigrad and in Keras, with the same weights and random running statistics."""
    ours, net = Classifier(model, shape, classes, scale), build_model(model, shape, classes, scale)
    rng = np.random.default_rng(1)
    for name, t in ours.named_buffers():
        t.data[...] = rng.uniform(0.5, 2, t.shape) if "running" in name else t.data
    set_weights(net, ours.state_dict())
    return ours, net


@pytest.mark.parametrize(("name", "shape", "dtype"), [(*on, DTYPES[i % 2]) for i, on in enumerate(ON)])
def test_the_network_is_minigrads(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """The same names and shapes, as in the weights file; the same logits from the same weights and raw input."""
    rng, size = np.random.default_rng(0), (33, *shape)
    images = (rng.integers(0, 256, size) if dtype == "uint8" else rng.normal(0, 1, size)).astype(dtype)
    ours, net = pair(RECIPES[name], shape, 6, 1 / 255 if dtype == "uint8" else 1.0)
    np.testing.assert_allclose(logits(net, images), ours.predict(images), atol=1e-5)
    shapes = {k: array.shape for k, array in get_weights(net).items()}
    assert shapes == {k: array.shape for k, array in ours.state_dict().items()}
    assert shapes == sizes(RECIPES[name], shape, 6).shapes(RECIPES[name])


def forth_and_back(layer: Any, x: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the output of a layer in training for `x`, and the gradient with respect to `x` if that of the output is `g`."""
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
    """Outputs, gradients and running statistics (with the unbiased variance) are those of minigrad."""
    rng = np.random.default_rng(0)
    x, g = rng.normal(3, 2, shape), rng.normal(0, 1, shape)
    first = (0, len(shape) - 1, *range(1, len(shape) - 1))  # torch's layout, channels first
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
    """The network scales its input, and has no softmax at its end."""
    net = build_model(Model(hidden=[]), (2, 2), 2)
    set_weights(
        net, {"output.weight": np.full((2, 4), [[1.0], [-3.0]], np.float32), "output.bias": np.zeros(2, np.float32)}
    )
    assert net.input_shape == (None, 2, 2)
    np.testing.assert_allclose(logits(net, np.full((1, 2, 2), 255, np.uint8)), [[4, -12]], rtol=1e-6)


def test_floats_are_not_scaled() -> None:
    """Only pixels are scaled."""
    net = build_model(Model(hidden=[]), (2,), 2, 1.0)
    set_weights(net, {"output.weight": np.eye(2, dtype=np.float32), "output.bias": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(logits(net, np.array([[300.0, -0.25]], np.float32)), [[300, -0.25]])


def test_weights_are_set_and_read_back() -> None:
    """`get_weights` returns what `set_weights` has set, to the last bit."""
    model = Model(hidden=[7, 5], dropout=0.3)
    a, b = get_weights(build_model(model, (6,), 3)), build_model(model, (6,), 3)
    assert not np.array_equal(get_weights(b)["hidden.0.weight"], a["hidden.0.weight"])
    set_weights(b, a)
    for name, array in get_weights(b).items():
        np.testing.assert_array_equal(array, a[name])


def test_a_missing_weight_is_an_error() -> None:
    """Otherwise some weights would silently keep their values."""
    net = build_model(Model(), (6,), 3)
    arrays = get_weights(net)
    del arrays["output.bias"]
    with pytest.raises(KeyError):
        set_weights(net, arrays)


def test_the_historical_network_has_7960_parameters() -> None:
    """784-10-10; the seeds of dropout are not parameters."""
    assert count_parameters(build_model(Model())) == 7_960
    assert count_parameters(build_model(Model(dropout=0.5))) == 7_960


def test_dropout_works_in_training_only() -> None:
    """Half of the units are dropped and the others doubled; none in inference."""
    net = build_model(Model(hidden=[2000], dropout=0.5), (1,), 2, 1.0)
    ones = {"hidden.0.weight": np.ones((2000, 1)), "hidden.0.bias": np.zeros(2000)}
    set_weights(net, {**ones, "output.weight": np.ones((2, 2000)), "output.bias": np.zeros(2)})
    x = np.ones((1, 1), np.float32)
    to_numpy = keras.ops.convert_to_numpy
    assert to_numpy(net(x, training=False))[0, 0] == 2000
    kept = to_numpy(net(x, training=True))[0, 0] / 2
    assert kept == int(kept)
    assert 850 < kept < 1150  # six standard deviations of 22


@pytest.mark.parametrize(
    ("asked", "total", "expected"),
    [(None, 1000, 125), (None, 430, 108), (None, 7, 7), (4, 1000, 4), (1, 9, 1)]
    if MOST_STEPS > 1
    else [(None, 1000, 1), (None, 7, 1), (1, 9, 1)],
)
def test_steps_per_execution_is_chosen(asked: int | None, total: int, expected: int) -> None:
    """The default divides an epoch into equal executions; a given value is used."""
    net = build_model(Model(), (6,), 3)
    compile_model(net, Model(), total, steps_per_execution=asked)
    assert net.steps_per_execution == expected


@pytest.mark.parametrize("steps_per_execution", [1, 3, 32] if MOST_STEPS > 1 else [1])
def test_steps_per_execution_changes_nothing_but_time(steps_per_execution: int) -> None:
    """Five steps per epoch are divisible by none of the values; the weights are those of a training loop in NumPy."""
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
    """Return a compiled network after three steps, and a batch."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (16, 3, 3)).astype(np.uint8), rng.integers(0, 4, 16)
    net = build_model(model, (3, 3), 4)
    compile_model(net, model, 100, steps_per_execution=1)
    for _ in range(3):
        net.train_on_batch(x, y)
    return net, x, y


@pytest.mark.parametrize("name", [pytest.param("dropout", marks=once), "cnn with batch norm"])
def test_a_saved_model_has_the_same_outputs(name: str, tmp_path: Path) -> None:
    """Saved by Keras, and loaded in safe mode."""
    net, x, _ = trained(RECIPES[name])
    net.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), net.predict(x, verbose=0))
    assert loaded.input.dtype == "uint8"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Model(momentum=0.9, weight_decay=0.1), marks=once),
        pytest.param(Model(optimizer="adam", learning_rate=0.01), marks=once),
        pytest.param(
            Model("cnn", [3], 3, optimizer="rmsprop", learning_rate=0.01, schedule="one_cycle", batch_norm=True),
            marks=once,
        ),
        Model(optimizer="adamw", learning_rate=0.01, weight_decay=1.0),
        pytest.param(Model(optimizer="adam", learning_rate=0.01, weight_decay=1.0), marks=once),
    ],
    ids=lambda m: f"{m.optimizer}, decay {m.weight_decay}",
)
def test_a_saved_model_can_be_trained_further(model: Model, tmp_path: Path) -> None:
    """The file contains the optimizer with all settings, including weight decay."""
    net, x, y = trained(model)
    net.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for each in (net, loaded):
        each.train_on_batch(x, y)
    for name, array in get_weights(net).items():
        np.testing.assert_allclose(get_weights(loaded)[name], array, rtol=1e-6, atol=1e-8)
