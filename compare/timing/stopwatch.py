"""Looks on while a contender trains, and takes the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..contenders.base import Watch, Weights

PERCENTILES = (50, 90, 99)


class Stopwatch(Watch):
    """Take the time after each look, and the weights at each epoch's end, which are copied off the clock.

    Args:
        epoch_steps: steps of one epoch.
        heard: called with the number of epochs done, off the clock too.
    """

    def __init__(self, epoch_steps: int, heard: Callable[[int], None] = lambda _: None) -> None:
        self.epoch_steps, self.heard = epoch_steps, heard
        self.times: list[float] = []  # seconds since training began
        self.steps: list[int] = []
        self.done = 0
        self.epochs: list[tuple[float, dict[str, np.ndarray]]] = []
        self.paused = 0.0
        self.began = time.perf_counter()

    def after(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        now = time.perf_counter()
        self.times.append(now - self.began - self.paused)
        self.steps.append(steps)
        self.done += steps
        if self.done % self.epoch_steps == 0:
            self.epochs.append((self.times[-1], {name: np.array(w) for name, w in weights().items()}))
            self.heard(len(self.epochs))
            self.paused += time.perf_counter() - now

    def seconds(self) -> float:
        """Of training so far, pauses left out."""
        return time.perf_counter() - self.began - self.paused

    def first_step(self) -> float:
        """Seconds from the start of training until the first look, with all that is set up or compiled in it."""
        return self.times[0]

    def steady_us(self) -> dict[str, Any]:
        """Percentiles of a step in µs, without the first two looks, and how many steps a look covers at most.

        Where a framework runs several steps between two looks, each of them counts as their mean.
        """
        each, steps = np.diff(self.times) / np.array(self.steps[1:]), np.array(self.steps[1:])
        if len(each) > 1:
            each, steps = each[1:], steps[1:]
        if not len(each):
            each, steps = np.array([self.times[0] / self.steps[0]]), np.array(self.steps)
        found = np.percentile(np.repeat(each, steps), PERCENTILES) * 1e6
        return {f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)} | {"steps_a_look": max(self.steps)}
