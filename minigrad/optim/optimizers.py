"""Optimizers, with the names and formulas of torch.optim.

The state of an optimizer is one list of arrays per moment, in the order of
`parameters`, so that `state_dict` is a plain dict of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ..tensor import Tensor


class Optimizer:
    """The base class of optimizers. A subclass defines `update`.

    Args:
        parameters: the tensors to optimize.
        lr: the learning rate. Schedules change the attribute of this name.
        weight_decay: each step adds weight_decay * parameter to the gradient.
    """

    moments: tuple[str, ...] = ()  # the names of the lists of arrays that are the state
    decoupled = False  # whether weight decay scales the weights instead of being added to the gradient

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        for name in self.moments:
            setattr(self, name, [np.zeros_like(p.data) for p in self.parameters])

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Update each parameter that has a gradient."""
        self.steps += 1
        for i, p in enumerate(self.parameters):
            if p.grad is not None:
                g = p.grad
                if self.weight_decay and self.decoupled:
                    p.data *= 1 - self.lr * self.weight_decay
                elif self.weight_decay:
                    g = g + self.weight_decay * p.data
                self.update(i, p.data, g)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        """Change `w`, the array of the i-th parameter, in place, for its gradient `g`."""
        raise TypeError(f"{type(self).__name__} has no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The number of steps and copies of the moments, as arrays. Parameters and settings are not included."""
        arrays = {f"{name}.{i}": m.copy(order="K") for name in self.moments for i, m in enumerate(getattr(self, name))}
        return {"steps": np.array(self.steps), **arrays}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore the optimizer state from a `state_dict`.

        Raises:
            KeyError: an array is missing. The state is unchanged in this case.
            ValueError: an array has another shape. The state is unchanged in this case.
        """
        moments = {f"{name}.{i}": m for name in self.moments for i, m in enumerate(getattr(self, name))}
        for key, m in moments.items():
            if state[key].shape != m.shape:
                raise ValueError(f"load_state_dict: {key} has shape {state[key].shape}; expected {m.shape}")
        self.steps = int(state["steps"])
        for key, m in moments.items():
            m[...] = state[key]


class SGD(Optimizer):
    """w <- w - lr v, with v <- momentum v + g, starting from v = 0.

    With `nesterov`, w <- w - lr (g + momentum v), which approximates the
    gradient after the momentum step. Sutskever et al., 2013, in torch's form.

    Raises:
        ValueError: nesterov without momentum.
    """

    moments: tuple[str, ...] = ("velocity",)
    velocity: list[np.ndarray]

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov and not momentum:
            raise ValueError(f"SGD: nesterov with momentum = {momentum}; expected a positive momentum")
        self.momentum, self.nesterov = momentum, nesterov
        if not momentum:
            self.moments = ()
        super().__init__(parameters, lr, weight_decay)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        if self.momentum:
            v = self.velocity[i]
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        w -= self.lr * g


class RMSprop(Optimizer):
    """v <- alpha v + (1-alpha) g^2,  w <- w - lr g / (sqrt(v) + eps). Tieleman and Hinton, 2012, lecture 6.5."""

    moments = ("second",)
    second: list[np.ndarray]

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.alpha, self.eps = alpha, eps
        super().__init__(parameters, lr, weight_decay)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        v = self.second[i]
        v *= self.alpha
        v += (1 - self.alpha) * (g * g)
        root = np.sqrt(v)
        root += self.eps
        w -= self.lr * g / root


class Adam(Optimizer):
    """m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2,  w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1-b1^t) and v^ = v / (1-b2^t) correct the bias of m and v
    towards their initial value 0; t counts the steps of this parameter. Kingma
    and Ba, 2015, algorithm 1. The corrections are Python floats, and therefore
    computed in float64 even if the arrays are float32.
    """

    moments = ("first", "second", "age")
    first: list[np.ndarray]
    second: list[np.ndarray]
    age: list[np.ndarray]

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = betas
        self.eps = eps
        super().__init__(parameters, lr, weight_decay)
        self.age = [np.zeros((), np.int64) for _ in self.parameters]

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        (b1, b2), m, v = self.betas, self.first[i], self.second[i]
        self.age[i] += 1
        t = int(self.age[i])
        m += (1 - b1) * (g - m)
        v *= b2
        v += (1 - b2) * (g * g)
        root = np.sqrt(v)
        root /= math.sqrt(1 - b2**t)
        root += self.eps
        w -= (self.lr / (1 - b1**t)) * m / root


class AdamW(Adam):
    """Adam with decoupled weight decay: first w <- (1 - lr weight_decay) w, then Adam's step.

    Loshchilov and Hutter, 2019, algorithm 2, in torch's form.
    """

    decoupled = True
