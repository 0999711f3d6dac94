"""The largest allowed difference from minigrad.

In float64, another order of summation causes differences of 1e-16 per step,
and 1e-12 is enough for hundreds of steps. In float32 the differences are 1e-7
per step, so that SGD stays within 1e-4. Adam and RMSprop divide a gradient by
its own magnitude. If a gradient is not larger than its rounding error, one
framework may increase a weight and another may decrease it, so the limit is
larger by two learning rates.

A deep network amplifies such a difference in each following step. The
difference between minigrad's float32 and float64 runs, which is due to
rounding alone, measures by how much. Two float32 runs may differ by twice
that; if this is more than the limit above, it is the limit in float32.

Batch norm has a larger limit in float64. torch sums the values of a channel one
after another, 100,000 of them for 128 small images, so that its rounding
errors begin at 1e-13. In addition, a shift before batch norm has no effect:
its gradient is nothing but rounding error, which Adam and RMSprop divide by
about 1e-8.
"""

from __future__ import annotations

from minigrad.recipes import Recipe

from ..results.schema import Dtype

LIMITS: dict[Dtype, float] = {"float64": 1e-12, "float32": 1e-4}
BATCH_NORM = 1e-10


def limits(recipe: Recipe, rounding: float = 0.0) -> dict[Dtype, float]:
    """Return the largest difference allowed, by dtype.

    Args:
        recipe: gives optimizer, learning rate and batch norm.
        rounding: the largest difference between minigrad's float32 and float64 runs.
    """
    adaptive = recipe.model.optimizer in ("rmsprop", "adam", "adamw")
    single = LIMITS["float32"] + (2 * recipe.model.learning_rate if adaptive else 0)
    double = BATCH_NORM if recipe.model.batch_norm else LIMITS["float64"]
    return {"float64": double, "float32": max(single, 2 * rounding)}
