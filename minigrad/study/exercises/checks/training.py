"""The checks of the exercises that train a network: 11 xor, 12 digits, 13 mnist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .... import datasets, first
from ..outcome import Wrong
from . import network
from .core import Case, Mistake, Outputs, Part, check_parts
from .network import Node, Weights, identity, module, relu, tanh, two_layers
from .optimizers import adam
from .values import brief

Arrays = dict[str, np.ndarray]


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
    return np.array([float(loss) for loss in losses])


# 11 xor

XOR_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_Y = np.array([[0.0], [1.0], [1.0], [0.0]])


def call_predict(target: Any, weights: Arrays, x: np.ndarray) -> Outputs:
    output = target.predict(nodes(target, weights), target.Node(x))
    return {"predict(weights, x).value": value_of(output, "predict")}


def call_train(target: Any, weights: Arrays, lr: float, steps: int) -> Outputs:
    trained = nodes(target, weights)
    losses = numbers(target.train(trained, target.Node(XOR_X), target.Node(XOR_Y), lr, steps), steps, "train")
    outputs: Outputs = {f"The loss before step {i}": loss for i, loss in enumerate(losses, 1)}
    return outputs | {f"The value of {name} after {steps} steps": np.array(p.value) for name, p in trained.items()}


def xor_loss(weights: Weights, x: Any, y: Any) -> Any:
    return network.mean_square(network.add(two_layers(weights, x, tanh), Node(-y.value)))


def xor_train(loop: Callable[[Weights, Callable[[], Any], Callable[[], None]], Iterator[Any]]) -> Any:
    """Return a `train` whose loop yields losses; it gets the weights, a function of the loss, and one that updates."""

    def train(weights: Weights, x: Any, y: Any, lr: float, steps: int) -> list[float]:
        def update() -> None:
            for p in weights.values():
                if p.grad is not None:
                    p.value = p.value - lr * p.grad

        losses = loop(weights, lambda: xor_loss(weights, x, y), update)
        return [float(next(losses).value) for _ in range(steps)]

    return module(train=train)


def right_loop(weights: Weights, loss_of: Callable[[], Any], update: Callable[[], None]) -> Iterator[Any]:
    while True:
        loss = loss_of()
        first.backward(loss)
        update()
        yield loss


def one_graph(weights: Weights, loss_of: Callable[[], Any], update: Callable[[], None]) -> Iterator[Any]:
    loss = loss_of()
    while True:
        first.backward(loss)
        update()
        yield loss


def no_update(weights: Weights, loss_of: Callable[[], Any], update: Callable[[], None]) -> Iterator[Any]:
    while True:
        yield loss_of()


def early_update(weights: Weights, loss_of: Callable[[], Any], update: Callable[[], None]) -> Iterator[Any]:
    while True:
        loss = loss_of()
        update()
        first.backward(loss)
        yield loss


def late_loss(weights: Weights, loss_of: Callable[[], Any], update: Callable[[], None]) -> Iterator[Any]:
    while True:
        first.backward(loss_of())
        update()
        yield loss_of()


CONSTANT = (
    "The weights do not change. In every step, compute a new loss with loss_of, and then call optimizer.zero_grad(),"
    " backward(loss) and optimizer.step(), in this order. A node that was computed before the loop keeps its old value."
)
XOR = (
    Part(
        ("predict",),
        call_predict,
        module(predict=lambda w, x: two_layers(w, x, tanh)),
        lambda rng: [Case({"weights": random_weights(rng, 2, h, 1), "x": x}, shown=False) for h, x in ((3, XOR_X), (1, XOR_X[1:2]))],
        [
            Mistake(
                module(predict=lambda w, x: two_layers(w, x, identity)),
                "tanh is missing: without it, the network is a linear function, which cannot compute XOR.",
            ),
            Mistake(module(predict=lambda w, x: two_layers(w, x, tanh, biases=False)), "The biases b1 and b2 are missing."),
            Mistake(module(predict=lambda w, x: two_layers(w, x, tanh, last=True)), "The output has no tanh."),
            Mistake(
                module(predict=lambda w, x: two_layers(w | {"b2": Node(np.zeros(1))}, x, tanh)), "The bias b2 is missing."
            ),
            Mistake(
                module(predict=lambda w, x: two_layers(w | {"b1": Node(np.zeros(w["b1"].value.shape))}, x, tanh)),
                "The bias b1 is missing.",
            ),
        ],
    ),
    Part(
        ("train", "loss_of", "Node"),
        call_train,
        xor_train(right_loop),
        lambda rng: [
            Case({"weights": random_weights(rng, 2, 4, 1), "lr": 0.25, "steps": n}, shown=False) for n in (4, 1)
        ],
        [
            Mistake(xor_train(one_graph), CONSTANT),
            Mistake(xor_train(no_update), CONSTANT),
            Mistake(xor_train(early_update), "Call backward(loss) before optimizer.step(), which needs its gradients."),
            Mistake(xor_train(late_loss), "These are the losses after each step. Return the loss that backward was called with."),
        ],
    ),
)  # fmt: skip


def check_xor(target: Any) -> str:
    """Check the parts, and then train from three random starts."""
    check_parts(target, XOR)
    for seed in (1, 2, 3):
        weights = nodes(target, random_weights(np.random.default_rng(seed), 2, 8, 1))
        losses = target.train(weights, target.Node(XOR_X), target.Node(XOR_Y), 0.2, 1500)
        output = target.predict(weights, target.Node(XOR_X)).value
        if losses[-1] > 0.05:
            raise Wrong(
                f"The loss is still {losses[-1]:.3f} after 1500 steps from start {seed}; expected at most 0.05."
            )
    return f"outputs: {', '.join(f'{y:.2f}' for y in output.ravel())}"


# 12 digits


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
        outputs["The number of different orders in 2 epochs"] = 1 if np.array_equal(*orders) else 2
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


# 13 mnist


def call_scaled(target: Any, images: np.ndarray) -> Outputs:
    return {"scaled(images)": target.scaled(images)}


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


SCALED = [
    (lambda images: flat(images), "The values are still from 0 to 255: divide by 255."),
    (lambda images: flat(images) // 255, "// divides integers and drops the rest. Use / for floats."),
    (lambda images: (flat(images) / 255).astype(np.uint8), "uint8 has only integers: the values must stay floats."),
    (lambda images: flat(images) / 256, "The largest value is 255: divide by 255, so that it becomes 1."),
    (lambda images: images / 255, "Give each image one row: reshape(len(images), -1)."),
    (lambda images: images.reshape(784, -1) / 255, "Give each image one row: reshape(len(images), -1)."),
    (lambda images: images.reshape(784, -1).T / 255, "This mixes the pixels of all images: reshape(len(images), -1) keeps them together."),
    (lambda images: flat(images.transpose(0, 2, 1)) / 255, "The images are transposed: keep the order of the axes."),
]  # fmt: skip
MNIST = (
    Part(
        ("scaled",),
        call_scaled,
        module(scaled=lambda images: flat(images) / 255),
        lambda rng: [Case({"images": rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)}) for n in (3, 1)],
        [Mistake(module(scaled=wrong), hint) for wrong, hint in SCALED],
        rtol=1e-6,
    ),
)


def check_mnist(target: Any) -> str:
    """Check the scaling, and the accuracy on the test images."""
    check_parts(target, MNIST)
    data = datasets.load("mnist")
    probe = target.scaled(data.test.images[:2])
    if probe.dtype != np.float32:
        raise Wrong(f"scaled(images) has the dtype {probe.dtype}; expected float32.", hint="Divide by np.float32(255).")
    weights = trained_weights(target, data.train.images, data.train.labels)
    reached = accuracy(target, target.scaled(data.test.images), data.test.labels, weights)
    if reached < 0.92:
        raise too_low(reached, 0.92)
    return f"{reached:.1%} of the test images are right"
