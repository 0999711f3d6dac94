"""Learning rate schedules, with the names and formulas of torch.optim.lr_scheduler.

StepLR, CosineAnnealingLR and OneCycleLR compute the rate lr_t from t, the
number of steps of the optimizer: call `step` after each `optimizer.step`.
They have no state of their own. A resumed run restores only the optimizer,
before or after it creates the schedule.

An optimizer has one schedule, because each computes the rate alone. Every
parameter group has a rate of its own, lr_0 is its `initial_lr`: the rate when
the first schedule was created.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .. import checks
from ..tape import unwrap
from .optimizer import Optimizer


def _interpolate(start: float, end: float, fraction: float) -> float:
    """Interpolate from `start` (fraction = 0) to `end` (fraction = 1) along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


class Schedule:
    """The base class of schedules.

    Raises:
        TypeError: `optimizer` is something else.
        ValueError: it has a schedule.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            checks.refuse(self.name, "optimizer", optimizer, "an optimizer", TypeError)
        if optimizer.schedule is not None:
            raise ValueError(
                f"{self.name}: the optimizer has the schedule {optimizer.schedule}; expected one schedule per optimizer"
            )
        self.optimizer = optimizer

    def _per_group(self, name: str, value: float | Sequence[float]) -> list[float]:
        """Return a setting as one number per parameter group.

        Raises:
            ValueError: there are more or less numbers than groups.
        """
        groups = len(self.optimizer.param_groups)
        values = value if isinstance(value, (list, tuple)) else [value] * groups
        if len(values) != groups:
            raise ValueError(
                f"{self.name}: {name} has {len(values)} numbers; expected one per parameter group, {groups}"
            )
        return [checks.number(self.name, name, v) for v in values]


class _ByStep(Schedule, ABC):
    """A schedule that computes the rate of a group from its initial rate and the number of steps."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if optimizer.steps:
            self.step()
        optimizer.schedule = self.name

    def step(self) -> None:
        """Set the learning rate of each group for the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(group.setdefault("initial_lr", group["lr"]), self.optimizer.steps)

    @abstractmethod
    def _rate(self, start: float, t: int) -> float:
        """Return the learning rate after `t` steps, for a group whose initial rate is `start`."""


class StepLR(_ByStep):
    """lr_t = lr_0 gamma^floor(t / step_size).

    Raises:
        ValueError: a setting is out of its range, or the optimizer has a schedule.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = checks.integer("StepLR", "step_size", step_size)
        self.gamma = checks.number("StepLR", "gamma", gamma)
        super().__init__(optimizer)

    def _rate(self, start: float, t: int) -> float:
        return start * self.gamma ** (t // self.step_size)


class CosineAnnealingLR(_ByStep):
    """lr_t = eta_min + (lr_0 - eta_min) (1 + cos(pi t / T_max)) / 2. Loshchilov and Hutter, 2017, equation 5.

    After T_max steps, the rate rises again to lr_0, for T_max steps, and so on.

    Raises:
        ValueError: a setting is out of its range, or the optimizer has a schedule.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803 (torch's name)
        self.T_max = checks.integer("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = checks.number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer)

    def _rate(self, start: float, t: int) -> float:
        return _interpolate(start, self.eta_min, t / self.T_max)


class OneCycleLR(Schedule):
    """Rise from max_lr / div_factor to max_lr, then fall to max_lr / div_factor / final_div_factor.

    Both phases follow half a cosine; the first takes the fraction `pct_start`
    of `total_steps`. With `cycle_momentum`, momentum (the first beta of Adam
    and AdamW) falls from max_momentum to base_momentum and rises again.
    `max_lr` is a number, or a list of one number per parameter group. Smith
    and Topin, 2018, in torch's form.

    Raises:
        ValueError: a setting is out of its range; cycle_momentum is True and the optimizer has no momentum; the
            optimizer has a schedule; or `step` is called after more than total_steps steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int,
        pct_start: float = 0.3,
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        owner = type(self).__name__
        self.total_steps = checks.integer(owner, "total_steps", total_steps)
        self.top = checks.number(owner, "pct_start", pct_start, 0, 1, "[]") * total_steps - 1  # where max_lr is reached
        self.cycle_momentum = checks.choice(owner, "cycle_momentum", cycle_momentum, (False, True))
        base_momentum = checks.number(owner, "base_momentum", base_momentum, 0, 1)
        max_momentum = checks.number(owner, "max_momentum", max_momentum, 0, 1)
        self.momenta = (max_momentum, base_momentum, max_momentum)
        self.div_factor = checks.number(owner, "div_factor", div_factor, ends="()")
        self.final_div_factor = checks.number(owner, "final_div_factor", final_div_factor, ends="()")
        super().__init__(optimizer)
        if cycle_momentum and not all("betas" in group or group.get("momentum") for group in optimizer.param_groups):
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum; expected cycle_momentum=False")
        self.max_lr = max_lr
        self.step()
        optimizer.schedule = self.name

    def step(self) -> None:
        """Set the learning rate, and the momentum, of each group for the next step."""
        t, groups = self.optimizer.steps, self.optimizer.param_groups
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t}; expected at most total_steps = {self.total_steps}")
        for group, peak in zip(groups, self._per_group("max_lr", self.max_lr), strict=True):
            start = peak / self.div_factor
            group["lr"] = self._at(t, (start, peak, start / self.final_div_factor))
            if self.cycle_momentum:
                momentum = self._at(t, self.momenta)
                if "betas" in group:
                    group["betas"] = (momentum, group["betas"][1])
                else:
                    group["momentum"] = momentum

    def _at(self, t: int, values: tuple[float, float, float]) -> float:
        if t <= self.top:
            return _interpolate(values[0], values[1], t / self.top if self.top else 1.0)
        length = self.total_steps - 1 - self.top
        return _interpolate(values[1], values[2], (t - self.top) / length if length else 1.0)


class ReduceLROnPlateau(Schedule):
    """Multiply lr by `factor` if the metric has not fallen by `threshold` for more than `patience` epochs.

    With threshold_mode "rel", the threshold is a fraction of the best metric.
    Call `step(metric)` after each epoch. `min_lr` is a number, or a list of
    one number per parameter group.

    Raises:
        ValueError: a setting is out of its range, or the optimizer has a schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        min_lr: float | Sequence[float] = 0.0,
    ) -> None:
        owner = type(self).__name__
        self.factor = checks.number(owner, "factor", factor, 0, 1)
        self.patience = checks.integer(owner, "patience", patience, 0)
        self.threshold = checks.number(owner, "threshold", threshold)
        self.relative = checks.choice(owner, "threshold_mode", threshold_mode, ("rel", "abs")) == "rel"
        super().__init__(optimizer)
        self._per_group("min_lr", min_lr)
        self.min_lr = min_lr
        self.best, self.bad_epochs = math.inf, 0
        optimizer.schedule = self.name

    def step(self, metric: Any) -> None:
        """Take the metric of an epoch into account, a number or a tensor of one element.

        Raises:
            TypeError: `metric` is something else.
        """
        value = np.asarray(unwrap(metric))
        if value.size != 1 or value.dtype.kind not in "fiub":
            checks.refuse(self.name, "metric", metric, "a number or a tensor of one element", TypeError)
        metric = float(value.item())
        if metric < (self.best * (1 - self.threshold) if self.relative else self.best - self.threshold):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self._per_group("min_lr", self.min_lr), strict=True):
                group["lr"] = min(group["lr"], max(group["lr"] * self.factor, least))
            self.bad_epochs = 0
