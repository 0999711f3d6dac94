"""Observes training on a device that runs steps asynchronously."""

from __future__ import annotations

from collections.abc import Callable

from ..contenders.base import Observer, Weights


class SynchronizedObserver(Observer):
    """Waits for the device, then passes the call on to another observer.

    If a call returns when its step is only queued, a time measured then is
    meaningless. This observer waits for the device after the first step and the
    last step of each epoch, or after each step if the other observer needs every step.

    Args:
        observer: the observer that is called.
        epoch_steps: number of steps per epoch.
        wait: returns when the device has done all queued work.
    """

    def __init__(self, observer: Observer, epoch_steps: int, wait: Callable[[], object]) -> None:
        self.observer, self.epoch_steps, self.wait = observer, epoch_steps, wait
        self.every_step = observer.every_step
        self.steps_done = self.pending = 0

    def wants_gradients(self) -> bool:
        return self.observer.wants_gradients()

    def after_steps(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        is_first = self.steps_done % self.epoch_steps == 0
        self.steps_done += steps
        self.pending += steps
        if self.every_step or is_first or self.steps_done % self.epoch_steps == 0:
            self.wait()
            self.observer.after_steps(self.pending, loss, weights, gradients)
            self.pending = 0
