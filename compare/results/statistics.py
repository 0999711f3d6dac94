"""Intervals and verdicts. All intervals are at 95 %.

Two times are compared by the median, over the rounds, of their ratio in each
round. Its interval is a bootstrap interval that resamples the seeds first, and
then the rounds of each seed, since the rounds of a seed share a process and
are therefore not independent (Davison and Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8). SciPy is imported when it is first needed,
since importing it takes longer than importing `compare`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from .schema import AccuracyDifference, Interval, Verdict

CONFIDENCE = 0.95
ROUNDS = 15  # fewest rounds for a verdict
MARGIN = 0.05  # two times are equivalent if their ratio is within 1 ± MARGIN
RESAMPLES = 2000
BLOCK = 1_000_000  # numbers that are drawn at once, which limits the memory

BySeed = Sequence[Sequence[float]]  # one sequence of rounds per seed


def ratio(values: BySeed) -> Interval:
    """Return the median of ratios that were measured in rounds, with its interval and verdict.

    Args:
        values: per seed, the ratio of two times in each round.
    """
    count = sum(map(len, values))
    median = float(np.median(np.concatenate([np.asarray(v, float) for v in values])))
    if count < 2:
        return {"median": median, "low": None, "high": None, "verdict": "undecided", "rounds": count}
    return _interval(median, resampled_medians(values), count)


def unpaired_ratio(first: BySeed, second: BySeed) -> Interval:
    """Return the ratio of the medians of times that were not measured in the same rounds.

    Args:
        first, second: per seed, the time in each round. The two may have other seeds and numbers of rounds.
    """
    medians = [float(np.median(np.concatenate([np.asarray(v, float) for v in side]))) for side in (first, second)]
    count = min(sum(map(len, side)) for side in (first, second))
    median = medians[0] / medians[1]
    if count < 2:
        return {"median": median, "low": None, "high": None, "verdict": "undecided", "rounds": count}
    a, b = (resampled_medians(side, seed) for seed, side in enumerate((first, second)))
    return _interval(median, a / b, count)


def _interval(median: float, medians: np.ndarray, count: int) -> Interval:
    low, high = (float(v) for v in np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return {"median": median, "low": low, "high": high, "verdict": verdict(low, high, count), "rounds": count}


def resampled_medians(values: BySeed, seed: int = 0) -> np.ndarray:
    """Draw seeds with replacement, then rounds of each drawn seed with replacement, `RESAMPLES` times.

    Args:
        values: one or more values per seed; seeds without values are left out.
        seed: of the random generator.

    Returns:
        The median of each drawing, (RESAMPLES,). Each has as many values as seeds times the largest number of rounds.
    """
    rows = [np.asarray(v, float) for v in values if len(v)]
    sizes, most = np.array([len(row) for row in rows]), max(map(len, rows))
    padded = np.zeros((len(rows), most))
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    rng = np.random.default_rng(seed)
    medians = np.empty(RESAMPLES)
    block = max(1, BLOCK // padded.size)
    for start in range(0, RESAMPLES, block):
        count = min(block, RESAMPLES - start)
        seeds = rng.integers(len(rows), size=(count, len(rows), 1))
        rounds = (rng.random((count, len(rows), most)) * sizes[seeds]).astype(int)
        medians[start : start + count] = np.median(padded[seeds, rounds].reshape(count, -1), axis=1)
    return medians


def verdict(low: float | None, high: float | None, rounds: int) -> Verdict:
    """Return the verdict on a ratio of times from its interval: "faster" means that the first one is faster."""
    if low is None or high is None or rounds < ROUNDS:
        return "undecided"
    if low >= 1 - MARGIN and high <= 1 + MARGIN:
        return "equivalent"
    return "faster" if high < 1 else "slower" if low > 1 else "undecided"


def accuracy_differences(correct: Mapping[str, Mapping[int, np.ndarray]]) -> list[AccuracyDifference]:
    """Compare the test accuracy of every two contenders, paired by image.

    Only the images that one of the two got right and the other wrong matter. Given their number, the number of those
    that the first got right is binomial, which gives the exact interval (Clopper and Pearson, 1934).

    Args:
        correct: by contender and seed, bool (images,): whether the prediction is correct. Two contenders are compared over
            the seeds that both have.
    """
    from scipy import stats

    rows: list[AccuracyDifference] = []
    for a, b in combinations(correct, 2):
        seeds = sorted(correct[a].keys() & correct[b].keys())
        if not seeds:
            continue
        first, second = (np.stack([correct[name][seed] for seed in seeds]) for name in (a, b))
        only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
        discordant, share = only_a + only_b, (only_a + only_b) / first.size
        bounds = stats.binomtest(only_a, discordant).proportion_ci(CONFIDENCE) if discordant else (0.5, 0.5)
        low, high = (share * (2 * float(bound) - 1) for bound in bounds)
        difference = (only_a - only_b) / first.size
        rows.append(
            {"a": a, "b": b, "difference": difference, "low": low, "high": high, "only_a": only_a, "only_b": only_b}
        )
    return rows


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
