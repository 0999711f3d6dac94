"""The mistakes of the loss: a second softmax, and arrays that are broadcast."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ... import ops
from ...tensor import Tensor
from .definition import Break, Statement, accuracies, learns
from .experiment import BATCH_SIZE, CORRECT, Network, Run, Training

SOFTMAX_TWICE = math.log(1 + 9 / math.e)  # the smallest possible loss, for probabilities 1, 0, ..., 0


def _softmax_twice(logits: Tensor, labels: np.ndarray) -> Tensor:
    return ops.cross_entropy(ops.softmax(logits), labels)


def _softmax_twice_statements(correct: Run, broken: Run) -> list[Statement]:
    smallest = min(step.loss for step in broken.steps)
    sizes = [run.steps[0].gradients["output"] for run in (correct, broken)]
    return [
        (
            smallest >= SOFTMAX_TWICE,
            f"No step has a loss below ln(1 + 9/e) = {SOFTMAX_TWICE:.3f}, the loss if the first softmax gives the correct"
            f" class the probability 1; the smallest loss of a step is {smallest:.3f}.",
        ),
        (
            sizes[1] < 0.5 * sizes[0],
            f"In the first step, with the same weights and images, the gradient of the output weight is"
            f" {sizes[0] / sizes[1]:.1f} times smaller.",
        ),
        (
            broken.last.loss > correct.last.loss,
            f"After {len(broken.epochs)} epochs the loss is {broken.last.loss:.3f}, instead of {correct.last.loss:.3f}.",
        ),
        accuracies(correct, broken),
    ]


def softmax_twice() -> Break:
    return Break(
        summary="softmax before a loss that contains softmax",
        question="`cross_entropy` computes softmax itself. Here it gets the outputs of another softmax. What will happen?",
        choices=(
            ("There is no difference: the probabilities are the same.", learns),
            (
                "The network learns more slowly, and the loss cannot come near 0.",
                lambda c, b: b.last.loss > SOFTMAX_TWICE,
            ),
            ("The loss becomes NaN.", lambda c, b: not math.isfinite(b.largest_loss)),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, loss=_softmax_twice),
        statements=_softmax_twice_statements,
        why="The first softmax returns numbers from 0 to 1. The second one reads them as logits, and logits that differ by at"
        " most 1 give nearly equal probabilities: at most e / (e + 9) = 23 % for one of 10 classes. The chain rule also"
        " multiplies the gradient by the derivative of the first softmax, whose elements are at most 1/4.",
        recognize="The training learns, but slowly, and the loss levels off far above 0: never below ln(1 + (classes - 1)/e)."
        " Gradients and updates are several times smaller than usual.",
        fix="Give the loss the logits. Use softmax only to show probabilities.",
    )


def _points() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1280, 2)).astype(np.float32)
    y = np.sin(3 * x[:, 0]) + x[:, 1]
    return x[:1024], y[:1024], x[1024:], y[1024:]


def _regression_network(rng: np.random.Generator) -> Network:
    return Network(2, 32, 1, rng)


def _unchanged(x: np.ndarray) -> np.ndarray:
    return x


def _squared_error(outputs: Tensor, targets: np.ndarray) -> Tensor:
    difference = outputs[:, 0] - targets  # (n,) - (n,) = (n,)
    return (difference**2).mean()


def _broadcast_error(outputs: Tensor, targets: np.ndarray) -> Tensor:
    difference = outputs - targets  # (n, 1) - (n,) = (n, n)
    return (difference**2).mean()


def _explained_variance(outputs: np.ndarray, targets: np.ndarray) -> float:
    return float(1 - ((outputs[:, 0] - targets) ** 2).mean() / targets.var())


def _broadcasting_statements(correct: Run, broken: Run) -> list[Statement]:
    n, variance = BATCH_SIZE, float(broken.labels.var())
    spreads = [float(run.outputs.std()) for run in (correct, broken)]
    shape = (Tensor(np.zeros((n, 1))) - np.zeros(n)).shape
    return [
        (
            shape == (n, n),
            f"The difference of shapes ({n}, 1) and ({n},) has shape {shape}: {n * n:,} numbers, no error.",
        ),
        (
            spreads[1] < 0.3 * spreads[0],
            f"The outputs for the test inputs differ little: their standard deviation is {spreads[1]:.3f}; in the correct"
            f" training {spreads[0]:.3f}, and that of the targets {math.sqrt(variance):.3f}.",
        ),
        (
            0.7 * variance < broken.last.loss < 1.3 * variance,
            f"The loss stops at {broken.last.loss:.3f}; the variance of the test targets, the loss of always predicting their"
            f" mean, is {variance:.3f}.",
        ),
        (
            broken.last.score < 0.2 < correct.last.score,
            f"The share of the variance that is explained, R², is {broken.last.score:.2f}, instead of {correct.last.score:.2f}.",
        ),
    ]


REGRESSION = Training(
    data=_points,
    network=_regression_network,
    prepare=_unchanged,
    loss=_squared_error,
    score=_explained_variance,
    lr=0.1,
)


def broadcasting() -> Break:
    return Break(
        summary="(n, 1) - (n,) is an (n, n) matrix in a loss",
        question="A network with one output learns sin(3a) + b. The outputs have shape (n, 1), the targets (n,), and the loss"
        " is the mean of (outputs - targets)². What will happen?",
        choices=(
            ("An error is raised, because the shapes differ.", lambda c, b: not b.epochs),
            ("There is no difference: the mean is the same.", lambda c, b: b.last.score > 0.8),
            (
                "The loss falls a little and stops; the outputs are all nearly the same.",
                lambda c, b: b.last.score < 0.3,
            ),
        ),
        correct=REGRESSION,
        broken=replace(REGRESSION, loss=_broadcast_error),
        statements=_broadcasting_statements,
        why="NumPy and this engine stretch both arrays to (n, n), so that the loss compares each output with every target of"
        " the batch. The mean over the targets of (output - target)² is smallest if the output is the mean of the targets,"
        " whatever the input is. So the network learns to predict the mean.",
        recognize="The loss stops at the variance of the targets, and the outputs hardly depend on the input.",
        fix="Compare shapes before subtracting: use outputs[:, 0], or give the targets the shape (n, 1).",
        score_name="R²",
        score_note="R² is the share of the variance of the test targets that the outputs explain.",
    )
