"""The optimizers: each step equals that of minigrad.optim, which has torch's formulas in NumPy."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras_helpers import (
    FLOAT64,
    once,
)

from keras_model.callbacks import build_callbacks
from keras_model.model import build_model, compile_model, get_weights, set_weights
from keras_model.optimizers import build_optimizer
from minigrad import Tensor, optim
from minigrad.classifier import Classifier
from minigrad.recipes import Model, Recipe
from minigrad.training import Schedule, train_epoch
from minigrad.training import build_optimizer as minigrads

WAYS = {
    "sgd": Model(learning_rate=0.3),
    "sgd with decay": Model(learning_rate=0.3, weight_decay=0.1),
    "momentum": Model(learning_rate=0.1, momentum=0.9),
    "momentum and decay": Model(learning_rate=0.1, momentum=0.7, weight_decay=0.05),
    "rmsprop": Model(optimizer="rmsprop", learning_rate=0.02),
    "rmsprop with decay": Model(optimizer="rmsprop", learning_rate=0.02, weight_decay=0.1),
    "adam": Model(optimizer="adam", learning_rate=0.02),
    "adam with decay": Model(optimizer="adam", learning_rate=0.02, weight_decay=0.1),
    "adamw": Model(optimizer="adamw", learning_rate=0.02, weight_decay=0.3),
    "adamw without decay": Model(optimizer="adamw", learning_rate=0.02),
}
MAIN = ("momentum and decay", "rmsprop with decay", "adam with decay", "adamw")


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("way", WAYS)
def test_each_of_50_steps_is_minigrads(way: str) -> None:
    """Gradients of very different sizes, including zero, so that epsilon and the bias corrections matter."""
    rng = np.random.default_rng(0)
    start, scale = rng.normal(0, 1, (4, 3)), 10.0 ** rng.integers(-9, 3, (4, 3))
    scale[0, 0] = 0.0
    variable, ours = keras.Variable(start, dtype="float64"), Tensor(start.copy(), requires_grad=True)
    theirs, expected = build_optimizer(WAYS[way], 50), minigrads([ours], WAYS[way])
    theirs.build([variable])
    moved = 0.0
    for step in range(50):
        gradient = rng.normal(0, 1, (4, 3)) * scale
        before = ours.data.copy()
        ours.grad = gradient
        expected.step()
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        np.testing.assert_allclose(np.asarray(variable), ours.data, rtol=1e-10, atol=1e-10, err_msg=f"step {step}")
        moved += np.abs(ours.data - before).sum()
    assert moved > 1


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("way", [way if way in MAIN else pytest.param(way, marks=once) for way in WAYS])
def test_50_steps_of_fit_are_minigrads(way: str) -> None:
    """The same with a compiled network and its gradients, as in a run."""
    # On JAX, Keras computes tanh and the mean of the loss in float32; with batches of 8 the mean is exact.
    model = Model(**{**vars(WAYS[way]), "hidden": [5]})
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, (400, 4)), rng.integers(0, 3, 400)
    ours = Classifier(model, (4,), 3, 1.0, dtype=np.float64)
    net = build_model(model, (4,), 3, 1.0, "float64")
    set_weights(net, {name: p.data for name, p in ours.named_parameters()})
    compile_model(net, model, 50)
    net.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    batches = [np.arange(i, i + 8) for i in range(0, 400, 8)]
    train_epoch(ours, minigrads(ours.parameters(), model), x, y, batches)
    for name, p in ours.named_parameters():
        np.testing.assert_allclose(get_weights(net)[name], p.data, rtol=0, atol=FLOAT64, err_msg=name)


@pytest.mark.parametrize("way", ["adam", "adamw"])
def test_float32_steps_stay_near_float64s(way: str) -> None:
    """1 - 0.999^t would lose four digits in the first steps if it were computed in float32."""
    start = np.array([1.0, -2.0])
    variable, ours = keras.Variable(start, dtype="float32"), Tensor(start.copy(), requires_grad=True)
    theirs, expected = build_optimizer(WAYS[way], 5), minigrads([ours], WAYS[way])
    theirs.build([variable])
    for _ in range(5):
        ours.grad = np.array([0.5, -0.01])
        expected.step()
        theirs.apply([keras.ops.convert_to_tensor(ours.grad, "float32")], [variable])
    np.testing.assert_allclose(np.asarray(variable) - start, ours.data - start, rtol=5e-6)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("steps", [2, 3, 20])
@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_a_schedule_is_minigrads_at_each_step(name: str, steps: int) -> None:
    """To the last digits, also after the last step, where the history reads it."""
    model = Model(schedule=name, learning_rate=0.2)  # type: ignore[arg-type]
    variable = keras.Variable(np.zeros(1), dtype="float64")
    theirs = build_optimizer(model, steps)
    theirs.build([variable])
    ours = Tensor(np.zeros(1), requires_grad=True)
    expected = minigrads([ours], model)
    schedule = Schedule(name, expected, steps)
    for step in range(steps):
        assert float(theirs.learning_rate) == pytest.approx(expected.lr, rel=1e-12, abs=1e-16), step
        ours.grad = np.ones(1)
        expected.step()
        schedule.after_step()
        theirs.apply([keras.ops.ones(1, "float64")], [variable])
        np.testing.assert_allclose(np.asarray(variable), ours.data, rtol=1e-14)
    assert float(theirs.learning_rate) == pytest.approx(expected.lr, rel=1e-12, abs=1e-16)


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_a_schedule_without_steps_has_a_rate(name: str) -> None:
    """max_epochs 0 must not cause a division by the number of steps."""
    found = build_optimizer(Model(schedule=name, learning_rate=0.2), 0).learning_rate  # type: ignore[arg-type]
    assert 0 < float(found) <= 0.2 * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["falling", "flat", "rising", "wobbling", "barely falling"])
def test_reduce_on_plateau_is_minigrads(kind: str, tmp_path: Path) -> None:
    """The same losses result in the same rate after each epoch; torch's patience is one epoch longer than Keras's."""
    t = np.arange(14)
    losses = {
        "falling": 1 - 0.01 * t,
        "flat": np.ones(14),
        "rising": 1 + 0.1 * t,
        "wobbling": 1 + 0.3 * (-1.0) ** t - 0.00001 * t,
        "barely falling": 1 - 0.00001 * t,
    }[kind]
    model = Model(schedule="reduce_on_plateau", learning_rate=0.1)
    net = build_model(model, (2,), 2)
    compile_model(net, model, 10)
    (plateau,) = [
        c for c in build_callbacks(Recipe(model=model), tmp_path) if isinstance(c, keras.callbacks.ReduceLROnPlateau)
    ]
    plateau.set_model(net)
    plateau.on_train_begin()
    expected = optim.SGD([Tensor(0.0, requires_grad=True)], 0.1)
    schedule = Schedule("reduce_on_plateau", expected, 10)
    for epoch, loss in enumerate(losses):
        plateau.on_epoch_end(epoch, {"val_loss": float(loss)})
        schedule.after_epoch(float(loss))
        assert float(net.optimizer.learning_rate) == pytest.approx(expected.lr, rel=1e-5), epoch
    assert (expected.lr < 0.1) == (kind != "falling")
