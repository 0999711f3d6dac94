"""Statistics over a few seeds: confidence intervals, and differences paired by seed.

All intervals are at 95 %. SciPy is imported when the first interval is
computed, since importing it takes longer than importing `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from .schema import Difference, Pair, Ratio, Run

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of a mean, mean ± t s / sqrt(n), or None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy import stats

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Compare times paired by seed.

    The interval is that of the mean logarithm, so that "twice" and "half" weigh the same.

    Args:
        first: times in any unit, one per seed.
        second: times in the same unit, of the same seeds in the same order.

    Returns:
        The geometric mean of first / second with its interval.
    """
    logs = [math.log(a / b) for a, b in zip(first, second, strict=True)]
    interval = mean_interval(logs)
    low, high = (math.exp(bound) for bound in interval) if interval else (None, None)
    differs = None if interval is None else not interval[0] <= 0 <= interval[1]
    return {"ratio": math.exp(float(np.mean(logs))), "low": low, "high": high, "differs": differs}


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return the mean of first - second, paired by seed, with its interval."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    interval = mean_interval(differences)
    low, high = interval or (None, None)
    # If all differences are 0, the accuracies do not differ, even with one seed.
    differs = False if not any(differences) else None if interval is None else not interval[0] <= 0 <= interval[1]
    return {"difference": float(np.mean(differences)), "low": low, "high": high, "differs": differs}


def unpaired_ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Return the ratio of the geometric means of two sets of times, with Welch's 95 % interval."""
    a, b = np.log(first), np.log(second)
    log_ratio, low, high = float(a.mean() - b.mean()), None, None
    if len(a) > 1 and len(b) > 1:
        bounds = log_ratio, log_ratio  # without any spread, the interval is a point
        if a.var() or b.var():
            from scipy import stats

            bounds = stats.ttest_ind(a, b, equal_var=False).confidence_interval(CONFIDENCE)
        low, high = (math.exp(bound) for bound in bounds)
    differs = None if low is None or high is None else not low <= 1 <= high
    return {"ratio": math.exp(log_ratio), "low": low, "high": high, "differs": differs}


def compare_pairs(runs: Mapping[str, Sequence[Run]]) -> list[Pair]:
    """Compare every two contenders in step time and test accuracy, over the seeds that both ran.

    Args:
        runs: each contender's runs in the closed division, by its name.
    """
    pairs: list[Pair] = []
    for a, b in combinations(runs, 2):
        first, second = ({run["seed"]: run for run in runs[name]} for name in (a, b))
        seeds = [seed for seed in first if seed in second]
        if seeds:
            times = ([side[seed]["step_us"] for seed in seeds] for side in (first, second))
            accuracies = ([side[seed]["test_accuracy"] for seed in seeds] for side in (first, second))
            pairs.append(
                {
                    "a": a,
                    "b": b,
                    "seeds": seeds,
                    "step_us": paired_ratio(*times),
                    "test_accuracy": paired_difference(*accuracies),
                }
            )
    return pairs


def wilson_interval(correct: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of an accuracy measured on `n` images (Wilson, 1927).

    Args:
        correct: number of correct predictions. The median over an even number
            of seeds may be half a prediction, for which the bounds are
            interpolated.
        n: number of images.
    """
    from scipy import stats

    below, above = (
        stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="wilson")
        for count in (math.floor(correct), math.ceil(correct))
    )
    share = correct - math.floor(correct)
    low, high = ((1 - share) * a + share * b for a, b in zip(below, above, strict=True))
    return max(0.0, min(low, correct / n)), min(1.0, max(high, correct / n))
