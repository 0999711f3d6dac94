"""Optimizers, with the names and formulas of torch.optim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .optimizer import Optimizer, Parameters, Setting, zeros


class SGD(Optimizer):
    """w <- w - lr v, with v <- momentum v + g, starting from v = 0.

    With `nesterov`, w <- w - lr (g + momentum v), which approximates the
    gradient after the momentum step. Sutskever et al., 2013, in torch's form.

    Raises:
        ValueError: as for `Optimizer`, or nesterov without momentum.
    """

    moments = {"velocity": zeros}
    velocity: list[np.ndarray | None]  # None for the parameters of a group without momentum
    momentum: Any = Setting()
    nesterov: Any = Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, momentum=momentum, nesterov=nesterov)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        group = self.group
        if momentum := group["momentum"]:
            v = self.velocity[i]
            if v is None:  # the momentum was 0 so far
                v = self.velocity[i] = zeros(w)
            v *= momentum
            v += g
            g = g + momentum * v if group["nesterov"] else v
        w -= group["lr"] * g

    def _checked(self, settings: dict[str, Any]) -> dict[str, Any]:
        settings = super()._checked(settings)
        if settings.get("nesterov") and not settings.get("momentum", 1):
            momentum = settings["momentum"]
            raise ValueError(f"SGD: nesterov with momentum = {momentum}; expected a positive momentum")
        return settings

    def _initial(self, name: str, w: np.ndarray, settings: dict[str, Any]) -> np.ndarray | None:
        return zeros(w) if settings["momentum"] else None


class RMSprop(Optimizer):
    """v <- alpha v + (1-alpha) g^2,  w <- w - lr g / (sqrt(v) + eps). Tieleman and Hinton, 2012, lecture 6.5."""

    moments = {"second": zeros}
    nonnegative = ("second",)
    second: list[np.ndarray]
    alpha: Any = Setting()
    eps: Any = Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, alpha=alpha, eps=eps)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        group, v = self.group, self.second[i]
        alpha = group["alpha"]
        v *= alpha
        v += (1 - alpha) * (g * g)
        root = np.sqrt(v)
        root += group["eps"]
        w -= group["lr"] * g / root


class Adam(Optimizer):
    """m <- b1 m + (1-b1) g,  v <- b2 v + (1-b2) g^2,  w <- w - lr m^ / (sqrt(v^) + eps).

    m^ = m / (1-b1^t) and v^ = v / (1-b2^t) correct the bias of m and v
    towards their initial value 0; t counts the steps of this parameter. Kingma
    and Ba, 2015, algorithm 1. The corrections are Python floats, and therefore
    computed in float64 even if the arrays are float32.
    """

    moments = {"first": zeros, "second": zeros, "age": lambda w: np.zeros((), np.int64)}
    nonnegative = ("second", "age")
    first: list[np.ndarray]
    second: list[np.ndarray]
    age: list[np.ndarray]
    betas: Any = Setting()
    eps: Any = Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, betas=betas, eps=eps)

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        group, m, v = self.group, self.first[i], self.second[i]
        b1, b2 = group["betas"]
        self.age[i] += 1
        t = int(self.age[i])
        m += (1 - b1) * (g - m)
        v *= b2
        v += (1 - b2) * (g * g)
        root = np.sqrt(v)
        root /= math.sqrt(1 - b2**t)
        root += group["eps"]
        w -= (group["lr"] / (1 - b1**t)) * m / root


class AdamW(Adam):
    """Adam with decoupled weight decay: first w <- (1 - lr weight_decay) w, then Adam's step.

    Loshchilov and Hutter, 2019, algorithm 2, in torch's form.
    """

    decoupled = True
