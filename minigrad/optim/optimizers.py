"""Optimisers, in torch.optim's formulas and under its names.

Each keeps its state in lists beside `parameters`, so that `state_dict` is a
plain dict of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ..tensor import Tensor


class Optimizer:
    """Moves parameters against their gradients.

    Args:
        parameters: the tensors to move.
        lr: the learning rate, read anew at each step.
        weight_decay: added to the gradient as weight_decay * parameter.
    """

    moments: tuple[str, ...] = ()  # names of the per-parameter arrays that are state
    decoupled = False  # whether weight decay shrinks the weights instead of entering the gradient

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        for name in self.moments:
            setattr(self, name, [np.zeros_like(p.data) for p in self.parameters])

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move each parameter that has a gradient."""
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
        """Change `w`, the i-th parameter's array, in place."""
        raise TypeError(f"{type(self).__name__} has no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything but the parameters and the settings, as arrays."""
        arrays = {f"{name}.{i}": m.copy(order="K") for name in self.moments for i, m in enumerate(getattr(self, name))}
        return {"steps": np.array(self.steps), **arrays}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            KeyError: an array is missing; nothing was taken up then.
            ValueError: one has another shape; likewise.
        """
        moments = {f"{name}.{i}": m for name in self.moments for i, m in enumerate(getattr(self, name))}
        for key, m in moments.items():
            if state[key].shape != m.shape:
                raise ValueError(f"load_state_dict: {key} has shape {state[key].shape}; expected {m.shape}")
        self.steps = int(state["steps"])
        for key, m in moments.items():
            m[...] = state[key]


class SGD(Optimizer):
    """w <- w - lr v, with v <- momentum v + g (v = g at the first step and without momentum).

    With `nesterov`, w <- w - lr (g + momentum v): the gradient as if the
    momentum had been followed already. Sutskever et al., 2013, in torch's form.

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

    m^ = m / (1-b1^t) and v^ = v / (1-b2^t) undo the bias towards the zeros
    that m and v start from; t counts the steps of this parameter. Kingma and
    Ba, 2015, algorithm 1. The corrections are Python floats, so they keep
    float64 beside float32 arrays.
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
    """Adam whose weight decay shrinks the weights themselves: w <- (1 - lr weight_decay) w first.

    Loshchilov and Hutter, 2019, algorithm 2, as torch has it.
    """

    decoupled = True
