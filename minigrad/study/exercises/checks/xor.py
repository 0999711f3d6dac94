"""The check of 11 xor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .... import first
from ..outcome import Wrong
from . import network
from .core import Case, Mistake, Outputs, Part, check_parts
from .network import Arrays, Node, Weights, identity, module, nodes, numbers, random_weights, tanh, two_layers, value_of

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
    " And predict must use the operations above, such as tanh and matmul: backward cannot follow NumPy functions."
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
