"""Observes a contender's training and measures its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ..contenders.base import Observer, Weights
from ..results.schema import SteadyStep


class Stopwatch(Observer):
    """Records the time at each call, and copies the weights at each epoch's end. Copying is not timed.

    Args:
        epoch_steps: number of steps per epoch.
        on_epoch: called at the end of each epoch with this object; not timed, so that it may wait for another turn.
        keep: number of epochs whose weights are kept. Default 0.

    Attributes:
        times: seconds of training until each call.
        steps: number of steps until each call.
        epochs: seconds of training until each epoch's end.
        weights: the weights at the end of the first `keep` epochs.
        children_mb: the largest memory of the process's child processes at the end of an epoch, in MB.
    """

    def __init__(self, epoch_steps: int, on_epoch: Callable[[Stopwatch], object], keep: int = 0) -> None:
        self.epoch_steps, self.on_epoch, self.keep = epoch_steps, on_epoch, keep
        self.times: list[float] = []
        self.steps: list[int] = []
        self.epochs: list[float] = []
        self.weights: list[dict[str, np.ndarray]] = []
        self.paused = self.children_mb = 0.0
        self.start = time.perf_counter()

    def after_steps(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        now = time.perf_counter()
        self.times.append(now - self.start - self.paused)
        self.steps.append(self.steps_done + steps)
        if self.steps_done % self.epoch_steps == 0:
            self.epochs.append(self.times[-1])
            if len(self.weights) < self.keep:
                self.weights.append({name: np.array(w) for name, w in weights().items()})
            self.on_epoch(self)
            self.paused += time.perf_counter() - now

    @property
    def steps_done(self) -> int:
        """Number of steps so far."""
        return self.steps[-1] if self.steps else 0

    def seconds(self) -> float:
        """Return the seconds of training so far, without pauses."""
        return time.perf_counter() - self.start - self.paused

    def first_step(self) -> float:
        """Return the seconds from the start of training to the first call, including set-up and compilation."""
        return self.times[0]

    def epoch_us(self) -> list[float]:
        """Return the time of a step in each epoch, in microseconds: the seconds of the epoch divided by its steps."""
        return [float(us) for us in np.diff([0.0, *self.epochs]) / self.epoch_steps * 1e6]

    def steady_us(self) -> SteadyStep:
        """Return percentiles of a step in microseconds, without the first two calls.

        If a framework runs several steps between two calls, each of them counts as their mean.
        """
        steps = np.diff([0, *self.steps])
        durations, steps = np.diff(self.times) / steps[1:], steps[1:]
        if len(durations) > 1:
            durations, steps = durations[1:], steps[1:]
        if not len(durations):
            durations, steps = np.array([self.times[0] / self.steps[0]]), np.array(self.steps[:1])
        p50, p90, p99 = (float(v) for v in np.percentile(np.repeat(durations, steps), [50, 90, 99]) * 1e6)
        return {"p50": p50, "p90": p90, "p99": p99, "steps_a_look": int(max(np.diff([0, *self.steps])))}


@contextmanager
def timed(durations: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes to `durations`."""
    start = time.perf_counter()
    yield
    durations.append(time.perf_counter() - start)
