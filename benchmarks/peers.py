"""The same training step, from the gather to the update, in minigrad and in the peers that it is compared with.

Each function takes a `Case` and returns `(step, weights)`: `step(indices)`
trains once on the images of those indices, and `weights()` returns the
parameters as NumPy arrays, under the names of weights.safetensors. All start
from the same weights and compute in float32. A peer returns None for a
network that it does not implement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import by_hand as hand
from minigrad import ops
from minigrad.classifier import Classifier
from minigrad.recipes import Model
from minigrad.training import build_optimizer

Weights = dict[str, np.ndarray]
Peer = tuple[Callable[[np.ndarray], Any], Callable[[], Weights]]
SCALE = 1 / 255


@dataclass
class Case:
    """A network, the data, and the initial weights."""

    model: Model
    images: np.ndarray  # (n, 28, 28) uint8
    labels: np.ndarray  # (n,) int64
    start: Weights

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Return the scaled images, (n, 784) float32, computed in the fastest way in NumPy."""
        x = self.images.take(indices, axis=0).reshape(len(indices), -1).astype(np.float32)
        x *= SCALE
        return x

    @property
    def is_simple(self) -> bool:
        """Whether the network has one hidden layer and plain SGD, which is what the peers without layers implement."""
        return self.model.architecture == "mlp" and len(self.model.hidden) == 1 and self.model.optimizer == "sgd"


def minigrad(case: Case) -> Peer:
    net = Classifier(case.model, (28, 28), 10, SCALE)
    net.load_state_dict(case.start)
    optimizer = build_optimizer(net.parameters(), case.model)

    def step(indices: np.ndarray) -> None:
        loss = ops.cross_entropy(net(case.images.take(indices, axis=0)), case.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, net.state_dict


def by_hand(case: Case) -> Peer | None:
    if not case.is_simple:
        return None
    weights = {name: np.array(w, order="F") for name, w in case.start.items()}

    def step(indices: np.ndarray) -> None:
        x = case.batch(indices)
        hand.step(weights, x, case.labels[indices], case.model.learning_rate)

    return step, lambda: {name: w.copy() for name, w in weights.items()}


def floor(case: Case) -> Peer | None:
    """Compute only the gather and the two products with the input, which are part of every step; trains nothing."""
    if case.model.architecture != "mlp":
        return None
    w = np.array(case.start["hidden.0.weight"], order="F")
    g = np.zeros((128, len(w)), np.float32)

    def step(indices: np.ndarray) -> None:
        x = case.batch(indices)
        x @ w.T
        x.T @ g

    return step, dict


def torch(case: Case) -> Peer:
    import torch
    from torch import nn

    model, layers, names = case.model, [], []
    if model.architecture == "cnn":
        for i, (a, b) in enumerate(zip([1, *model.channels], model.channels, strict=False)):
            names.append(f"conv.{i}")
            layers += [nn.Conv2d(a, b, model.kernel_size, padding=model.kernel_size // 2), nn.MaxPool2d(2), nn.ReLU()]
    layers.append(nn.Flatten())
    for name in [*(f"hidden.{i}" for i in range(len(model.hidden))), "output"]:
        names.append(name)
        layers += [nn.Linear(*case.start[f"{name}.weight"].shape[::-1]), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    trained = [layer for layer in net if hasattr(layer, "weight")]
    named = {
        f"{name}.{part}": getattr(layer, part)
        for name, layer in zip(names, trained, strict=True)
        for part in ("weight", "bias")
    }
    with torch.no_grad():
        for name, p in named.items():
            p.copy_(torch.from_numpy(np.ascontiguousarray(case.start[name])))
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[model.optimizer]
    optimizer = kind(net.parameters(), model.learning_rate)
    images, labels = torch.from_numpy(case.images)[:, None], torch.from_numpy(case.labels)

    def step(indices: np.ndarray) -> None:
        rows = torch.from_numpy(indices)
        logits = net(images.index_select(0, rows).float() * SCALE)
        loss = nn.functional.cross_entropy(logits, labels.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, lambda: {name: p.detach().numpy().copy() for name, p in named.items()}


def jax(case: Case) -> Peer:
    import jax
    from jax import numpy as jnp

    model = case.model
    images, labels = jnp.asarray(case.images), jnp.asarray(case.labels)

    def loss(weights: Any, x: Any, expected: Any) -> Any:
        if model.architecture == "cnn":
            for i in range(len(model.channels)):
                w, b = weights[f"conv.{i}.weight"], weights[f"conv.{i}.bias"]
                x = jax.lax.conv(x, w, (1, 1), "SAME") + b[:, None, None]
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
                x = jnp.maximum(x, 0)
        x = x.reshape(len(x), -1)
        for i in range(len(model.hidden)):
            x = jnp.maximum(x @ weights[f"hidden.{i}.weight"].T + weights[f"hidden.{i}.bias"], 0)
        logits = x @ weights["output.weight"].T + weights["output.bias"]
        return -jax.nn.log_softmax(logits)[jnp.arange(len(expected)), expected].mean()

    def update(weights: Any, state: Any, indices: Any) -> Any:
        x = images[indices][:, None].astype(jnp.float32) * SCALE
        g = jax.grad(loss)(weights, x, labels[indices])
        lr = model.learning_rate
        if model.optimizer == "sgd":
            return {k: w - lr * g[k] for k, w in weights.items()}, state
        t, m, v = state
        t = t + 1
        m = {k: 0.9 * m[k] + 0.1 * g[k] for k in g}
        v = {k: 0.999 * v[k] + 0.001 * g[k] ** 2 for k in g}
        size = {k: jnp.sqrt(v[k] / (1 - 0.999**t)) + 1e-8 for k in g}
        return {k: w - lr * m[k] / (1 - 0.9**t) / size[k] for k, w in weights.items()}, (t, m, v)

    compiled = jax.jit(update, donate_argnums=(0, 1))
    weights: Any = {k: jnp.array(w) for k, w in case.start.items()}
    state: Any = None
    if model.optimizer == "adam":
        zeros = [{k: jnp.zeros_like(w) for k, w in weights.items()} for _ in range(2)]
        state = (jnp.zeros((), jnp.float32), *zeros)

    def step(indices: np.ndarray) -> Any:
        nonlocal weights, state
        weights, state = compiled(weights, state, indices)
        return weights["output.bias"].block_until_ready()

    return step, lambda: {k: np.array(w) for k, w in weights.items()}


def mygrad(case: Case) -> Peer | None:
    if not case.is_simple:
        return None
    import mygrad as mg
    from mygrad.nnet.losses import softmax_crossentropy

    mg.turn_memory_guarding_off()  # as mygrad's documentation recommends for speed
    weights = {name: mg.tensor(w.copy(), constant=False) for name, w in case.start.items()}

    def step(indices: np.ndarray) -> None:
        x = case.batch(indices)
        hidden = mg.maximum(mg.matmul(x, weights["hidden.0.weight"].T) + weights["hidden.0.bias"], 0)
        logits = mg.matmul(hidden, weights["output.weight"].T) + weights["output.bias"]
        softmax_crossentropy(logits, case.labels[indices]).backward()
        for w in weights.values():
            w.data -= case.model.learning_rate * np.asarray(w.grad)

    return step, lambda: {name: w.data.copy() for name, w in weights.items()}


def autograd(case: Case) -> Peer | None:
    if not case.is_simple:
        return None
    import autograd
    from autograd import numpy as anp

    weights = {name: w.copy() for name, w in case.start.items()}

    def loss(weights: Any, x: np.ndarray, expected: np.ndarray) -> Any:
        hidden = anp.maximum(anp.dot(x, weights["hidden.0.weight"].T) + weights["hidden.0.bias"], 0)
        logits = anp.dot(hidden, weights["output.weight"].T) + weights["output.bias"]
        z = logits - anp.max(logits, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(z), axis=1)) - z[anp.arange(len(expected)), expected])

    gradient = autograd.grad(loss)

    def step(indices: np.ndarray) -> None:
        x = case.batch(indices)
        for name, g in gradient(weights, x, case.labels[indices]).items():
            weights[name] -= np.float32(case.model.learning_rate) * g.astype(np.float32)

    return step, lambda: {name: w.copy() for name, w in weights.items()}


def tinygrad(case: Case) -> Peer | None:
    if not case.is_simple:
        return None
    from tinygrad import Tensor, TinyJit
    from tinygrad.nn.optim import SGD

    weights = {name: Tensor(np.ascontiguousarray(w)) for name, w in case.start.items()}
    optimizer = SGD(list(weights.values()), lr=case.model.learning_rate)

    @TinyJit
    @Tensor.train()
    def compiled(x: Any, expected: Any) -> Any:
        hidden = x.linear(weights["hidden.0.weight"].T, weights["hidden.0.bias"]).relu()
        logits = hidden.linear(weights["output.weight"].T, weights["output.bias"])
        optimizer.zero_grad()
        out = logits.sparse_categorical_crossentropy(expected).backward()
        return out.realize(*optimizer.schedule_step())

    def step(indices: np.ndarray) -> None:
        x = case.batch(indices)
        compiled(Tensor(x), Tensor(case.labels[indices])).numpy()

    return step, lambda: {name: w.numpy() for name, w in weights.items()}


PEERS: dict[str, Callable[[Case], Peer | None]] = {
    "minigrad": minigrad,
    "hand-written NumPy": by_hand,
    "torch eager": torch,
    "JAX jit": jax,
    "mygrad": mygrad,
    "HIPS autograd": autograd,
    "tinygrad": tinygrad,
    "floor": floor,
}
