"""JAX: pure functions over dicts of arrays, compiled by jax.jit."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad import recipes
from minigrad.datasets import MAX_SHIFT, Dataset
from minigrad.recipes import Model, Recipe

from ..timing.synchronized import SynchronizedObserver
from . import base

Arrays = dict[str, Any]  # under the names of weights.safetensors
LAYOUT = ("NHWC", "OIHW", "NHWC")  # of a convolution: weights as in torch, images as is fastest in XLA


class State(NamedTuple):
    """Everything that a step changes.

    Attributes:
        weights: parameters by name.
        running: running statistics of batch norm.
        moments: the optimizer's moments of each weight.
        steps: number of steps done.
        loss: sum over the images seen.
        correct: number of correct predictions on them.
    """

    weights: Arrays
    running: Arrays
    moments: dict[str, tuple[Any, ...]]
    steps: Any
    loss: Any
    correct: Any


class Contender(base.Contender):
    title = "JAX"
    trains_by = "jax.jit, one step per call"
    open_description = "one epoch per call, in a jitted lax.scan"
    program = "programs/with_jax"
    needs = ("jax",)
    install = "pip install '.[jax]'"
    environment = {**base.Contender.environment, "JAX_ENABLE_X64": "1"}  # without it, JAX turns float64 into float32

    def load(self) -> None:
        import jax

        import minigrad.training  # noqa: F401

        # Starts the backend, and imports what the first compilation and the first key need.
        jax.block_until_ready((jax.jit(jax.numpy.negative)(0), jax.random.key(0)))

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import jax
        from jax import numpy as jnp

        model, image = recipe.model, recipes.sizes(recipe.model, data.input_shape, data.classes).image
        self.recipe, self.dtype = recipe, np.dtype(dtype)
        self.network = partial(network, model, image, data.input_scale, self.dtype)
        self.logits = jax.jit(lambda weights, running, images: self.network(weights, running, images)[0])
        arrays = {name: jnp.array(w, dtype) for name, w in weights.items()}
        running = {name: a for name, a in arrays.items() if ".running_" in name}
        trained = {name: a for name, a in arrays.items() if name not in running}
        moment_count = {"sgd": 1 if model.momentum else 0, "rmsprop": 1}.get(model.optimizer, 2)
        moments = {name: tuple(jnp.zeros_like(w) for _ in range(moment_count)) for name, w in trained.items()}
        self.training_state = State(trained, running, moments, jnp.int32(0), jnp.zeros((), dtype), jnp.int32(0))

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        import jax

        train = jax.jit(partial(step, self.recipe.model, self.network), donate_argnums=2)
        read_gradients = jax.jit(partial(loss_and_gradients, self.network))
        data, key = jax.device_put(tuple(batches.train)), jax.random.key(batches.seed)
        rates, gradients = iter(self._rates(batches.steps)), {}
        observer = SynchronizedObserver(
            observer, batches.steps // batches.epochs, lambda: jax.block_until_ready(self.training_state)
        )
        for epoch in range(batches.epochs):
            shifts = batches.shifts(epoch)
            for order in batches.order(epoch):
                moves = None if shifts is None else shifts[order]
                if observer.wants_gradients():
                    (_, gradients), _ = read_gradients(data, key, self.training_state, order, moves)
                self.training_state, value = train(data, key, self.training_state, order, moves, next(rates))
                observer.after_steps(1, partial(float, value), self.state, partial(_copies, gradients))

    def fit_open(self, batches: base.Batches, observer: base.Observer) -> None:
        import jax

        def train(data: Any, key: Any, state: State, batches: Any, last: Any) -> tuple[State, Any]:
            """Train one epoch: stacked batches of one size, and a smaller last batch or None."""
            one_step = partial(step, self.recipe.model, self.network, data, key)
            state, losses = jax.lax.scan(lambda state, batch: one_step(state, *batch), state, batches)
            return (state, losses[-1]) if last is None else one_step(state, *last)

        compiled = jax.jit(train, donate_argnums=2)
        data, key = jax.device_put(tuple(batches.train)), jax.random.key(batches.seed)
        rates = iter(self._rates(batches.steps))
        for epoch in range(batches.epochs):
            orders, shifts = batches.order(epoch), batches.shifts(epoch)
            parts = [(order, None if shifts is None else shifts[order], next(rates)) for order in orders]
            last = parts.pop() if len(orders[-1]) < len(orders[0]) else None
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
            self.training_state, value = jax.block_until_ready(compiled(data, key, self.training_state, stacked, last))
            observer.after_steps(len(orders), partial(float, value), self.state, dict)

    def predict(self, images: np.ndarray) -> np.ndarray:
        size, (weights, running, *_) = base.PREDICT_BATCH, self.training_state
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([self.logits(weights, running, part) for part in parts])

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return product(a, b)

    def library(self) -> base.Library:
        return library()

    def describe(self) -> dict[str, Any]:
        parameters = sum(w.size for w in self.training_state.weights.values())
        return {"version": f"JAX {importlib.metadata.version('jax')}", "parameters": parameters}

    def state(self) -> base.Weights:
        return _copies(self.training_state.weights | self.training_state.running)

    def _rates(self, steps: int) -> np.ndarray:
        """Return the learning rate of each step, by minigrad's schedule."""
        from minigrad.training import learning_rates

        return np.array(learning_rates(self.recipe.model, steps), self.dtype)


def product(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    """Return a function that multiplies two matrices; see `Contender.product`."""
    import jax

    x, y = jax.device_put((a, b))
    compiled = jax.jit(jax.numpy.matmul).lower(x, y).compile()
    return lambda: compiled(x, y).block_until_ready()


def library() -> base.Library:
    """Return the compiler that multiplies matrices; see `Contender.library`."""
    return {"library": f"XLA in jaxlib {importlib.metadata.version('jaxlib')}", "kernel": None, "threads": None}


def _copies(arrays: Arrays) -> base.Weights:
    return {name: np.array(a) for name, a in arrays.items()}


def step(
    model: Model, network: Any, data: Any, key: Any, state: State, order: Any, shifts: Any, rate: Any
) -> tuple[State, Any]:
    """Train one step on the images of the indices `order`; return the new state and the loss."""
    (value, gradients), (running, correct) = loss_and_gradients(network, data, key, state, order, shifts)
    weights, moments = update(model, state, gradients, rate)
    tallies = state.steps + 1, state.loss + value * len(order), state.correct + correct
    return State(weights, running, moments, *tallies), value


def loss_and_gradients(network: Any, data: Any, key: Any, state: State, order: Any, shifts: Any) -> Any:
    """Return (loss, gradients), and (running statistics, number of correct predictions), for the indices `order`."""
    import jax

    batch, dropout_key = gather(data, order, shifts), jax.random.fold_in(key, state.steps)
    loss_and_grad = jax.value_and_grad(partial(loss, network), has_aux=True)
    (value, auxiliary), gradients = loss_and_grad(state.weights, state.running, *batch, dropout_key)
    return (value, gradients), auxiliary


def gather(data: Any, order: Any, shifts: Any) -> tuple[Any, Any]:
    """Return the images of the indices `order`, each shifted down and right by its row of `shifts`, and their labels."""
    import jax
    from jax import numpy as jnp

    images, labels = data[0][order], data[1][order]
    if shifts is not None:
        m, unpadded = MAX_SHIFT, [(0, 0)] * (images.ndim - 3)
        padded = jnp.pad(images, [(0, 0), (m, m), (m, m), *unpadded])
        starts = jnp.pad(m - shifts, [(0, 0), (0, len(unpadded))])
        images = jax.vmap(lambda image, start: jax.lax.dynamic_slice(image, start, images.shape[1:]))(padded, starts)
    return images, labels


def loss(network: Any, weights: Arrays, running: Arrays, images: Any, labels: Any, key: Any) -> tuple[Any, Any]:
    """Return the cross-entropy in training, and (running statistics, number of correct predictions)."""
    import jax

    logits, running = network(weights, running, images, key)
    picked = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
    return -picked.mean(), (running, (logits.argmax(1) == labels).sum(dtype="int32"))


def network(
    model: Model,
    image: tuple[int, int, int],
    scale: float,
    dtype: Any,
    weights: Arrays,
    running: Arrays,
    images: Any,
    key: Any = None,
) -> tuple[Any, Arrays]:
    """Return the logits of raw images, and the running statistics. A `key` means training; it draws the dropout masks."""
    import jax
    from jax import numpy as jnp

    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[model.activation]
    updated = dict(running)

    def normalized(x: Any, name: str) -> Any:
        if not model.batch_norm:
            return x + weights[f"{name}.bias"]
        name = name.replace(".", "_norm.")
        mean, variance = running[f"{name}.running_mean"], running[f"{name}.running_var"]
        if key is not None:
            axes, n = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
            old, mean = (mean, variance), x.mean(axes)
            variance = jnp.square(x - mean).mean(axes)
            for part, average, new in zip(("mean", "var"), old, (mean, variance * (n / (n - 1))), strict=True):
                updated[f"{name}.running_{part}"] = average + 0.1 * (new - average)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = images.reshape(len(images), -1).astype(dtype) * scale
    if model.architecture == "cnn":
        channels, height, width = image
        x = x.reshape(-1, height, width, channels)
        for i in range(len(model.channels)):
            x = jax.lax.conv_general_dilated(x, weights[f"conv.{i}.weight"], (1, 1), "SAME", dimension_numbers=LAYOUT)
            x = activation(pooled(normalized(x, f"conv.{i}")))
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    for i in range(len(model.hidden)):
        x = activation(normalized(x @ weights[f"hidden.{i}.weight"].T, f"hidden.{i}"))
        if key is not None and model.dropout:
            keep = 1 - model.dropout
            mask = jax.random.bernoulli(
                jax.random.fold_in(key, i), np.float32(keep), x.shape
            )  # a Python float would draw float64
            x = jnp.where(mask, x / keep, 0)
    return x @ weights["output.weight"].T + weights["output.bias"], updated


def pooled(x: Any) -> Any:
    """Max-pool 2 x 2 pixels; of equal values the first counts. The gradient of `reduce_window` is slower."""
    from jax import numpy as jnp

    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
    x = jnp.where(x[:, :, :, :, 0] >= x[:, :, :, :, 1], x[:, :, :, :, 0], x[:, :, :, :, 1])
    return jnp.where(x[:, :, 0] >= x[:, :, 1], x[:, :, 0], x[:, :, 1])


def update(model: Model, state: State, gradients: Arrays, rate: Any) -> tuple[Arrays, dict[str, tuple[Any, ...]]]:
    """Return weights and moments after a step, by torch's formulas."""
    weights, moments, t = {}, {}, state.steps + 1
    for name, w in state.weights.items():
        g = gradients[name]
        if model.optimizer == "adamw":
            w = w * (1 - rate * model.weight_decay)
        else:
            g = g + model.weight_decay * w
        direction, moments[name] = RULES[model.optimizer](model, g, state.moments[name], t)
        weights[name] = w - rate * direction
    return weights, moments


def sgd(model: Model, g: Any, moments: Any, t: Any) -> tuple[Any, tuple[Any, ...]]:
    if not model.momentum:
        return g, ()
    v = model.momentum * moments[0] + g
    return v, (v,)


def rmsprop(model: Model, g: Any, moments: Any, t: Any) -> tuple[Any, tuple[Any, ...]]:
    v = 0.99 * moments[0] + 0.01 * g * g
    return g / (v**0.5 + 1e-8), (v,)


def adam(model: Model, g: Any, moments: Any, t: Any) -> tuple[Any, tuple[Any, ...]]:
    m, v = moments[0] + 0.1 * (g - moments[0]), 0.999 * moments[1] + 0.001 * g * g
    # Computed in float64 even if the weights are float32, in which 1 - 0.999^t would lose four digits in the first steps.
    first, second = ((1 - beta**t).astype(g.dtype) for beta in (0.9, 0.999))
    return m / first / ((v / second) ** 0.5 + 1e-8), (m, v)


RULES = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adam}
