"""Looking on at a device that works later than it is told to."""

from __future__ import annotations

from collections.abc import Callable

from ..contenders.base import Watch, Weights


class Queued(Watch):
    """Passes on to `watch` what a contender says whose steps are only queued when their calls return.

    There is no time to take then. So it waits for the device, and looks,
    after the first step and at each epoch's end, or after each step if
    `watch` must see each.

    Args:
        watch: who looks on.
        epoch_steps: steps of one epoch.
        wait: returns when the device has done all that it was given.
    """

    def __init__(self, watch: Watch, epoch_steps: int, wait: Callable[[], object]) -> None:
        self.watch, self.epoch_steps, self.wait = watch, epoch_steps, wait
        self.every_step = watch.every_step
        self.done = self.waiting = 0

    def wants_gradients(self) -> bool:
        return self.watch.wants_gradients()

    def after(
        self,
        steps: int,
        loss: Callable[[], float],
        weights: Callable[[], Weights],
        gradients: Callable[[], Weights],
    ) -> None:
        first = not self.done
        self.done += steps
        self.waiting += steps
        if self.every_step or first or self.done % self.epoch_steps == 0:
            self.wait()
            self.watch.after(self.waiting, loss, weights, gradients)
            self.waiting = 0
