"""The two who look on: one writes down what is computed, the other how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigrad.runs import whole_file

from .contenders.base import Watch, Weights


def is_looked_at(step: int, total: int) -> bool:
    """Whether the weights after this step (from 1) are kept: the first five, each power of two, and the last."""
    return step <= 5 or step & (step - 1) == 0 or step == total


class Recorder(Watch):
    """Keep every step's loss, the weights at chosen steps, and the first gradients.

    All weights at all steps would be hundreds of megabytes, and an error at
    any step shows in every later one.
    """

    every_step = True
    FIRST = 3  # steps whose gradients are kept

    def __init__(self, total: int) -> None:
        self.total = total
        self.losses: list[float] = []
        self.arrays: dict[str, np.ndarray] = {}

    def wants_gradients(self) -> bool:
        return len(self.losses) < self.FIRST

    def after(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        wanted = self.wants_gradients()
        self.losses.append(loss())
        step = len(self.losses)
        if wanted:
            self.arrays |= {f"gradient {name} {step}": g for name, g in gradients().items()}
        if is_looked_at(step, self.total):
            self.arrays |= {f"weight {name} {step}": w for name, w in weights().items()}

    def save(self, path: Path) -> None:
        """Write all that was seen, as float64, to an .npz."""
        arrays = {name: np.asarray(a, np.float64) for name, a in self.arrays.items()}
        with whole_file(path) as draft:
            np.savez(draft, loss=np.array(self.losses, np.float64), **arrays)  # type: ignore[arg-type]


class Stopwatch(Watch):
    """Take the time after each look, and how many steps it was for."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.times: list[float] = []
        self.steps: list[int] = []

    def after(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        self.times.append(time.perf_counter())
        self.steps.append(steps)

    def first_step(self) -> float:
        """Seconds from the start of training until the first look, with all that is set up or compiled in it."""
        return self.times[0] - self.began

    def steady_step(self) -> float:
        """The median of seconds a step, without the first two looks."""
        each = np.diff(self.times) / np.array(self.steps[1:])
        return float(np.median(each[1:] if len(each) > 1 else each)) if len(each) else self.first_step() / self.steps[0]
