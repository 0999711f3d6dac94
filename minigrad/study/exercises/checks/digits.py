"""The check of 12 digits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .... import datasets, first
from ..outcome import Wrong
from . import network
from .adam import adam
from .core import Case, Mistake, Outputs, Part, check_parts
from .network import Arrays, Node, Weights, identity, module, nodes, numbers, random_weights, relu, two_layers, value_of
from .values import brief


def call_minibatches(target: Any, n: int, batch_size: int) -> Outputs:
    """Call minibatches, and return the properties of its result."""
    rng = np.random.default_rng(0)
    epochs = [target.minibatches(n, batch_size, rng) for _ in range(2)]
    try:
        batches = [[np.asarray(batch) for batch in epoch] for epoch in epochs]
        orders = [np.concatenate([np.empty(0, int), *epoch]) for epoch in batches]
    except (TypeError, ValueError) as error:
        raise Wrong(f"minibatches returned {brief(epochs[0])}; expected a list of index arrays.") from error
    first_sizes = np.array([batch.size for batch in batches[0]])
    outputs = {
        "The number of batches": len(first_sizes),
        "The size of each batch": first_sizes,
        "The sorted array of all indices": np.sort(orders[0]),
    }
    if n > 5:
        shuffled = [order for order in orders if not np.array_equal(order, np.sort(order))]
        outputs["The number of epochs in random order, of 2,"] = len(shuffled)
        outputs["The number of different orders in 2 epochs"] = 1 if np.array_equal(orders[0], orders[1]) else 2
    return outputs


def split(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]


SEEDED = np.random.default_rng
BATCHES = [
    (lambda n, size, rng: split(np.arange(n), size), "The indices are not shuffled: use rng.permutation(n)."),
    (lambda n, size, rng: split(SEEDED(0).permutation(n), size), "Each epoch has the same order: use the rng that is passed."),
    (
        lambda n, size, rng: split(rng.permutation(n)[: n // size * size], size),
        "The last images are never used if n is not a multiple of batch_size: keep the smaller last batch.",
    ),
    (lambda n, size, rng: split(rng.integers(0, n, n), size), "Some indices occur twice, and others never: use rng.permutation(n)."),
    (lambda n, size, rng: [rng.permutation(n)], "All indices are in one batch: cut the order into pieces of batch_size."),
    (
        lambda n, size, rng: [rng.permutation(n)[i : i + size] for i in range(0, n, size)],
        "Each batch has an order of its own, so that indices are repeated. Call rng.permutation(n) once.",
    ),
]  # fmt: skip


def call_logits(target: Any, weights: Arrays, x: np.ndarray) -> Outputs:
    return {"logits_of(weights, x).value": value_of(target.logits_of(nodes(target, weights), x), "logits_of")}


def call_classes(target: Any, weights: Arrays, x: np.ndarray) -> Outputs:
    return {"predict(weights, x)": target.predict(nodes(target, weights), x)}


def relu_logits(weights: Weights, x: np.ndarray) -> np.ndarray:
    return np.asarray(two_layers(weights, Node(x), relu).value)


def network_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, inputs, hidden in ((5, 4, 3), (1, 6, 2), (10, 10, 10)):
        yield Case(
            {"weights": random_weights(rng, inputs, hidden, 10), "x": rng.uniform(size=(n, inputs))}, shown=False
        )


def call_fit(target: Any, weights: Arrays, x: np.ndarray, labels: np.ndarray, epochs: int, batch_size: int) -> Outputs:
    trained, steps = nodes(target, weights), epochs * -(-len(x) // batch_size)
    losses = target.fit(trained, x, labels, epochs, batch_size, 0.1, np.random.default_rng(0))
    outputs: Outputs = {f"The loss of step {i}": loss for i, loss in enumerate(numbers(losses, steps, "fit"), 1)}
    return outputs | {f"The value of {name} after {steps} steps": np.array(p.value) for name, p in trained.items()}


def fitting(
    *,
    moved: bool = True,
    paired: bool = True,
    fresh: bool = False,
    kept: bool = False,
    rate: float = 1.0,
    whole: bool = False,
) -> Any:
    """Return a module whose fit deviates in what the arguments say.

    Args:
        moved: whether the weights are updated.
        paired: whether images and labels of a batch have the same indices.
        fresh: whether each epoch begins with a new optimizer.
        kept: whether the gradients of the step before are added.
        rate: a factor of the learning rate.
        whole: whether each step uses all images instead of a batch.
    """

    def fit(weights: Weights, x: Any, labels: Any, epochs: int, batch_size: int, lr: float, rng: Any) -> list[float]:
        parameters, losses = list(weights.values()), []
        optimizer = adam().Adam(parameters, lr * rate)
        for _ in range(epochs):
            optimizer = adam().Adam(parameters, lr * rate) if fresh else optimizer
            for count, batch in enumerate(split(rng.permutation(len(x)), batch_size)):
                rows = np.arange(len(x)) if whole else batch
                ordered = rows if paired else np.arange(len(x))[count * batch_size :][: len(batch)]
                loss = network.cross_entropy(two_layers(weights, Node(x[rows]), relu), labels[ordered])
                before = [p.grad for p in parameters]
                first.backward(loss)
                for p, grad in zip(parameters, before, strict=True):
                    p.grad = p.grad + grad if kept and grad is not None else p.grad
                if moved:
                    optimizer.step()
                losses.append(float(loss.value))
        return losses

    return module(fit=fit)


def fit_cases(rng: np.random.Generator) -> Iterator[Case]:
    x, labels = rng.uniform(size=(7, 4)), rng.integers(0, 10, 7)
    for epochs in (1, 2):
        weights = random_weights(rng, 4, 3, 10)
        yield Case({"weights": weights, "x": x, "labels": labels, "epochs": epochs, "batch_size": 3}, shown=False)


DIGITS = (
    Part(
        ("minibatches",),
        call_minibatches,
        module(minibatches=lambda n, size, rng: split(rng.permutation(n), size)),
        lambda rng: [Case({"n": n, "batch_size": size}) for n, size in ((10, 4), (50, 10), (3, 8), (1, 1))],
        [Mistake(module(minibatches=wrong), hint) for wrong, hint in BATCHES],
    ),
    Part(
        ("logits_of", "Node"),
        call_logits,
        module(logits_of=lambda w, x: two_layers(w, Node(x), relu)),
        network_cases,
        [
            Mistake(module(logits_of=lambda w, x: two_layers(w, Node(x), identity)), "relu is missing after the hidden layer."),
            Mistake(module(logits_of=lambda w, x: two_layers(w, Node(x), relu, last=True)), "The logits have no relu."),
            Mistake(module(logits_of=lambda w, x: two_layers(w, Node(x), relu, biases=False)), "The biases b1 and b2 are missing."),
        ],
        {"AttributeError": "x is an array: Node(x) makes it a node, which the operations need."},
    ),
    Part(
        ("predict",),
        call_classes,
        module(predict=lambda w, x: relu_logits(w, x).argmax(axis=1)),
        network_cases,
        [
            Mistake(module(predict=lambda w, x: relu_logits(w, x)), "These are the logits. argmax(axis=1) is the class of each row."),
            Mistake(module(predict=lambda w, x: relu_logits(w, x).argmax(axis=0)), "Take the largest logit of each row: axis=1."),
            Mistake(module(predict=lambda w, x: relu_logits(w, x).max(axis=1)), "This is the largest logit. argmax is its position."),
            Mistake(module(predict=lambda w, x: relu_logits(w, x).argmax()), "Take the largest logit of each row: axis=1."),
        ],
    ),
    Part(
        ("fit",),
        call_fit,
        fitting(),
        fit_cases,
        [
            Mistake(fitting(moved=False), "The weights do not change: call train_step(optimizer, ...) for each batch."),
            Mistake(fitting(paired=False), "The labels belong to other images: use labels[batch] with x[batch]."),
            Mistake(fitting(fresh=True), "Create the optimizer once, before the first epoch. A new one forgets its averages."),
            Mistake(fitting(rate=0.01), "Pass lr to Adam: Adam(weights.values(), lr=lr)."),
            Mistake(fitting(whole=True), "Each step uses all images: take x[batch] and labels[batch]."),
        ],
    ),
)  # fmt: skip


def accuracy(target: Any, x: np.ndarray, labels: np.ndarray, weights: Any) -> float:
    """Return the share of right classes."""
    return float((np.asarray(target.predict(weights, x)) == labels).mean())


def too_low(reached: float, wanted: float) -> Wrong:
    """Return the failure of a network that was trained, but not well enough."""
    message = f"{reached:.1%} of the test images are classified correctly; expected at least {wanted:.0%}."
    if reached < 0.2:
        hint = "This is as good as guessing. Does train return the weights that fit has trained, on the images it was given?"
    else:
        hint = "The network learns, but not enough: try more epochs, another learning rate, or more hidden units."
    return Wrong(message, hint=hint)


def trained_weights(target: Any, images: np.ndarray, labels: np.ndarray) -> Any:
    """Call train and check that it returns weights."""
    weights = target.train(images, labels)
    if not isinstance(weights, dict) or not {"w1", "b1", "w2", "b2"} <= weights.keys():
        raise Wrong(f"train returned {brief(weights)}; expected the dict of weights.", hint="End with: return weights")
    return weights


def check_digits(target: Any) -> str:
    """Check the parts, and the accuracy on the test images."""
    check_parts(target, DIGITS)
    data = datasets.load("digits")
    x, test = (part.images.reshape(-1, 64) / 255 for part in (data.train, data.test))
    reached = accuracy(target, test, data.test.labels, trained_weights(target, x, data.train.labels))
    if reached < 0.88:
        raise too_low(reached, 0.88)
    return f"{reached:.1%} of the test images are right"
