"""JAX: pure functions over dicts of arrays, compiled by jax.jit."""

from __future__ import annotations

import importlib.metadata
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad import recipes
from minigrad.datasets import MAX_SHIFT, Dataset
from minigrad.recipes import Model, Recipe

from ..queued import Queued
from . import base

Arrays = dict[str, Any]  # under the names of weights.safetensors
LAYOUT = ("NHWC", "OIHW", "NHWC")  # of a convolution: the weights as torch has them, the rest as XLA likes it best


class State(NamedTuple):
    """All that a step changes."""

    weights: Arrays
    running: Arrays  # batch norm's statistics
    moments: dict[str, tuple[Any, ...]]  # the optimiser's, of each weight
    steps: Any
    loss: Any  # summed over the images seen, as are the right answers
    correct: Any


class Contender(base.Contender):
    title = "JAX"
    trains_by = "jax.jit, a step at a time"
    open_by = "an epoch in one jitted lax.scan"
    needs = ("jax",)
    install = "pip install '.[jax]'"
    environment = {**base.Contender.environment, "JAX_ENABLE_X64": "1"}  # float64 stays where it is asked for
    code = tuple(f"compare.contenders.jax:{name}" for name in ("step", "slopes", "update"))
    user_code = (
        "compare.contenders.jax:State",
        "compare.contenders.jax:Contender.build",
        "compare.contenders.jax:Contender.fit",
        "compare.contenders.jax:Contender._rates",
        "compare.contenders.jax:step",
        "compare.contenders.jax:slopes",
        "compare.contenders.jax:gather",
        "compare.contenders.jax:loss",
        "compare.contenders.jax:network",
        "compare.contenders.jax:update",
        "compare.contenders.jax:sgd",
    )

    def load(self) -> None:
        import jax

        jax.devices()  # starts the backend

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
        kept = {"sgd": 1 if model.momentum else 0, "rmsprop": 1}.get(model.optimizer, 2)
        moments = {name: tuple(jnp.zeros_like(w) for _ in range(kept)) for name, w in trained.items()}
        self.held = State(trained, running, moments, jnp.int32(0), jnp.zeros((), dtype), jnp.int32(0))

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        import jax

        train = jax.jit(partial(step, self.recipe.model, self.network), donate_argnums=2)
        look = jax.jit(partial(slopes, self.network))
        data, key = jax.device_put(tuple(batches.train)), jax.random.key(batches.seed)
        rates, gradients = iter(self._rates(batches.steps)), {}
        watch = Queued(watch, batches.steps // batches.epochs, lambda: jax.block_until_ready(self.held))
        for epoch in range(batches.epochs):
            shifts = batches.shifts(epoch)
            for order in batches.order(epoch):
                moves = None if shifts is None else shifts[order]
                if watch.wants_gradients():
                    (_, gradients), _ = look(data, key, self.held, order, moves)
                self.held, value = train(data, key, self.held, order, moves, next(rates))
                watch.after(1, partial(float, value), self.state, partial(_copies, gradients))

    def fit_open(self, batches: base.Batches, watch: base.Watch) -> None:
        import jax

        def train(data: Any, key: Any, state: State, batches: Any, last: Any) -> tuple[State, Any]:
            """An epoch: batches of one size, stacked, and a smaller one or None."""
            one = partial(step, self.recipe.model, self.network, data, key)
            state, losses = jax.lax.scan(lambda state, batch: one(state, *batch), state, batches)
            return (state, losses[-1]) if last is None else one(state, *last)

        compiled = jax.jit(train, donate_argnums=2)
        data, key = jax.device_put(tuple(batches.train)), jax.random.key(batches.seed)
        rates = iter(self._rates(batches.steps))
        for epoch in range(batches.epochs):
            orders, shifts = batches.order(epoch), batches.shifts(epoch)
            parts = [(order, None if shifts is None else shifts[order], next(rates)) for order in orders]
            last = parts.pop() if len(orders[-1]) < len(orders[0]) else None
            stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
            self.held, value = jax.block_until_ready(compiled(data, key, self.held, stacked, last))
            watch.after(len(orders), partial(float, value), self.state, dict)

    def predict(self, images: np.ndarray) -> np.ndarray:
        size, (weights, running, *_) = base.PREDICTED_AT_ONCE, self.held
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([self.logits(weights, running, part) for part in parts])

    def describe(self) -> dict[str, Any]:
        parameters = sum(w.size for w in self.held.weights.values())
        return {"version": f"JAX {importlib.metadata.version('jax')}", "parameters": parameters}

    def state(self) -> base.Weights:
        return _copies(self.held.weights | self.held.running)

    def _rates(self, steps: int) -> np.ndarray:
        """The learning rate of each step, by the package's own schedule."""
        from minigrad.training import Schedule, build_optimizer

        optimizer, rates = build_optimizer([], self.recipe.model), []
        schedule = Schedule(self.recipe.model.schedule, optimizer, steps)
        for _ in range(steps):
            rates.append(optimizer.lr)
            optimizer.step()
            schedule.after_step()
        return np.array(rates, self.dtype)


def _copies(arrays: Arrays) -> base.Weights:
    return {name: np.array(a) for name, a in arrays.items()}


def step(
    model: Model, network: Any, data: Any, key: Any, state: State, order: Any, shifts: Any, rate: Any
) -> tuple[State, Any]:
    """Train once on the images of these indices: the state after it, and its loss."""
    (value, gradients), (running, correct) = slopes(network, data, key, state, order, shifts)
    weights, moments = update(model, state, gradients, rate)
    tallies = state.steps + 1, state.loss + value * len(order), state.correct + correct
    return State(weights, running, moments, *tallies), value


def slopes(network: Any, data: Any, key: Any, state: State, order: Any, shifts: Any) -> Any:
    """(loss, its gradients), and (batch norm's statistics, how many are right) on the images of these indices."""
    import jax

    batch, dropped = gather(data, order, shifts), jax.random.fold_in(key, state.steps)
    graded = jax.value_and_grad(partial(loss, network), has_aux=True)
    (value, seen), gradients = graded(state.weights, state.running, *batch, dropped)
    return (value, gradients), seen


def gather(data: Any, order: Any, shifts: Any) -> tuple[Any, Any]:
    """The images of these indices, each moved down and right by its row of `shifts`, zeros moving in; and their labels."""
    import jax
    from jax import numpy as jnp

    images, labels = data[0][order], data[1][order]
    if shifts is not None:
        m, still = MAX_SHIFT, [(0, 0)] * (images.ndim - 3)
        padded = jnp.pad(images, [(0, 0), (m, m), (m, m), *still])
        starts = jnp.pad(m - shifts, [(0, 0), (0, len(still))])
        images = jax.vmap(lambda image, start: jax.lax.dynamic_slice(image, start, images.shape[1:]))(padded, starts)
    return images, labels


def loss(network: Any, weights: Arrays, running: Arrays, images: Any, labels: Any, key: Any) -> tuple[Any, Any]:
    """Cross-entropy in training, and with it batch norm's statistics and how many are right."""
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
    """Logits of raw images, and batch norm's statistics after them; with a key, which draws dropout, as in training."""
    import jax
    from jax import numpy as jnp

    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[model.activation]
    moved = dict(running)

    def normalised(x: Any, name: str) -> Any:
        if not model.batch_norm:
            return x + weights[f"{name}.bias"]
        name = name.replace(".", "_norm.")
        mean, variance = running[f"{name}.running_mean"], running[f"{name}.running_var"]
        if key is not None:
            axes, n = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
            old, mean = (mean, variance), x.mean(axes)
            variance = jnp.square(x - mean).mean(axes)
            for part, was, now in zip(("mean", "var"), old, (mean, variance * (n / (n - 1))), strict=True):
                moved[f"{name}.running_{part}"] = was + 0.1 * (now - was)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = images.reshape(len(images), -1).astype(dtype) * scale
    if model.architecture == "cnn":
        channels, height, width = image
        x = x.reshape(-1, height, width, channels)
        for i in range(len(model.channels)):
            x = jax.lax.conv_general_dilated(x, weights[f"conv.{i}.weight"], (1, 1), "SAME", dimension_numbers=LAYOUT)
            x = activation(pooled(normalised(x, f"conv.{i}")))
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    for i in range(len(model.hidden)):
        x = activation(normalised(x @ weights[f"hidden.{i}.weight"].T, f"hidden.{i}"))
        if key is not None and model.dropout:
            keep = 1 - model.dropout
            kept = jax.random.bernoulli(jax.random.fold_in(key, i), np.float32(keep), x.shape)  # or it draws float64
            x = jnp.where(kept, x / keep, 0)
    return x @ weights["output.weight"].T + weights["output.bias"], moved


def pooled(x: Any) -> Any:
    """The largest of each 2 x 2 pixels, and of equal ones the first; the gradient of reduce_window takes longer."""
    from jax import numpy as jnp

    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
    x = jnp.where(x[:, :, :, :, 0] >= x[:, :, :, :, 1], x[:, :, :, :, 0], x[:, :, :, :, 1])
    return jnp.where(x[:, :, 0] >= x[:, :, 1], x[:, :, 0], x[:, :, 1])


def update(model: Model, state: State, gradients: Arrays, rate: Any) -> tuple[Arrays, dict[str, tuple[Any, ...]]]:
    """Weights and moments after a step, in torch's formulas."""
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
    # In float64 beside float32 weights too: 1 - 0.999^t would lose four digits at the first steps.
    first, second = ((1 - beta**t).astype(g.dtype) for beta in (0.9, 0.999))
    return m / first / ((v / second) ** 0.5 + 1e-8), (m, v)


RULES = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adam}
