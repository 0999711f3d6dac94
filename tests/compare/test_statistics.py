"""Statistics over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.results import disagreements, statistics

times = st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=12)


def test_a_mean_has_students_interval() -> None:
    # By the table of Student's t: 2.776 at 97.5 % with 4 degrees of freedom.
    low, high = statistics.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=1e-6)


def test_intervals_cover_the_mean_in_95_percent_of_samples() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, (4000, 5))
    inside = [low <= 3.0 <= high for low, high in map(statistics.mean_interval, samples)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval() -> None:
    assert statistics.mean_interval([2.0]) is None
    assert statistics.paired_ratio([2.0], [1.0]) == {
        "ratio": pytest.approx(2.0),
        "low": None,
        "high": None,
        "differs": None,
    }
    assert statistics.paired_difference([0.5], [0.25])["differs"] is None
    assert statistics.unpaired_ratio([2.0], [1.0, 1.1])["differs"] is None


@given(times)
def test_equal_times_show_no_difference(values: list[float]) -> None:
    found = statistics.paired_ratio(values, values)
    assert found["ratio"] == pytest.approx(1)
    assert found["differs"] is False
    assert statistics.paired_difference(values, values)["differs"] is False


@given(times, st.floats(1.5, 100))
def test_a_constant_factor_is_significant(values: list[float], factor: float) -> None:
    found = statistics.paired_ratio([factor * v for v in values], values)
    assert found["ratio"] == pytest.approx(factor)
    assert found["low"] <= found["ratio"] * (1 + 1e-9)
    assert found["differs"] is True


@given(times, times)
def test_swapping_the_sides_inverts_the_ratio(a: list[float], b: list[float]) -> None:
    n = min(len(a), len(b))
    there, back = statistics.paired_ratio(a[:n], b[:n]), statistics.paired_ratio(b[:n], a[:n])
    assert there["ratio"] * back["ratio"] == pytest.approx(1)
    assert there["low"] * back["high"] == pytest.approx(1)
    assert there["differs"] == back["differs"]


def test_pairing_shows_a_difference_smaller_than_the_spread_of_seeds() -> None:
    slow_seeds = [1.0, 2.0, 4.0, 8.0]
    a_little_slower = [1.1 * t for t in slow_seeds]
    assert statistics.paired_ratio(a_little_slower, slow_seeds)["differs"] is True
    assert statistics.unpaired_ratio(a_little_slower, slow_seeds)["differs"] is False


def test_a_ratio_of_unpaired_times_has_welchs_interval() -> None:
    # Of logarithms: means 1 and 2, variances 1 and 4 of three values each; 2.94 degrees of freedom by Welch-Satterthwaite.
    ours, theirs = np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 2.0, 4.0])
    found = statistics.unpaired_ratio(list(ours), list(theirs))
    half = 3.2183 * math.sqrt(1 / 3 + 4 / 3)
    assert found["ratio"] == pytest.approx(math.exp(-1))
    assert math.log(found["low"]) == pytest.approx(-1 - half, rel=1e-3)
    assert math.log(found["high"]) == pytest.approx(-1 + half, rel=1e-3)
    assert statistics.unpaired_ratio([2.0, 2.0], [1.0, 1.0]) == {
        "ratio": pytest.approx(2.0),
        "low": pytest.approx(2.0),
        "high": pytest.approx(2.0),
        "differs": True,
    }


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
