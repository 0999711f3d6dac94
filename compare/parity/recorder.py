"""Looks on while a contender trains, and writes down what is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minigrad import datasets

from ..contenders.base import Batches, Contender, Watch, Weights
from ..jobs.job import save_arrays

FIRST_STEPS = 5


def is_looked_at(step: int, total: int) -> bool:
    """Whether the weights after this step (from 1) are kept: the first five, each power of two, and the last two."""
    return step <= FIRST_STEPS or step & (step - 1) == 0 or step >= total - 1


class Recorder(Watch):
    """Keep every step's loss, the weights at chosen steps, and the first gradients.

    All weights at all steps would be hundreds of megabytes, and an error at
    any step shows in every later one.

    And what a divergence is explained by: the weights before the first step,
    what each layer makes of the first batch, and the batches of the first
    steps and the last; as number 0, the first images in the file's order.
    """

    every_step = True
    FIRST = 3  # steps whose gradients are kept

    def __init__(self, total: int) -> None:
        self.total = total
        self.losses: list[float] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.inputs: dict[str, np.ndarray] = {}

    def before(self, contender: Contender, batches: Batches, trace: bool = True) -> None:
        """Look at what a contender starts from, and at what it will be given in the first epoch."""
        order, shifts = batches.order(0), batches.shifts(0)
        chosen = {step: order[step - 1] for step in (*range(1, FIRST_STEPS + 1), self.total) if step <= len(order)}
        for step, indices in {0: np.arange(len(order[0])), **chosen}.items():
            images = batches.train.images[indices]
            self.inputs[f"images {step}"] = images if shifts is None else datasets.shifted(images, shifts[indices])
            self.inputs[f"labels {step}"] = batches.train.labels[indices]
        self.arrays |= {f"weight {name} 0": w for name, w in contender.state().items()}
        if trace:
            found = contender.trace(self.inputs["images 1"])
            self.arrays |= {f"trace {name} 1": a for name, a in found.items()}

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
        """Write all that was seen to an .npz, as float64; the batches as they are."""
        arrays = self.inputs | {name: np.asarray(a, np.float64) for name, a in self.arrays.items()}
        save_arrays(path, arrays | {"loss": np.array(self.losses, np.float64)})
