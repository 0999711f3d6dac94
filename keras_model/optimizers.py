"""The recipe's optimisers in torch's formulas.

Keras's own differ by definition: its momentum holds the learning rate, its
weight decay is always decoupled, its Adam adds epsilon before the bias
correction. One recipe must mean one training, so these short subclasses
override the update alone.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from minigrad.recipes import Model


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
class Adam(_TorchDecay, keras.optimizers.Adam):
    """w <- w - lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps)."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, g = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        g = self._decayed(g, variable, rate)
        i = self._get_variable_index(variable)
        m, v = self._momentums[i], self._velocities[i]
        m.assign(m + (1 - self.beta_1) * (g - m))
        v.assign(self.beta_2 * v + (1 - self.beta_2) * ops.square(g))
        # In float64 (JAX falls back to float32): 1 - 0.999^t would lose four digits at the first steps.
        # b^t as e^(t ln b): ops.power takes a Python number through float32 on some backends.
        t = ops.cast(self.iterations + 1, "float64")
        first = 1 - ops.exp(t * math.log(self.beta_1))
        second = ops.sqrt(1 - ops.exp(t * math.log(self.beta_2)))
        root = ops.sqrt(v) / ops.cast(second, variable.dtype) + self.epsilon
        variable.assign_sub(ops.cast(ops.cast(rate, "float64") / first, variable.dtype) * m / root)


@keras.saving.register_keras_serializable("keras_model")
class AdamW(Adam):
    """Adam, with w <- (1 - lr weight_decay) w first."""

    decoupled = True


def build_optimizer(model: Model, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimiser that the recipe names, with its schedule."""
    rate: Any = model.learning_rate
    if model.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, max(total_steps, 1))
    decay = model.weight_decay
    if model.optimizer == "sgd":
        return SGD(rate, momentum=model.momentum, decay=decay)
    return {"adam": Adam, "adamw": AdamW}[model.optimizer](rate, epsilon=1e-8, decay=decay)
