"""The check of 08 cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .core import Case
from .rules import NO_G, Rule, rule_part
from .softmax import softmax_of, unshifted


def loss_of(z: np.ndarray, labels: np.ndarray) -> Any:
    shifted = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(z)), labels]).mean()


def cross_entropy_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, classes in ((3, 4), (2, 3), (5, 2), (3, 3), (1, 3)):
        z, labels = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
        yield Case({"g": np.array(1.0 if n == 3 else 0.75), "z": z, "labels": labels})
    yield Case({"g": np.array(1.0), "z": np.array([[1000.0, 0.0], [0.0, 900.0]]), "labels": np.array([1, 1])})


def one_hot(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.eye(z.shape[1])[labels]


def by_label(p: np.ndarray, labels: np.ndarray) -> Any:
    return p[np.arange(len(p)), labels]


def wrong_loss(loss: Callable[[Any, Any], Any]) -> Rule:
    """Return a rule with the right gradient of the right loss."""
    return lambda z, labels: (loss(z, labels), lambda g: g * (softmax_of(z) - one_hot(z, labels)) / len(z))


def wrong_gradient(gradient: Callable[[Any, Any, int, Any], Any]) -> Rule:
    """Return a rule with the right loss; `gradient` gets p, the labels as one-hot rows, n and g."""
    return lambda z, labels: (
        loss_of(z, labels),
        lambda g: gradient(softmax_of(z), one_hot(z, labels), len(z), g),
    )


def reused(z: np.ndarray, labels: np.ndarray) -> Any:
    """A rule whose pullback changes the probabilities that the next call needs."""
    p = softmax_of(z)

    def pullback(g: Any) -> Any:
        p[np.arange(len(z)), labels] -= 1
        return g * p / len(z)

    return loss_of(z, labels), pullback


BATCH = "Divide by n: the loss is the mean over the batch."
CROSS_ENTROPY = (
    rule_part(
        "cross_entropy",
        loss_of,
        ("z",),
        cross_entropy_cases,
        [
            (wrong_loss(lambda z, t: loss_of(z, t) * len(z)), f"This is the sum over the batch. {BATCH}"),
            (wrong_loss(lambda z, t: -loss_of(z, t)), "The sign is wrong: the loss is -ln p, which is positive."),
            (wrong_loss(lambda z, t: by_label(softmax_of(z), t).mean()), "The logarithm is missing: this is the mean of p."),
            (wrong_loss(lambda z, t: -by_label(softmax_of(z), t).mean()), "The logarithm is missing: this is the mean of -p."),
            (wrong_loss(lambda z, t: loss_of(softmax_of(z), t)), "softmax is applied twice: z are logits, use them as they are."),
            (wrong_loss(lambda z, t: -np.log(by_label(unshifted(z), t)).mean()),
             "e^1000 is infinite. Subtract each row's largest element, and compute ln(sum of e^z) - z_t."),
            (wrong_loss(lambda z, t: (np.log(np.exp(z).sum(axis=1)) - by_label(z, t)).mean()),
             "e^1000 is infinite. Subtract each row's largest element before you compute e^z."),
            (wrong_loss(lambda z, t: -np.log(by_label(softmax_of(z), t)).mean()),
             "p is rounded to 0 here, and -ln 0 is infinite. Compute ln(sum of e^z) - z_t instead."),
            (wrong_loss(lambda z, t: -np.log(softmax_of(z)).mean()), "Use only the element of each row at its label."),
            (wrong_loss(lambda z, t: -np.log(softmax_of(z)).sum(axis=1).mean()), "Use only the element of each row at its label."),
            (wrong_loss(lambda z, t: (np.log(np.exp(z).sum(axis=1)) - z[:, t]).mean()),
             "z[:, labels] takes all labels from each row: z[rows, labels] with rows = np.arange(n)."),
            (reused, "The first call changed p, so the second call subtracts 1 again. Make a new p in each call."),
            (wrong_gradient(lambda p, t, n, g: g * (p - t)), f"This is n times too large. {BATCH}"),
            (wrong_gradient(lambda p, t, n, g: g * (t - p) / n), "The sign is wrong: p minus 1 at the label."),
            (wrong_gradient(lambda p, t, n, g: g * p / n), "Subtract 1 from p at the label of each row."),
            (wrong_gradient(lambda p, t, n, g: (p - t) / n), NO_G),
            (wrong_gradient(lambda p, t, n, g: g * (p - n * t) / n), "Subtract the 1 first, and then divide by n."),
            (wrong_gradient(lambda p, t, n, g: g * (p - 1) / n), "Subtract 1 only at the label of each row: p[rows, labels]."),
            (wrong_gradient(lambda p, t, n, g: g * (p - t) / p.size), "Divide by n, the number of rows, and not by all elements."),
        ],
        {"IndexError": "z[rows, labels] with rows = np.arange(n) is the element of each row at its label."},
    ),
)  # fmt: skip
