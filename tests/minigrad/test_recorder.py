"""RunRecorder: the files of a run, which epoch's weights are kept, and what a NaN is blamed on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from minigrad_helpers import sentence_of

from minigrad import recipes
from minigrad.recipes import EarlyStopping, Model, Recipe
from minigrad.recipes.schema import Monitor
from minigrad.runs import Epoch, NetworkSpec, RunRecorder, calibration, curves, folder, history, metrics, weights

OUT = Path("out")
LABELS = np.array([0, 1, 2])
LOGITS = np.eye(3, dtype=np.float32)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    OUT.mkdir()


def recorder(patience: int | None = None, monitor: Monitor = "val_loss", **model: object) -> RunRecorder:
    recipe = Recipe(model=Model(hidden=[], **model), early_stopping=EarlyStopping(patience, monitor))
    return RunRecorder(OUT, NetworkSpec(recipe, (2,), 3, 1.0), "title")


def add(run: RunRecorder, *losses: float | None, write: bool = True) -> None:
    """Add an epoch per validation loss, whose weights are all equal to the epoch's number."""
    for loss in losses:
        number = len(run.history) + 1
        arrays = {name: np.full(shape, number, np.float32) for name, shape in run.spec.shapes().items()}
        epoch = Epoch(number, 1.0, 0.5, loss, None if loss is None else 0.5, 0.1, 1.0)
        run.add_epoch(epoch, lambda arrays=arrays: arrays, write=write)


def kept() -> int:
    """The epoch whose weights the file holds."""
    return int(weights.load(OUT / folder.WEIGHTS)[1]["output.bias"][0])


@pytest.mark.parametrize(
    ("patience", "losses", "expected"),
    [(None, (0.5, 0.3, 0.4), 3), (2, (0.5, 0.3, 0.4), 2), (2, (0.5, 0.5), 1), (None, (None, None), 2)],
)
def test_the_weights_of_the_last_or_the_best_epoch_are_kept(
    patience: int | None, losses: tuple[float | None, ...], expected: int
) -> None:
    run = recorder(patience)
    add(run, *losses)
    assert kept() == expected
    assert [e.val_loss for e in history.read(OUT / folder.HISTORY)] == list(losses)


def test_the_first_of_the_epochs_with_the_best_accuracy_is_kept() -> None:
    run = recorder(2, "val_accuracy")
    arrays = [{name: np.full(shape, i, np.float32) for name, shape in run.spec.shapes().items()} for i in range(5)]
    for i, (loss, accuracy) in enumerate([(0.9, 0.5), (0.8, 0.7), (0.1, 0.7), (0.5, 0.6)], start=1):
        run.add_epoch(Epoch(i, 1.0, 0.5, loss, accuracy, 0.1, 1.0), lambda i=i: arrays[i])
    assert kept() == 2


def test_a_process_that_writes_no_files_still_keeps_the_history() -> None:
    run = recorder()
    add(run, 0.5, write=False)
    assert len(run.history) == 1
    assert list(OUT.iterdir()) == []


def test_finish_writes_the_kept_weights_all_epochs_and_the_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Path, int, str]] = []
    monkeypatch.setattr(curves, "draw", lambda path, epochs, title: drawn.append((path, len(epochs), title)))
    run = recorder()
    add(run, 0.5)
    (OUT / folder.HISTORY).unlink()
    run.finish({name: np.full(shape, 7, np.float32) for name, shape in run.spec.shapes().items()})
    assert kept() == 7
    assert len(history.read(OUT / folder.HISTORY)) == 1
    assert drawn == [(OUT / folder.CURVES, 1, "title")]


def test_without_an_epoch_there_are_no_curves() -> None:
    run = recorder()
    run.finish({name: np.ones(shape, np.float32) for name, shape in run.spec.shapes().items()})
    assert sorted(p.name for p in OUT.iterdir()) == ["history.csv", "weights.safetensors"]


def test_the_recipe_is_written_with_its_extra_settings_or_with_keys() -> None:
    run = recorder()
    run.write_recipe({"ema": 0.9})
    assert recipes.read_trained(OUT / folder.RECIPE) == (run.spec.recipe, {"ema": 0.9})
    spec = NetworkSpec(run.spec.recipe, (2,), 3, 1.0, {"trainer.gradient_clip_val": 1.0})
    RunRecorder(OUT, spec, "").write_recipe()
    assert recipes.read_trained(OUT / folder.RECIPE) == (spec.recipe, spec.extra)


def test_test_writes_metrics_and_returns_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    run = recorder()
    add(run, 0.5)
    result = run.test(LOGITS, LABELS, 9)
    assert json.loads((OUT / folder.METRICS).read_text()) == result.metrics
    bins = calibration.reliability(LOGITS, LABELS)
    assert result.metrics | {"test_loss": 0} == {
        **metrics.test_metrics(LOGITS, LABELS),
        "test_ece": calibration.expected_calibration_error(bins),
        "test_calibration": [b._asdict() for b in bins],
        "test_loss": 0,
        "parameters": 9,
        "epochs": 1,
    }
    assert (result.history, result.out) == (run.history, OUT)
    assert (OUT / folder.RELIABILITY).read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == "test accuracy 100.00 % (3 of 3), in out\n"


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused_before_anything_is_written(loss: float) -> None:
    run = recorder(learning_rate=0.25)
    assert "model.learning_rate: 0.25" in sentence_of(lambda: add(run, loss))
    assert list(OUT.iterdir()) == []
    assert run.history == []


def test_in_the_first_epoch_the_starting_weights_may_be_the_cause() -> None:
    run = recorder(weights="big.safetensors")
    assert "big.safetensors" in sentence_of(lambda: run.check_loss(float("nan"), 1))
    assert "big.safetensors" not in sentence_of(lambda: run.check_loss(float("nan"), 2))


def test_outputs_that_are_not_finite_are_blamed_on_what_produced_them() -> None:
    bad = LOGITS * np.nan
    trained, loaded, untrained = recorder(), recorder(weights="big.safetensors"), recorder()
    add(trained, 0.5)
    assert "model.learning_rate: 0.1" in sentence_of(lambda: trained.test(bad, LABELS, 9))
    assert "model.weights: big.safetensors" in sentence_of(lambda: loaded.test(bad, LABELS, 9))
    assert "data.path: " in sentence_of(lambda: untrained.test(bad, LABELS, 9))
    assert not (OUT / folder.METRICS).exists()
