"""The optimizers and learning rate schedules of a recipe, with torch's formulas.

Keras's own optimizers use other formulas: the momentum includes the learning
rate, weight decay is always decoupled, RMSprop adds epsilon under the root,
Adam adds epsilon before the bias correction, and CosineDecay is computed in
float32. Since a recipe must give the same training in all packages, the
subclasses here override the update rule, and nothing else.
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


def _widest_dtype() -> str:
    """Return float64, or float32 on JAX without 64-bit mode, where each cast to float64 would warn."""
    if keras.backend.backend() == "jax":
        import jax

        return str(jax.numpy.result_type(float))
    return "float64"


class _TorchDecay:
    """Torch's weight decay: added to the gradient, or applied to the weights if `decoupled`."""

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
    """Gradient descent with momentum: v <- momentum v + g,  w <- w - lr v.

    The formula is that of `torch.optim.SGD`. The arguments are those of
    `keras.optimizers.SGD`, and `decay`, the weight decay added to the gradient (default 0).
    """

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
    """RMSprop: v <- rho v + (1-rho) g^2,  w <- w - lr g / (sqrt(v) + eps).

    The formula is that of `torch.optim.RMSprop`. The arguments are those of
    `keras.optimizers.RMSprop`, and `decay`, the weight decay added to the gradient (default 0).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        v = self._velocities[self._get_variable_index(variable)]
        v.assign(self.rho * v + (1 - self.rho) * ops.square(g))
        variable.assign_sub(rate * g / (ops.sqrt(v) + self.epsilon))


@keras.saving.register_keras_serializable("keras_model")
class Adam(_TorchDecay, keras.optimizers.Adam):
    """Adam: w <- w - lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps).

    The formula is that of `torch.optim.Adam` (Kingma and Ba, 2015, algorithm
    1). The arguments are those of `keras.optimizers.Adam`, and `decay`, the
    weight decay added to the gradient (default 0).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        m.assign(m + (1 - self.beta_1) * (g - m))
        v.assign(self.beta_2 * v + (1 - self.beta_2) * ops.square(g))
        # In float64 where available: in float32, 1 - 0.999^t would lose four digits in the first steps.
        # b^t as e^(t ln b): ops.power converts a Python number to float32 on some backends.
        wide = _widest_dtype()
        t = ops.cast(self.iterations + 1, wide)
        correction_1 = 1 - ops.exp(t * math.log(self.beta_1))
        correction_2 = ops.sqrt(1 - ops.exp(t * math.log(self.beta_2)))
        denominator = ops.sqrt(v) / ops.cast(correction_2, variable.dtype) + self.epsilon
        variable.assign_sub(ops.cast(ops.cast(rate, wide) / correction_1, variable.dtype) * m / denominator)


@keras.saving.register_keras_serializable("keras_model")
class AdamW(Adam):
    """Adam with decoupled weight decay: w <- (1 - lr decay) w before each step (Loshchilov and Hutter, 2019)."""

    decoupled = True


@keras.saving.register_keras_serializable("keras_model")
class HalfCosines(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that follows half a cosine from each point to the next.

    The rates of all steps are computed in advance in float64, which
    `keras.optimizers.schedules.CosineDecay` keeps on TensorFlow only.

    Args:
        points: pairs (step, learning rate) with increasing steps, counted from 0. After the last point the
            rate stays constant.
    """

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = points
        t = np.arange(points[-1][0] + 2)
        self.rates = np.full(len(t), np.nan)
        for (begin, high), (end, low) in reversed(list(pairwise(points))):
            rates = low + (high - low) * (1 + np.cos(np.pi * (t - begin) / (end - begin))) / 2
            self.rates = np.where((t <= end) | np.isnan(self.rates), rates, self.rates)

    def __call__(self, step: Any) -> Any:
        rates = self.rates.astype(keras.config.floatx())  # the dtype of a constant rate in Keras
        return ops.take(rates, ops.minimum(step, len(rates) - 1), axis=0)

    def get_config(self) -> dict[str, Any]:
        return {"points": self.points}


def build_schedule(model: Model, total_steps: int) -> Any:
    """Return the learning rate of a recipe: a number, or a schedule over the steps.

    Args:
        model: the recipe's section `model`. For the schedule `reduce_on_plateau`, the learning rate is a number, since a
            callback reduces it (see `callbacks.build_callbacks`).
        total_steps: the number of optimizer steps in the whole training.
    """
    rate, steps = model.learning_rate, max(total_steps, 2)
    if model.schedule == "cosine":
        return HalfCosines([(0, rate), (steps, 0.0)])
    if model.schedule == "one_cycle":
        start = rate / ONE_CYCLE["div_factor"]
        top = (ONE_CYCLE["pct_start"] * steps - 1, rate)
        return HalfCosines([(0, start), top, (steps - 1, start / ONE_CYCLE["final_div_factor"])])
    return rate


def build_optimizer(model: Model, total_steps: int, **options: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer of a recipe with its learning rate schedule.

    Args:
        model: the recipe's section `model`.
        total_steps: the number of optimizer steps in the whole training, for the schedule.
        **options: further arguments of the Keras optimizer, such as `use_ema`.
    """
    rate, options = build_schedule(model, total_steps), {"decay": model.weight_decay, **options}
    if model.optimizer == "sgd":
        return SGD(rate, momentum=model.momentum, **options)
    if model.optimizer == "rmsprop":
        return RMSprop(rate, rho=0.99, epsilon=1e-8, **options)
    return {"adam": Adam, "adamw": AdamW}[model.optimizer](rate, epsilon=1e-8, **options)
