"""The stages of a comparison of two models, with sides in NumPy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.porting import stages
from compare.porting.case import Case
from compare.porting.conventions import adam_update
from compare.porting.request import Request
from compare.porting.result import DiffResult, Explanation
from minigrad.runs import UserError

from .fake_side import FakeModel, FakeSide, relu

LEFT = FakeModel()
RIGHT = FakeModel("keras", names=("dense", "norm", "relu", "dense_1"), seed=1)
BIASED = replace(RIGHT, momentum=0.01, unbiased=False)


def compare(right: FakeModel, left: FakeModel = LEFT, **options: Any) -> tuple[DiffResult, list[Case]]:
    """Compare two models, and return the result and the cases that were to be explained."""
    cases: list[Case] = []
    out = options.pop("out", None)

    def explain(case: Case) -> Explanation | None:
        cases.append(case)
        return Explanation(*(layer.name if layer else "" for layer in (case.left, case.right)), "mistake", case.tensor)

    request = Request("torch:a.py:f", "keras:b.py:f", **{"copy_weights": "left", **options})
    models = {"left": left, "right": right}
    result = stages.run(request, lambda name, dtype: FakeSide(models[name], dtype), explain, out=out)  # type: ignore[arg-type, return-value]
    return result, cases


def verdicts(result: DiffResult) -> dict[str, str]:
    return {stage.stage: stage.verdict for stage in result.stages}


def test_copied_weights_make_equal_models_equal_in_both_data_types(tmp_path: Path) -> None:
    result, cases = compare(RIGHT, steps=2, out=tmp_path)
    assert result.equal
    assert not cases
    assert set(verdicts(result).values()) == {"equal"}
    assert {(d.dtype, d.mode) for d in result.differences if d.stage == "forward"} == {
        (dtype, mode) for dtype in ("float64", "float32") for mode in ("eval", "train")
    }
    single = [d for d in result.differences if d.dtype == "float32" and d.stage == "backward"]
    assert all(0 < d.tolerance < 1e-3 for d in single)
    assert result.weights_file == str(tmp_path / "ported.weights.h5")
    assert json.loads(json.dumps(result.as_dict()))["first"] is None


def test_weights_that_differ_are_reported_first_and_the_outputs_as_a_consequence() -> None:
    result, cases = compare(RIGHT, copy_weights="none")
    assert result.stage == "weights"
    assert result.first is not None
    assert (result.first.left, result.first.right, result.first.tensor) == ("fc1", "dense", "weight")
    assert {case.stage for case in cases} == {"weights"}  # an output that differs because of its weights is no mistake
    by_stage = {stage.stage: stage for stage in result.stages}
    assert "The weights differ first" in by_stage["forward"].sentence
    assert by_stage["backward"].verdict == by_stage["steps"].verdict == "skipped"


def test_free_mode_explains_the_first_layer_that_differs() -> None:
    result, cases = compare(replace(RIGHT, activation=np.tanh, gain=2.0))
    assert result.first is not None
    assert (result.first.left, result.first.tensor) == ("act", "output")
    assert [case.left.name for case in cases if case.left] == ["act"]
    np.testing.assert_allclose(cases[0].actual, np.tanh(cases[0].inputs[0]))
    np.testing.assert_allclose(cases[0].expected, relu(cases[0].inputs[0]))
    np.testing.assert_array_equal(cases[0].left_weights.keys(), [])


def test_single_step_mode_reports_every_mistake_on_its_own() -> None:
    result, cases = compare(replace(RIGHT, activation=np.tanh, gain=2.0), mode="single-step")
    different = [(d.left, d.mode) for d in result.differences if not d.equal]
    assert different == [("act", "eval"), ("fc2", "eval"), ("act", "train"), ("fc2", "train")]
    assert [e.left for e in result.explanations] == ["act", "fc2"]  # each is explained once, not per mode
    np.testing.assert_allclose(cases[1].actual, 2 * cases[1].expected)


@pytest.mark.parametrize("mode", ["free", "single-step"])
def test_a_difference_between_the_layers_is_found_at_the_input_of_the_next(mode: str) -> None:
    result, cases = compare(replace(RIGHT, scale=2.0), mode=mode)
    assert result.first is not None
    assert (result.first.left, result.first.tensor) == ("fc1", "input")
    assert (cases[0].tensor, cases[0].mode) == ("input", "eval")
    np.testing.assert_allclose(cases[0].actual, 2 * cases[0].before)  # type: ignore[operator]
    assert verdicts(result)["forward"] == "different"


def test_a_missing_bias_is_a_difference_of_the_structure() -> None:
    result, _ = compare(replace(RIGHT, bias=False))
    assert result.stage == "structure"
    assert result.explanations[0].mistake == "missing bias"
    assert "`fc1` (left) has a bias, but its partner `dense` (right) has none" in result.explanations[0].sentence


def test_a_loss_that_differs_is_explained_with_the_recordings_of_both_sides() -> None:
    result, cases = compare(replace(RIGHT, reduction="sum"), steps=2)
    assert verdicts(result) == {
        "structure": "equal",
        "weights": "equal",
        "forward": "equal",
        "backward": "different",
        "steps": "skipped",
    }
    case = cases[0]
    assert (case.tensor, case.stage, len(cases)) == ("loss", "backward", 1)
    assert case.other["loss 1"] == pytest.approx(8 * case.reference["loss 1"])
    np.testing.assert_allclose(case.other["gradient fc1.bias 1"], 8 * case.reference["gradient fc1.bias 1"])
    assert {"output act", "weight fc1.weight 0"} <= case.reference.keys()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_conventions_are_notes_if_they_predict_the_numbers(optimizer: str) -> None:
    result, cases = compare(BIASED, steps=3, optimizer=optimizer)
    assert result.equal, result.stages
    assert not cases
    notes = " ".join(result.stages[-1].notes)
    assert (
        "momentum 0.1 and unbiased running variance on the left, momentum 0.01 and biased on the right, in `stats`."
        in notes
    )
    assert ("Adam by convention" in notes) == (optimizer == "adam")


def test_the_rounding_of_the_betas_of_keras_is_a_convention_and_another_epsilon_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In float32, 1 - beta2 is 1.3e-5 smaller than 0.001 in Keras, which exceeds the tolerance of a bias that starts at 0."""
    weights = FakeModel.weights
    monkeypatch.setattr(
        FakeModel, "weights", lambda model: {k: w * (0.0 if "bias" in k else 1.0) for k, w in weights(model).items()}
    )
    plain, other = BIASED, replace(BIASED, epsilon=2e-7)
    assert verdicts(compare(plain, steps=1, optimizer="adam")[0])["steps"] == "equal"
    result, cases = compare(other, steps=1, optimizer="adam")
    assert verdicts(result)["steps"] == "different"
    assert cases[0].tensor == "weight after step 1"


@pytest.mark.parametrize("step", [1, 2, 9, 20])
def test_the_update_of_keras_adam_has_its_rounded_powers(step: int) -> None:
    """The ratio of the updates of a constant gradient in float32 and float64, as measured with Keras on all its backends."""
    gradients = {k: np.ones(1) for k in range(1, step + 1)}
    single, double = (adam_update("keras", gradients, step, 1.0, dtype) for dtype in ("float32", "float64"))  # type: ignore[arg-type]
    measured = {1: -6.7e-6, 2: -10.1e-6, 9: -8.0e-6, 20: -7.2e-6}[step]
    assert (single / double).item() - 1 == pytest.approx(measured, abs=2e-7)
    assert adam_update("torch", gradients, step, 1.0, "float32") == adam_update("torch", gradients, step, 1.0)


def test_a_difference_beyond_the_convention_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    track = FakeSide._track

    def wrong(side: FakeSide, x: np.ndarray) -> None:
        track(side, x * (1 + 1e-6) if side.model.framework == "keras" else x)

    monkeypatch.setattr(FakeSide, "_track", wrong)
    result, cases = compare(BIASED, steps=2)
    assert verdicts(result)["steps"] == "different"
    assert cases[0].tensor.startswith("running_")
    assert not result.stages[-1].notes


def test_data_are_read_from_a_file_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.ones((4, 6)), y=np.array([0, 1, 2, 0]))
    assert compare(RIGHT, data=path)[0].equal
    for arrays, words in (
        ({"x": np.ones((4, 7))}, "inputs of shape (7,); expected (6,)"),
        ({"images": np.ones((4, 6))}, "expected an .npz archive with the arrays inputs"),
        ({"x": np.ones((4, 6)), "y": np.array([0, 1, 2, 3])}, "whole numbers from 0 to 2"),
        ({"x": np.ones((4, 6)), "y": np.array([0])}, "1 targets; expected 4"),
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(UserError) as error:
            compare(RIGHT, data=path)
        assert words in str(error.value)


def test_the_shape_of_the_input_must_be_known() -> None:
    free = replace(LEFT, shape=None)
    with pytest.raises(UserError, match="--input-shape: unknown"):
        compare(replace(RIGHT, shape=None), free)
    with pytest.raises(UserError, match=r"--input-shape: \(7,\); expected \(6,\), which the right model takes"):
        compare(RIGHT, free, input_shape=(7,))
    assert compare(replace(RIGHT, shape=None), free, input_shape=(6,))[0].equal


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "fast"}, "--mode: fast; expected free or single-step"),
        ({"steps": -1}, "--steps: -1"),
        ({"input_shape": (0,)}, "--input-shape: (0,)"),
        ({"left_layout": "NHWC"}, "--left-layout: NHWC; expected channels_first or channels_last"),
        ({"input_shape": (3,), "data": Path("d.npz")}, "expected one of them"),
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        Request("torch:a.py:f", "keras:b.py:f", **options)
    assert words in str(error.value)
