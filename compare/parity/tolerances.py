"""The largest allowed difference from minigrad, for each tensor of a recording.

In float64, one number serves for all tensors. Another order of summation
causes differences of 1e-16 per step, and 1e-12 is enough for hundreds of steps.
Batch norm has a larger limit. torch sums the values of a channel one after
another, 100,000 of them for 128 small images, so that its rounding errors begin
at 1e-13.

In float32, a tolerance is measured for each tensor: the output of a layer, the
loss, gradient or weight of a step. A rounding error has another effect on each
of them, and the effect grows from step to step. Adam and RMSprop divide a
gradient by its own magnitude, so that they may turn the rounding error of a
small gradient into a step of a whole learning rate. An input of ReLU near 0, or
two nearly equal inputs of max pooling, make a gradient jump. No formula
predicts this, but it happens to minigrad too if its values are perturbed:

    movement = max |run - float32|   over the perturbed runs and the float64 run
    tolerance = FACTOR * movement + FLOOR * eps * max |float32|

Each perturbed run multiplies the scaled pixels, the starting weights, and the
weights after every step by 1 + d or 1 - d, at random for each element, where d
is some units in the last place (`perturbation.ULPS`): a sum of hundreds of
terms in another order differs by more than one of them. The learning rate is
multiplied by such a factor too, with a larger d (`RATE_ULPS`): Adam divides by
1 - 0.999^t, which differs by that much if a framework computes it in float32.
The runs come in pairs. The second one of a pair moves each element in the
opposite direction, so that if an input of ReLU is near 0, one of the two
changes its sign. A difference that exists at one step affects the later ones,
so that the movement of a tensor is the largest one until its step.

The numbers are measured. In the first 24 steps of 20 trainings with 20 seeds
each, torch's largest difference is 0.4 tolerances. With errors of one unit in
the last place, differences were up to 1,600 times the movement. The price is
that the tolerances become large in later steps: one jump of a gradient in a
perturbed run leads to others. `tests/compare/test_tolerances.py` repeats the
check.

The idea is that of TTrace (arXiv 2506.09280), which measures the tolerance of
each tensor with perturbed inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minigrad.datasets import npz
from minigrad.recipes import Recipe

from ..jobs.shared import save_arrays
from ..results.schema import Dtype
from .recording import Recording

FLOAT64 = 1e-12
BATCH_NORM = 1e-10
EPS = float(np.finfo(np.float32).eps)
FACTOR = 4.0
FLOOR = 16.0


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of each tensor.

    Attributes:
        dtype: the dtype of the recordings.
        default: the tolerance of a tensor that is not in `by_key`.
        by_key: tolerances by the tensor's key, such as `loss 3` or `weight output.bias 3`.
    """

    dtype: Dtype
    default: float = 0.0
    by_key: Mapping[str, float] = field(default_factory=dict)

    def of(self, key: str) -> float:
        """Return the tolerance of a tensor."""
        return self.by_key.get(key, self.default)

    def share(self, key: str, gap: float) -> float:
        """Return a tensor's difference `gap` divided by its tolerance; inf if it is not a number."""
        if gap == 0:
            return 0.0
        share = gap / tolerance if (tolerance := self.of(key)) else math.inf
        return math.inf if math.isnan(share) else share

    def save(self, path: Path) -> None:
        """Write the tolerances in `by_key` to an .npz file, those of the losses as one array."""
        losses = [value for key, value in self.by_key.items() if key.startswith("loss ")]
        others = {key: np.array(value) for key, value in self.by_key.items() if not key.startswith("loss ")}
        save_arrays(path, {"loss": np.array(losses)} | others)


def read(path: Path) -> Tolerances:
    """Read the tolerances in float32 from an .npz file."""
    tolerances = Recording(npz.read_all(path, "the tolerances of a recording"))
    return Tolerances("float32", by_key={key: float(value) for key, value in tolerances.tensors.items()})


def double(recipe: Recipe) -> Tolerances:
    """Return the tolerances in float64."""
    return Tolerances("float64", BATCH_NORM if recipe.model.batch_norm else FLOAT64)


def relative(reference: Recording, limit: float) -> Tolerances:
    """Return tolerances in float64 that are proportional to the magnitude of each tensor, which is 1 or more.

    Args:
        reference: the recording of the reference.
        limit: the tolerance of a tensor whose largest value is 1.
    """
    return Tolerances(
        "float64",
        by_key={key: limit * max(1.0, magnitude) for key, magnitude in _magnitudes(reference).items()},
    )


def movement(reference: Recording, runs: Iterable[Recording]) -> dict[str, float]:
    """Return by how much each tensor moves at most, by its key, at its step or an earlier one.

    Args:
        reference: the recording of the unperturbed training.
        runs: recordings of the same training, perturbed or in another dtype.
    """
    moved = dict.fromkeys(reference.tensors, 0.0)
    for run in runs:
        for key, array in reference.tensors.items():
            moved[key] = max(moved[key], _finite(np.abs(run.tensors[key] - array).max(initial=0)))
    largest: dict[str, float] = {}
    for key in sorted(moved, key=lambda key: int(key.rpartition(" ")[2])):
        tensor = key.rpartition(" ")[0]
        largest[tensor] = moved[key] = max(moved[key], largest.get(tensor, 0.0))
    return moved


def measure(reference: Recording, runs: Iterable[Recording]) -> Tolerances:
    """Return the tolerances in float32.

    Args:
        reference: the recording of the reference in float32.
        runs: its recording in float64, and those of perturbed trainings.
    """
    moved = movement(reference, runs)
    rounding = FLOOR * EPS
    magnitudes = _magnitudes(reference)
    return Tolerances("float32", by_key={key: FACTOR * moved[key] + rounding * magnitudes[key] for key in moved})


def _magnitudes(reference: Recording) -> dict[str, float]:
    """Return the largest absolute value of each tensor."""
    return {key: _finite(np.abs(array).max(initial=0)) for key, array in reference.tensors.items()}


def _finite(value: float) -> float:
    """Return the value, or 0 if it is infinite or not a number: an overflow allows no difference."""
    return float(value) if math.isfinite(value) else 0.0
