"""The exercises 14 and 15: a training step is compared with minigrad's, and a mistake gets its hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compare.parity import exercise
from minigrad import by_hand
from minigrad.study.exercises import runner
from minigrad.study.exercises.catalog import find
from minigrad.study.exercises.outcome import Outcome, Wrong

Weights = dict[str, np.ndarray]
Change = Callable[..., tuple[Any, Any, Any]]


def step(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> tuple[float, Weights, Weights]:
    """A right training step."""
    loss, gradients, _ = by_hand.gradients(weights, x, labels)
    return loss, gradients, {name: w - lr * gradients[name] for name, w in weights.items()}


def changed(change: Change) -> SimpleNamespace:
    """A module whose step returns what `change` makes of (loss, gradients, new weights), n and the old weights."""

    def train_step(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
        return change(*step(weights, x, labels, lr), len(x), weights)

    return SimpleNamespace(train_step=train_step)


def each(arrays: Weights, change: Callable[[np.ndarray], np.ndarray]) -> Weights:
    return {name: change(array) for name, array in arrays.items()}


def in_float32(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
    return step(each(weights, lambda w: w.astype(np.float32)), x.astype(np.float32), labels, lr)


def in_place(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
    loss, gradients, _ = by_hand.gradients(weights, x, labels)
    for name, w in weights.items():
        w -= lr * gradients[name]
    return loss, gradients, weights


def without_relu(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
    return exercise._linear(weights, x, labels, lr)[0], *step(weights, x, labels, lr)[1:]


def transposed(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
    return step(each(weights, np.transpose), x, labels, lr)


class Kept:
    """A step that never sets the gradients to zero."""

    def __init__(self) -> None:
        self.sums: Weights = {}

    def __call__(self, weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> Any:
        loss, gradients, _ = step(weights, x, labels, lr)
        before = self.sums if self.sums and all(self.sums[n].shape == g.shape for n, g in gradients.items()) else {}
        self.sums = {name: g + before.get(name, 0) for name, g in gradients.items()}
        return loss, self.sums, {name: w - lr * self.sums[name] for name, w in weights.items()}


MISTAKES: list[tuple[Any, str, str]] = [
    (changed(lambda loss, g, w, n, old: (loss * n, g, w)), "loss", "summed over the batch instead of averaged"),
    (
        changed(lambda loss, g, w, n, old: (loss, each(g, lambda a: a * n), w)),
        "Step 1, gradient of output.bias, backward of cross_entropy",
        "summed over the batch instead of averaged",
    ),
    (changed(lambda loss, g, w, n, old: (loss, each(g, np.transpose), w)), "", "A gradient is transposed"),
    (changed(lambda loss, g, w, n, old: (loss, g, each(w, np.transpose))), "", "A new weight is transposed"),
    (
        changed(lambda loss, g, w, n, old: (loss, g, {k: old[k] + exercise.RATE * g[k] for k in w})),
        "sgd's update",
        "",
    ),
    (
        changed(lambda loss, g, w, n, old: (loss, g, {k: old[k] - g[k] for k in w})),
        "sgd's update",
        "The learning rate is 1",
    ),
    (changed(lambda loss, g, w, n, old: (loss, g, old)), "sgd's update", "It is not updated."),
    (
        SimpleNamespace(train_step=Kept()),
        "Step 2, gradient",
        "It includes the gradient of step 1, which was not zeroed.",
    ),
    (SimpleNamespace(train_step=in_place), "changes its argument weights", "copy"),
    (SimpleNamespace(train_step=in_float32), "", "float32"),
    (SimpleNamespace(train_step=without_relu), "loss", "ReLU is missing"),
    (SimpleNamespace(train_step=transposed), "", "Do the shapes agree"),
    (changed(lambda loss, g, w, n, old: loss), "expected a tuple (loss, gradients, new_weights)", "return loss"),
    (changed(lambda loss, g, w, n, old: (None, g, w)), "The loss is a NoneType; expected a number", "item()"),
    (
        changed(lambda loss, g, w, n, old: (loss, each(g, np.ndarray.tolist), w)),
        "is a list; expected a NumPy array",
        "numpy()",
    ),
]


def test_a_right_step_passes() -> None:
    assert exercise.check(SimpleNamespace(train_step=step)).startswith("same as minigrad, to ")  # type: ignore[arg-type]


@pytest.mark.parametrize(("module", "message", "hint"), MISTAKES)
def test_a_mistake_gets_its_hint(module: Any, message: str, hint: str) -> None:
    with pytest.raises(Wrong) as caught:
        exercise.check(module)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.hint


def test_weights_that_are_nan_are_reported_as_such() -> None:
    module: Any = changed(lambda loss, g, w, n, old: (loss, g, each(w, lambda a: a * np.nan)))
    with pytest.raises(Wrong) as caught:
        exercise.check(module)
    assert "Step 1" in caught.value.message
    assert "sgd's update" in caught.value.message
    assert "changes its argument" not in caught.value.message


def run(name: str, folder: Path, *replaced: str) -> Outcome:
    """Check a solution, with a change, in a process of its own."""
    text = find(name).solution
    if replaced:
        assert replaced[0] in text
        text = text.replace(*replaced)
    path = folder / find(name).file
    path.write_text(text)
    printed: list[str] = []
    outcome, _ = runner.run(find(name), path, printed.append)
    assert printed == []
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", ["14", "15"])
def test_solutions_pass_and_stubs_fail(name: str, tmp_path: Path) -> None:
    outcome = run(name, tmp_path)
    assert outcome.solved, outcome
    assert outcome.message.startswith("same as minigrad, to ")
    outcome = run(name, tmp_path, find(name).solution, find(name).stub)
    assert "is not written yet" in outcome.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "old", "new", "hint"),
    [
        ("14", "cross_entropy(logits, torch", "cross_entropy(torch.softmax(logits, 1), torch", "through softmax"),
        ("14", "torch.tensor(labels))", 'torch.tensor(labels), reduction="sum")', "instead of averaged"),
        ("14", "requires_grad=True)", "requires_grad=True, dtype=torch.float32)", "keep this dtype"),
        ("14", "torch.relu(functional", "(functional", "ReLU is missing"),
        ("15", 'activation="relu"', "activation=None", "ReLU is missing"),
        ("15", 'keras.config.set_floatx("float64")', "", "float32"),
        ("15", '["hidden.0.weight"].T', '["hidden.0.weight"]', "Do the shapes agree"),
        ("15", "kernel1.T", "kernel1", "Do the shapes agree"),
        ("15", "tf.reduce_mean", "tf.reduce_sum", "instead of averaged"),
    ],
)
def test_mistakes_in_the_frameworks(name: str, old: str, new: str, hint: str, tmp_path: Path) -> None:
    outcome = run(name, tmp_path, old, new)
    assert not outcome.solved
    assert hint in outcome.hint, outcome
