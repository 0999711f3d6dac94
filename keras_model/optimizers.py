"""The recipe's optimisers in torch's formulas.

Keras's own differ by definition: its momentum holds the learning rate, its
weight decay is always decoupled, its RMSprop adds epsilon under the root and
its Adam before the bias correction, its CosineDecay is taken in float32. One
recipe must mean one training, so these short subclasses override the update
alone, and one schedule serves for all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from minigrad.recipes import ONE_CYCLE, Model


def _widest() -> str:
    """float64, but float32 on JAX that was not told to have more, and would warn at each cast."""
    if keras.backend.backend() == "jax":
        import jax

        return "float64" if jax.config.read("jax_enable_x64") else "float32"
    return "float64"


class _TorchDecay:
    """Weight decay as torch has it: in the gradient, or with `decoupled` on the weights."""

    decoupled = False

    def __init__(self, *args: Any, decay: float = 0.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.decay = decay

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}  # type: ignore[misc]

    def _decayed(self, gradient: Any, variable: Any, rate: Any) -> Any:
        if self.decay and self.decoupled:
            variable.assign(variable * (1 - rate * self.decay))
        elif self.decay:
            return gradient + self.decay * variable
        return gradient


@keras.saving.register_keras_serializable("keras_model")
class SGD(_TorchDecay, keras.optimizers.SGD):
    """v <- momentum v + g,  w <- w - lr v."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        if self.momentum:
            v = self.momentums[self._get_variable_index(variable)]
            v.assign(self.momentum * v + g)
            g = v
        variable.assign_sub(rate * g)


@keras.saving.register_keras_serializable("keras_model")
class RMSprop(_TorchDecay, keras.optimizers.RMSprop):
    """v <- rho v + (1-rho) g^2,  w <- w - lr g / (sqrt(v) + eps)."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        v = self._velocities[self._get_variable_index(variable)]
        v.assign(self.rho * v + (1 - self.rho) * ops.square(g))
        variable.assign_sub(rate * g / (ops.sqrt(v) + self.epsilon))


@keras.saving.register_keras_serializable("keras_model")
class Adam(_TorchDecay, keras.optimizers.Adam):
    """w <- w - lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps)."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        m.assign(m + (1 - self.beta_1) * (g - m))
        v.assign(self.beta_2 * v + (1 - self.beta_2) * ops.square(g))
        # In float64 where there is one: 1 - 0.999^t would lose four digits at the first steps.
        # b^t as e^(t ln b): ops.power takes a Python number through float32 on some backends.
        wide = _widest()
        t = ops.cast(self.iterations + 1, wide)
        first = 1 - ops.exp(t * math.log(self.beta_1))
        second = ops.sqrt(1 - ops.exp(t * math.log(self.beta_2)))
        root = ops.sqrt(v) / ops.cast(second, variable.dtype) + self.epsilon
        variable.assign_sub(ops.cast(ops.cast(rate, wide) / first, variable.dtype) * m / root)


@keras.saving.register_keras_serializable("keras_model")
class AdamW(Adam):
    """Adam, with w <- (1 - lr weight_decay) w first."""

    decoupled = True


@keras.saving.register_keras_serializable("keras_model")
class HalfCosines(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine from each point, (step, learning rate), to the next; steps are counted from 0.

    Worked out beforehand, since Keras's own cosine keeps float64 on TensorFlow alone.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = points
        t = np.arange(points[-1][0] + 2)
        self.rates = np.full(len(t), np.nan)
        for (begin, high), (end, low) in reversed(list(pairwise(points))):
            here = low + (high - low) * (1 + np.cos(np.pi * (t - begin) / (end - begin))) / 2
            self.rates = np.where((t <= end) | np.isnan(self.rates), here, self.rates)

    def __call__(self, step: Any) -> Any:
        rates = self.rates.astype(keras.config.floatx())  # as Keras keeps a constant rate
        return ops.take(rates, ops.minimum(step, len(rates) - 1), axis=0)

    def get_config(self) -> dict[str, Any]:
        return {"points": self.points}


def build_schedule(model: Model, total_steps: int) -> Any:
    """The learning rate that the recipe names: a number, or a function of the step."""
    rate, steps = model.learning_rate, max(total_steps, 2)
    if model.schedule == "cosine":
        return HalfCosines([(0, rate), (steps, 0.0)])
    if model.schedule == "one_cycle":
        start = rate / ONE_CYCLE["div_factor"]
        top = (ONE_CYCLE["pct_start"] * steps - 1, rate)
        return HalfCosines([(0, start), top, (steps - 1, start / ONE_CYCLE["final_div_factor"])])
    return rate


def build_optimizer(model: Model, total_steps: int, **options: Any) -> keras.optimizers.Optimizer:
    """The optimiser that the recipe names, with its schedule; `options` are Keras's, such as `use_ema`."""
    rate, options = build_schedule(model, total_steps), {"decay": model.weight_decay, **options}
    if model.optimizer == "sgd":
        return SGD(rate, momentum=model.momentum, **options)
    if model.optimizer == "rmsprop":
        return RMSprop(rate, rho=0.99, epsilon=1e-8, **options)
    return {"adam": Adam, "adamw": AdamW}[model.optimizer](rate, epsilon=1e-8, **options)
