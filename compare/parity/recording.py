"""The recording of a contender's training: an .npz file, written by `recorder.Recorder`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minigrad.datasets import npz

MASKED = "masked"  # name of the recording with dropout, in float64
TOLERANCE = "tolerance"  # name of the file with the tolerances in float32
FIRST_STEPS = 5


def is_weight_step(step: int, total: int) -> bool:
    """Return whether the weights after a step (from 1) are recorded: the first five, powers of two, and the last two."""
    return step <= FIRST_STEPS or step & (step - 1) == 0 or step >= total - 1


@dataclass(frozen=True)
class Recording:
    """A recording, read from its file.

    Attributes:
        arrays: float64 arrays by key. Keys: `loss`, (steps,); `weight NAME STEP`,
            after a step, where step 0 is before the first; `gradient NAME STEP`;
            `trace LAYER 1`; and the batches, `images STEP` and `labels STEP`,
            where step 0 has the first images in the file's order.
    """

    arrays: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read an .npz file."""
        return cls(npz.read_all(path, "the recording of a training"))

    @property
    def losses(self) -> np.ndarray:
        """The loss of each step, float64 (steps,); empty if no step was recorded."""
        return self.arrays.get("loss", np.zeros(0))

    def at(self, kind: str, step: int) -> dict[str, np.ndarray]:
        """Return the arrays of a kind (`weight`, `gradient` or `trace`) at a step, by name; empty if not recorded."""
        return self._by_step.get((kind, step), {})

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays except the batches, by key, and the loss of each step under `loss STEP`."""
        losses = {f"loss {i + 1}": loss for i, loss in enumerate(self.losses)}
        kinds = ("weight", "gradient", "trace")
        return losses | {key: array for key, array in self.arrays.items() if key.split(" ")[0] in kinds}

    @cached_property
    def _by_step(self) -> dict[tuple[str, int], dict[str, np.ndarray]]:
        groups: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        for key, array in self.arrays.items():
            kind, *name, step = key.split(" ") if " " in key else (key, "0")
            if name:
                groups.setdefault((kind, int(step)), {})[" ".join(name)] = array
        return groups

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a step's images and labels. Raises KeyError if they are not recorded."""
        return self.arrays[f"images {step}"], self.arrays[f"labels {step}"]

    def batches(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Return all recorded batches by step."""
        steps = (int(key.removeprefix("images ")) for key in self.arrays if key.startswith("images "))
        return {step: self.batch(step) for step in steps}
