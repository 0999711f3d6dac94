"""Checks a learner's training step in PyTorch or Keras: the exercises 14 and 15 of `minigrad.study`.

The learner's function and minigrad train the same network for some steps, each
on its own weights. Both are recorded as in a comparison, and `divergence` finds
the first tensor that differs, and the known mistake that explains it.

`minigrad.study` runs this module as a process: `python -m compare.parity.exercise`,
with the arguments of `minigrad.study.exercises.worker`. It imports no framework;
the learner's file does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from minigrad import by_hand, ops
from minigrad.classifier import Classifier
from minigrad.recipes import Recipe
from minigrad.study.exercises.outcome import Wrong, describe
from minigrad.study.exercises.worker import serve
from minigrad.training import build_optimizer

from . import divergence, tolerances
from .recording import Recording

Weights = dict[str, np.ndarray]
Step = Callable[[Weights, np.ndarray, np.ndarray, float], tuple[float, Weights, Weights]]
Batch = tuple[np.ndarray, np.ndarray]

RATE = 0.125  # exact in float32 too: Keras's optimizers store the learning rate in that dtype
BATCH_SIZES = (8, 8, 1)  # of the steps
SIZES = ((6, 5, 3), (4, 4, 4))  # inputs, hidden, classes; in the second one, a transposed matrix has the right shape
NAMES = ("hidden.0.weight", "hidden.0.bias", "output.weight", "output.bias")
RESULT = "a tuple (loss, gradients, new_weights)"
ROUNDED = 1e-5  # a relative difference that is smaller than this is due to float32


def check(module: ModuleType) -> str:
    """Compare `train_step` of a module with minigrad.

    Returns:
        What was reached, in words.

    Raises:
        Wrong: a number differs, or the function returns something else.
    """
    step = getattr(module, "train_step", None)
    if not callable(step):
        raise Wrong("The file does not define 'train_step'.", hint="Keep the name of the exercise.")
    first: Wrong | None = None
    largest = 0.0
    for sizes in SIZES:
        try:
            largest = max(largest, _compare(step, *sizes))
        except Wrong as wrong:
            if wrong.hint:
                raise
            first = first or wrong
    if first:
        raise first
    return f"same as minigrad, to {largest:.0e}"


def _compare(step: Step, inputs: int, hidden: int, classes: int) -> float:
    """Compare the recordings of a network of these sizes, and return the largest difference."""
    rng = np.random.default_rng(inputs)
    shapes = ((hidden, inputs), (hidden,), (classes, hidden), (classes,))
    weights = {name: rng.normal(0, 0.7, shape) for name, shape in zip(NAMES, shapes, strict=True)}
    batches = [(rng.normal(size=(n, inputs)), rng.integers(0, classes, n)) for n in BATCH_SIZES]
    recipe = Recipe.from_dict({"model": {"hidden": [hidden], "learning_rate": RATE}, "data": {"batch_size": 8}})
    allowed = tolerances.double(recipe)
    expected = record(reference(recipe, inputs, classes), weights, batches)
    actual = record(step, weights, batches)
    first = divergence.first_divergence(expected, actual, recipe, allowed)
    if first is None:
        return max(pair.gap for pair in divergence.tensor_pairs(expected, actual))
    message = first.sentence.removesuffix(first.explanation or "").strip()
    size = ("network", f"{inputs} inputs, {hidden} hidden units, {classes} classes, batches of {BATCH_SIZES}")
    raise Wrong(
        message[0].upper() + message[1:], [size], first.explanation or _explain(expected, actual, weights, batches)
    )


def record(step: Step, weights: Weights, batches: list[Batch]) -> Recording:
    """Take one step per batch, and return the recording."""
    arrays: dict[str, np.ndarray] = {f"weight {name} 0": w for name, w in weights.items()}
    losses = []
    for i, (x, labels) in enumerate(batches, 1):
        before = {name: w.copy() for name, w in weights.items()}
        loss, gradients, updated = _call(step, weights, x, labels)
        if any(not np.array_equal(weights[name], before[name], equal_nan=True) for name in NAMES):
            raise Wrong(f"Step {i}: train_step changes its argument weights.", hint="Work on copies: array.copy().")
        losses.append(loss)
        arrays |= {f"gradient {name} {i}": np.array(g) for name, g in gradients.items()}
        arrays |= {f"weight {name} {i}": np.array(w) for name, w in updated.items()}
        arrays |= {f"images {i}": x, f"labels {i}": labels}
        weights = {name: np.array(w) for name, w in updated.items()}
        if any(weights[name].shape != before[name].shape for name in NAMES):  # the next step is not possible
            losses += [np.nan] * (len(batches) - i)
            break
    return Recording({"loss": np.array(losses)} | arrays)


def _call(step: Step, weights: Weights, x: np.ndarray, labels: np.ndarray) -> tuple[float, Weights, Weights]:
    """Call `train_step`, and check the types of what it returns."""
    try:
        result: Any = step(dict(weights), x.copy(), labels.copy(), RATE)
    except NotImplementedError:
        raise
    except Exception as error:
        hint = "Do the shapes agree? minigrad's weights are (outputs, inputs), and Keras's kernels (inputs, outputs)."
        if "expecting 0 weights" in str(error):
            hint = "A Keras layer has no weights before it knows its input: begin the model with keras.Input(shape=(...,))."
        if "dtype" in str(error):
            hint = "All arrays are float64: keep this dtype everywhere."
        shapes = [(name, str(w.shape)) for name, w in (weights | {"x": x}).items()]
        raise Wrong(
            f"{describe(error)}.", shapes, hint if isinstance(error, ValueError) or "dtype" in str(error) else ""
        ) from error
    if not isinstance(result, tuple) or len(result) != 3:
        kind = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"a {type(result).__name__}"
        raise Wrong(f"train_step returned {kind}; expected {RESULT}.", hint="return loss, gradients, new_weights")
    loss, gradients, updated = result
    for name, arrays in (("gradients", gradients), ("new_weights", updated)):
        _check_arrays(name, arrays)
    if not isinstance(loss, (int, float, np.number, np.ndarray)) or np.shape(loss):
        raise Wrong(f"The loss is a {type(loss).__name__}; expected a number.", hint="loss.item(), or float(loss)")
    return float(loss), gradients, updated


def _check_arrays(name: str, arrays: Any) -> None:
    if not isinstance(arrays, Mapping) or set(arrays) != set(NAMES):
        keys = (
            f"a dict with the keys {', '.join(map(str, arrays))}"
            if isinstance(arrays, Mapping)
            else type(arrays).__name__
        )
        raise Wrong(f"{name} is {keys}; expected a dict with the keys {', '.join(NAMES)}.")
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            message = f"{name}[{key!r}] is a {type(array).__name__}; expected a NumPy array of floats."
            raise Wrong(message, hint="tensor.detach().numpy() in PyTorch, tensor.numpy() in TensorFlow")


def reference(recipe: Recipe, inputs: int, classes: int) -> Step:
    """Return minigrad's training step."""

    def step(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> tuple[float, Weights, Weights]:
        net = Classifier(recipe.model, (inputs,), classes, 1.0, dtype=np.float64)
        net.load_state_dict(weights)
        loss = ops.cross_entropy(net(x), labels)
        loss.backward()
        gradients = {name: p.grad.copy() for name, p in net.named_parameters() if p.grad is not None}
        build_optimizer(net.parameters(), recipe.model).step()
        return loss.item(), gradients, {name: p.data.copy() for name, p in net.named_parameters()}

    return step


# Mistakes that are likelier in a first program than in a contender.


def _transposed(weights: Weights) -> Weights:
    return {name: w.T for name, w in weights.items()}


def _linear(weights: Weights, x: np.ndarray, labels: np.ndarray, lr: float) -> tuple[float, Weights, Weights]:
    """A step without ReLU: the hidden units are shifted so far that none is below 0, and the output is shifted back."""
    shift = 1e3
    moved = dict(weights)
    moved["hidden.0.bias"] = weights["hidden.0.bias"] + shift
    moved["output.bias"] = weights["output.bias"] - shift * weights["output.weight"].sum(axis=1)
    loss, _, _ = by_hand.gradients(moved, x, labels)
    return loss, {}, {}


def _own_mistakes(weights: Weights, x: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, float, Weights, Weights]]:
    """Yield (hint, loss, gradients, new weights) of each mistake; those that a mistake does not determine are left out."""
    loss, gradients, _ = by_hand.gradients(weights, x, labels)
    yield "ReLU is missing after the hidden layer.", _linear(weights, x, labels, RATE)[0], {}, {}
    transposed, hint = (
        _transposed(weights),
        "Weights are used in the wrong layout: (outputs, inputs) must be transposed for Keras.",
    )
    if all(transposed[name].shape == w.shape for name, w in weights.items()):
        both, _, _ = by_hand.gradients(transposed, x, labels)
        yield hint, both, {}, {}
    turned = "A gradient is transposed: it must have the shape of its weight, (outputs, inputs)."
    yield turned, loss, _transposed(gradients), {}
    yield (
        "The sign is wrong: subtract lr * gradient.",
        loss,
        gradients,
        {n: w + RATE * gradients[n] for n, w in weights.items()},
    )
    yield "The learning rate is missing.", loss, gradients, {n: w - gradients[n] for n, w in weights.items()}
    flipped = {n: w - RATE * gradients[n] for n, w in weights.items()}
    yield "A new weight is transposed: return it in the layout of weights.", loss, gradients, _transposed(flipped)


def _explain(expected: Recording, actual: Recording, weights: Weights, batches: list[Batch]) -> str:
    """Return the hint for a difference in the first step; empty if its cause is not known."""
    x, labels = batches[0]
    for hint, loss, gradients, updated in _own_mistakes(weights, x, labels):
        predicted = {"loss 1": np.array(loss)} | {f"gradient {n} 1": g for n, g in gradients.items()}
        predicted |= {f"weight {n} 1": w for n, w in updated.items()}
        if all(_near(actual.tensors[key], value, 1e-9) for key, value in predicted.items()):
            return hint
    # Weights and gradients of shape (n, m) in place of (m, n) end the recording; the rest must be close.
    tensors = [(actual.tensors[key], value) for key, value in expected.tensors.items() if key in actual.tensors]
    if len(tensors) == len(expected.tensors) and all(_near(a, e, ROUNDED) for a, e in tensors):
        return (
            "The numbers agree to float32 only: somewhere, float64 is rounded. Check the dtype of each array and layer."
        )
    return ""


def _near(actual: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if actual.shape != expected.shape:
        return False
    scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
    return bool(np.abs(actual - expected).max(initial=0) <= tolerance * scale)


CHECKS = {"14_torch": check, "15_keras": check}

if __name__ == "__main__":
    serve(CHECKS, memory=None)
