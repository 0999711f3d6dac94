"""Ratios over rounds, their intervals and verdicts; differences of accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from compare.results import collect, disagreements, ratios, statistics
from compare.results.statistics import MARGIN, ROUNDS

by_seed = st.lists(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=12), min_size=1, max_size=5)


def simulated(rng: np.random.Generator, seeds: int, rounds: int, between: float, within: float) -> list[list[float]]:
    """Ratios around 1 whose logarithm varies between seeds and between the rounds of a seed."""
    return [list(np.exp(rng.normal(0, between) + rng.normal(0, within, rounds))) for _ in range(seeds)]


def test_the_interval_covers_the_ratio_in_at_least_95_percent_of_measurements() -> None:
    rng = np.random.default_rng(0)
    intervals = [statistics.ratio(simulated(rng, 8, 9, 0.0, 0.05)) for _ in range(150)]
    assert np.mean([i["low"] <= 1 <= i["high"] for i in intervals]) > 0.93  # 0.95, within three standard errors
    assert np.mean([i["high"] - i["low"] for i in intervals]) < 0.05  # and is not wide


def test_the_interval_includes_what_differs_between_seeds() -> None:
    """If seeds differ more than the rounds of a seed, resampling rounds alone gives an interval that is too narrow."""
    rng = np.random.default_rng(1)
    samples = [simulated(rng, 8, 9, 0.05, 0.005) for _ in range(150)]
    covers = np.mean([i["low"] <= 1 <= i["high"] for i in map(statistics.ratio, samples)])
    pooled = [statistics.ratio([[value for seed in sample for value in seed]]) for sample in samples]
    assert covers > 0.85
    assert np.mean([i["low"] <= 1 <= i["high"] for i in pooled]) < 0.7


def test_the_bootstrap_of_one_seed_is_that_of_scipy() -> None:
    values = np.random.default_rng(2).lognormal(0, 0.2, 40)
    interval = statistics.ratio([list(values)])
    expected = stats.bootstrap((values,), np.median, n_resamples=5000, method="percentile", rng=0).confidence_interval
    assert interval["low"] == pytest.approx(expected.low, rel=0.02)
    assert interval["high"] == pytest.approx(expected.high, rel=0.02)


@given(by_seed)
def test_the_median_lies_within_the_values_and_is_that_of_all_rounds(values: list[list[float]]) -> None:
    interval = statistics.ratio(values)
    pooled = [value for seed in values for value in seed]
    assert interval["median"] == pytest.approx(np.median(pooled))
    assert interval["rounds"] == len(pooled)
    if len(pooled) > 1:
        assert min(pooled) <= interval["low"] <= interval["high"] <= max(pooled)


@given(by_seed, st.floats(0.1, 10))
def test_a_constant_ratio_is_found_whatever_the_times_are(times: list[list[float]], factor: float) -> None:
    interval = ratios.paired([[factor * t for t in seed] for seed in times], times)
    assert interval["median"] == pytest.approx(factor)
    if interval["low"] is not None:
        assert (interval["low"], interval["high"]) == pytest.approx((factor, factor))


def test_states_of_the_machine_cancel_in_paired_rounds_only() -> None:
    slow_and_fast = [[1.0] * 9, [1.6] * 9, [1.1] * 9]
    slower = [[1.2 * t for t in seed] for seed in slow_and_fast]
    assert ratios.paired(slower, slow_and_fast)["verdict"] == "slower"
    assert statistics.unpaired_ratio(slower, slow_and_fast)["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "rounds", "verdict"),
    [
        (0.80, 0.90, ROUNDS, "faster"),
        (1.10, 1.20, ROUNDS, "slower"),
        (0.96, 1.04, ROUNDS, "equivalent"),
        (1.01, 1.04, ROUNDS, "equivalent"),  # a difference that does not matter
        (1 - MARGIN, 1 + MARGIN, ROUNDS, "equivalent"),
        (1.01, 1.06, ROUNDS, "slower"),
        (0.90, 1.04, ROUNDS, "undecided"),
        (0.0007, 88, ROUNDS, "undecided"),
        (0.80, 0.90, ROUNDS - 1, "undecided"),
        (None, None, 1, "undecided"),
    ],
)
def test_a_verdict_follows_from_the_interval(low: float | None, high: float | None, rounds: int, verdict: str) -> None:
    assert statistics.verdict(low, high, rounds) == verdict


def test_one_round_has_no_interval() -> None:
    alone = {"median": 2.0, "low": None, "high": None, "verdict": "undecided", "rounds": 1}
    assert statistics.ratio([[2.0]]) == alone
    assert statistics.unpaired_ratio([[2.0]], [[1.0]]) == alone


def test_unpaired_times_may_have_other_numbers_of_rounds() -> None:
    interval = statistics.unpaired_ratio([[2.0] * 20], [[1.0] * 9, [1.0] * 8])
    assert interval == {"median": 2.0, "low": 2.0, "high": 2.0, "verdict": "slower", "rounds": 17}


def test_accuracies_are_compared_on_the_same_images() -> None:
    def differences(a: np.ndarray, b: np.ndarray) -> list[Any]:
        return statistics.accuracy_differences({"a": dict(enumerate(a)), "b": dict(enumerate(b)) | {7: ~b[0]}})

    a, b = np.ones((2, 50), bool), np.ones((2, 50), bool)
    assert differences(a, b)[0] == {
        "a": "a",
        "b": "b",
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "only_a": 0,
        "only_b": 0,
    }
    b[0, :20] = False
    a[1, :4] = False
    row = differences(a, b)[0]
    assert (row["only_a"], row["only_b"], row["difference"]) == (20, 4, 0.16)
    # By Clopper and Pearson's interval of 20 of 24 (0.6262 to 0.9526), and 24 of 100 predictions that differ.
    assert (row["low"], row["high"]) == pytest.approx((0.24 * (2 * 0.6262 - 1), 0.24 * (2 * 0.9526 - 1)), abs=1e-4)


def test_an_image_counts_as_agreed_only_if_all_agree_with_every_seed() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]]
    other = np.eye(3)[[0, 1, 2, 1]]
    third = np.eye(3)[[0, 2, 2, 0]]
    assert collect.agreement({"a": {1: logits, 2: logits}, "b": {1: logits, 2: logits}}) == {"agree": 4, "images": 4}
    assert collect.agreement({"a": {1: logits, 2: logits}, "b": {1: other, 2: third}}) == {"agree": 2, "images": 4}
    assert collect.agreement({"a": {1: logits, 2: other}, "b": {2: other}}) == {"agree": 4, "images": 4}
    assert collect.agreement({"a": {1: logits}, "b": {2: logits}}) is None
    assert collect.agreement({"a": {1: logits}}) is None


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_contains_the_accuracy(seen: tuple[int, int]) -> None:
    correct, n = seen
    low, high = statistics.wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


def test_disputed_images_have_different_predictions() -> None:
    a = np.array([[5.0, 0, 0], [0, 5, 0], [0, 1, 2], [3, 0, 0]])
    b = np.array([[5.0, 0, 0], [0, 5, 0], [0, 2, 1], [0, 0, 9]])
    found = disagreements.find_digits({"a": a, "b": b}, np.array([0, 1, 1, 0]))
    assert found["disputed"] == 2
    assert [d["index"] for d in found["disagree"]] == [2, 3]  # the closer one first
    assert found["disagree"][0] == {"index": 2, "label": 1, "answers": {"a": 2, "b": 1}}
    assert found["hardest"][0]["index"] == 3
