"""Comparing recordings: limits, verdict, and the first divergence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare.parity import comparison, tolerances
from compare.parity.recorder import Recorder
from compare.parity.recording import is_weight_step
from compare.parity.tolerances import Tolerances
from compare.results.schema import DTYPES
from minigrad import recipes

DOUBLE = Tolerances("float64", 1e-12)


def record(path: Path, steps: int = 8, **changes: float) -> Path:
    """Write a recording of `steps` steps; `loss_N`, `weight_N` or `gradient_N` is added to the value at step N."""
    recorder = Recorder(steps)
    for step in range(1, steps + 1):
        loss, weight, gradient = (changes.get(f"{what}_{step}", 0.0) for what in ("loss", "weight", "gradient"))
        weights = {"output.weight": np.full((2, 3), step + weight), "output.bias": np.zeros(2)}
        gradients = {"output.weight": np.full((2, 3), 1 / step + gradient), "output.bias": np.zeros(2)}
        recorder.after_steps(1, lambda v=1 / step + loss: v, lambda v=weights: v, lambda v=gradients: v)
    recorder.save(path)
    return path


def held(tmp_path: Path, **changes: float) -> dict:
    return comparison.compare(record(tmp_path / "a.npz"), record(tmp_path / "b.npz", **changes), DOUBLE)


def test_equal_recordings_pass_with_difference_0(tmp_path: Path) -> None:
    cell = held(tmp_path)
    assert cell["passed"] is True
    assert cell["max_abs_diff"] == 0
    assert cell["steps"] == 8
    assert cell["first"] is None


def test_a_difference_within_the_limit_passes_and_is_reported(tmp_path: Path) -> None:
    cell = held(tmp_path, loss_6=5e-13)
    assert cell["passed"] is True
    assert cell["max_abs_diff"] == pytest.approx(5e-13, rel=1e-3)
    assert cell["share"] == cell["share_by_step"][7] == pytest.approx(0.5, rel=1e-3)
    assert cell["limit"] == 1e-12


def test_the_limit_is_that_of_the_tensor_with_the_largest_share(tmp_path: Path) -> None:
    by_key = {"loss 6": 1e-3, "weight output.weight 8": 1e-6}
    allowed = Tolerances("float32", 1e-9, by_key)
    files = record(tmp_path / "a.npz"), record(tmp_path / "b.npz", loss_6=1e-4, weight_8=5e-7)
    cell = comparison.compare(*files, allowed)
    assert cell["passed"] is True
    assert (cell["limit"], cell["share"]) == (1e-6, pytest.approx(0.5, rel=1e-3))
    assert cell["max_abs_diff"] == pytest.approx(1e-4, rel=1e-3)
    assert {step: share for step, share in cell["share_by_step"].items() if share} == {
        7: pytest.approx(0.1, rel=1e-3),  # the loss of step 6 belongs to the next step whose weights are recorded
        8: cell["share"],
    }
    loose = comparison.compare(files[0], record(tmp_path / "b.npz", loss_6=2e-4), allowed)
    nan = comparison.compare(files[0], record(tmp_path / "b.npz", loss_6=float("nan")), allowed)
    assert (nan["passed"], nan["share"], nan["limit"]) == (False, None, 1e-3)
    summaries = [
        comparison.summarise({"a": {"float64": loose, "float32": one}, "b": {"float64": cell, "float32": loose}}, "ab")
        for one in (cell, nan)
    ]
    assert [told["float32"]["limit"] for told in summaries] == [1e-6, 1e-3]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"loss_7": 1e-9}, "step 7, loss, the batch or its forward pass: differs by 1e-09; the tolerance is 1e-12."),
        (
            {"gradient_2": 1e-3, "weight_2": 1e-4},
            "step 2, gradient of output.weight, backward of linear: 0.501 at [0, 0] where minigrad has 0.5.",
        ),
        (
            {"weight_8": 0.5, "loss_3": 1e-6},
            "step 3, loss, the batch or its forward pass: differs by 1e-06; the tolerance is 1e-12.",
        ),
        (
            {"weight_8": 0.5},
            "step 8, weight of output.weight, the optimizer's update: 8.5 at [0, 0] where minigrad has 8.",
        ),
        ({"loss_4": float("nan")}, "step 4, loss, the batch or its forward pass: nan where minigrad has 0.25."),
        (
            {"weight_4": float("inf")},
            "step 4, weight of output.weight, the optimizer's update: inf at [0, 0] where minigrad has 4.",
        ),
    ],
)
def test_the_first_divergence_is_named(tmp_path: Path, changes: dict[str, float], first: str) -> None:
    cell = held(tmp_path, **changes)
    assert cell["passed"] is False
    assert cell["first"] == first


def test_a_missing_step_is_a_divergence(tmp_path: Path) -> None:
    cell = comparison.compare(record(tmp_path / "a.npz"), record(tmp_path / "b.npz", steps=7), DOUBLE)
    assert cell["passed"] is False
    assert cell["first"] == "ran 7 steps; expected 8."


def test_only_counted_contenders_enter_the_verdict(tmp_path: Path) -> None:
    good, bad = ({d: held(tmp_path, **c) for d in DTYPES} for c in ({"loss_1": 1e-14}, {"loss_1": 1.0}))
    rows = {"torch": good, "keras_torch": bad}
    assert comparison.summarise(rows, {"torch", "keras_torch"})["passed"] is False
    told = comparison.summarise(rows, {"torch"})
    assert told["passed"] is True
    assert told["float64"]["max_abs_diff"] == pytest.approx(1e-14, rel=0.1)
    assert told["contenders"]["keras_torch"]["float64"]["passed"] is False
    assert comparison.summarise({}, set())["passed"] is None


def test_the_float64_limit_is_wider_for_batch_norm() -> None:
    assert tolerances.double(recipes.load("advanced")).of("loss 1") == 1e-12
    recipe = recipes.Recipe.from_dict({"model": {"batch_norm": True}})
    assert tolerances.double(recipe).of("loss 1") == 1e-10


@given(st.integers(1, 10_000))
def test_few_steps_are_recorded_and_the_last_one_always(total: int) -> None:
    looked = [step for step in range(1, total + 1) if is_weight_step(step, total)]
    assert looked[-1] == total
    assert looked[: min(5, total)] == list(range(1, min(5, total) + 1))
    assert len(looked) <= 5 + 14
