"""Learning rate schedules, with the names and formulas of torch.optim.lr_scheduler.

StepLR, CosineAnnealingLR and OneCycleLR compute the rate lr_t from t, the
number of steps of the optimizer: call `step` after each `optimizer.step`.
They have no state of their own, so a resumed run restores only the optimizer.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from .optimizers import Optimizer


def _interpolate(start: float, end: float, fraction: float) -> float:
    """Interpolate from `start` (fraction = 0) to `end` (fraction = 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


class StepLR:
    """lr_t = lr_0 gamma^floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.optimizer, self.start, self.step_size, self.gamma = optimizer, optimizer.lr, step_size, gamma

    def step(self) -> None:
        self.optimizer.lr = self.start * self.gamma ** (self.optimizer.steps // self.step_size)


class CosineAnnealingLR:
    """lr_t = eta_min + (lr_0 - eta_min) (1 + cos(pi t / T_max)) / 2. Loshchilov and Hutter, 2017, equation 5."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803 (torch's name)
        self.optimizer, self.start, self.T_max, self.eta_min = optimizer, optimizer.lr, T_max, eta_min

    def step(self) -> None:
        self.optimizer.lr = _interpolate(self.start, self.eta_min, self.optimizer.steps / self.T_max)


class OneCycleLR:
    """Rise from max_lr / div_factor to max_lr, then fall to max_lr / div_factor / final_div_factor.

    Both phases follow half a cosine; the first takes the fraction `pct_start`
    of `total_steps`. With `cycle_momentum`, momentum (the first beta of Adam
    and AdamW) falls from max_momentum to base_momentum and rises again. Smith
    and Topin, 2018, in torch's form.

    Raises:
        ValueError: cycle_momentum is True and the optimizer has no momentum.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int,
        pct_start: float = 0.3,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        if cycle_momentum and not (hasattr(optimizer, "betas") or getattr(optimizer, "momentum", False)):
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum; expected cycle_momentum=False")
        self.optimizer, self.total_steps, self.cycle_momentum = optimizer, total_steps, cycle_momentum
        self.top = pct_start * total_steps - 1  # the step at which max_lr is reached
        start = max_lr / div_factor
        self.rates = (start, max_lr, start / final_div_factor)
        self.momenta = (max_momentum, base_momentum, max_momentum)
        self.step()

    def step(self) -> None:
        t, optimizer = self.optimizer.steps, self.optimizer
        optimizer.lr = self._at(t, self.rates)
        if self.cycle_momentum:
            momentum = self._at(t, self.momenta)
            settings: Any = optimizer
            if hasattr(optimizer, "betas"):
                settings.betas = (momentum, settings.betas[1])
            else:
                settings.momentum = momentum

    def _at(self, t: int, values: tuple[float, float, float]) -> float:
        if t <= self.top:
            return _interpolate(values[0], values[1], t / self.top if self.top else 1.0)
        return _interpolate(values[1], values[2], (t - self.top) / (self.total_steps - 1 - self.top))


class ReduceLROnPlateau:
    """Multiply lr by `factor` if the metric has not fallen by `threshold` for more than `patience` epochs.

    With threshold_mode "rel", the threshold is a fraction of the best metric.
    Call `step(metric)` after each epoch.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        min_lr: float = 0.0,
    ) -> None:
        self.optimizer, self.factor, self.patience, self.min_lr = optimizer, factor, patience, min_lr
        self.threshold, self.relative = threshold, threshold_mode == "rel"
        self.best, self.bad_epochs = math.inf, 0

    def step(self, metric: float) -> None:
        if metric < (self.best * (1 - self.threshold) if self.relative else self.best - self.threshold):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.optimizer.lr = min(self.optimizer.lr, max(self.optimizer.lr * self.factor, self.min_lr))
            self.bad_epochs = 0
