"""The networks of the exercises 11 to 13, built from `minigrad.first`: what the learner's functions must compute."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .... import first
from ..outcome import Wrong
from .broadcasting import adjoint_of_shape
from .cross_entropy import loss_of, one_hot
from .softmax import softmax_of
from .values import brief

Node = first.Node
Weights = dict[str, Any]  # nodes by name
Arrays = dict[str, np.ndarray]


def operation(rule: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """Return `first.operation` of a rule, with types."""
    return first.operation(rule)


@operation
def add(a: Any, b: Any) -> tuple[Any, ...]:
    return a + b, lambda g: adjoint_of_shape(g, a.shape), lambda g: adjoint_of_shape(g, b.shape)


@operation
def matmul(a: Any, b: Any) -> tuple[Any, ...]:
    return a @ b, lambda g: g @ b.T, lambda g: a.T @ g


@operation
def tanh(x: Any) -> tuple[Any, ...]:
    y = np.tanh(x)
    return y, lambda g: g * (1 - y * y)


@operation
def relu(x: Any) -> tuple[Any, ...]:
    return np.maximum(x, 0), lambda g: g * (x > 0)


@operation
def identity(x: Any) -> tuple[Any, ...]:
    return x, lambda g: g


@operation
def mean_square(x: Any) -> tuple[Any, ...]:
    return (x * x).mean(), lambda g: g * 2 * x / x.size


def two_layers(
    weights: Weights, x: Any, activation: Callable[..., Any], biases: bool = True, last: bool = False
) -> Any:
    """Return the output of the network.

    Args:
        weights: w1, b1, w2 and b2.
        x: a node (n, inputs).
        activation: of the hidden layer.
        biases: whether b1 and b2 are added.
        last: whether the activation is applied to the output as well.
    """
    hidden, w2 = matmul(x, weights["w1"]), weights["w2"]
    hidden = activation(add(hidden, weights["b1"]) if biases else hidden)
    output = add(matmul(hidden, w2), weights["b2"]) if biases else matmul(hidden, w2)
    return activation(output) if last else output


def cross_entropy(logits: Any, labels: np.ndarray) -> Any:
    """Return the loss of a node of logits."""

    def rule(z: np.ndarray) -> tuple[Any, ...]:
        return loss_of(z, labels), lambda g: g * (softmax_of(z) - one_hot(z, labels)) / len(z)

    return operation(rule)(logits)


def module(**functions: Any) -> SimpleNamespace:
    """Return what stands in for a learner's module."""
    return SimpleNamespace(Node=Node, **functions)


def nodes(target: Any, arrays: Arrays) -> Weights:
    """Return weights as nodes of the learner's engine."""
    return {name: target.Node(array.copy()) for name, array in arrays.items()}


def random_weights(rng: np.random.Generator, inputs: int, hidden: int, outputs: int) -> Arrays:
    shapes = {"w1": (inputs, hidden), "b1": (hidden,), "w2": (hidden, outputs), "b2": (outputs,)}
    return {name: rng.normal(0, 0.7, shape) for name, shape in shapes.items()}


def value_of(result: Any, name: str) -> Any:
    """Return the array of a node."""
    if not hasattr(result, "value"):
        raise Wrong(
            f"{name} returned {brief(result)}; expected a node.", hint="Use the operations that take nodes, not +."
        )
    return result.value


def numbers(losses: Any, count: int, name: str) -> np.ndarray:
    """Return losses as an array."""
    if not isinstance(losses, list) or len(losses) != count:
        kind = f"a list of {len(losses)}" if isinstance(losses, list) else brief(losses)
        raise Wrong(f"{name} returned {kind}; expected a list of {count} losses, one per step.")
    if wrong := [loss for loss in losses if hasattr(loss, "value")]:
        raise Wrong(
            f"{name} returned {brief(wrong[0])} as a loss; expected a number.", hint="float(loss.value) is its number."
        )
    return np.array([float(loss) for loss in losses])
