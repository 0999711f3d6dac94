"""`fit`, `test` and `predict`: the files that they write, and the numbers in these files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import Command, answers, complaints, contents, epochs, flags, measured, once, weights_of

from minigrad import datasets, recipes
from minigrad.runs import history, metrics, weights

pytestmark = pytest.mark.usefixtures("_undrawn")

LEFT = {
    *(
        "checkpoint.safetensors",
        "confusion.png",
        "curves.png",
        "history.csv",
        "metrics.csv",
        "metrics.json",
        "mistakes.png",
        "model.keras",
    ),
    *("recipe.yaml", "reliability.png", "tensorboard", "weights.safetensors"),
}
DRAWN = {"confusion.png", "curves.png", "mistakes.png", "reliability.png"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


@once
def test_fit_writes_a_run_folder(simple_run: Path) -> None:
    """These files and no others, such as drafts."""
    assert {p.name for p in simple_run.iterdir()} == {".files.json", *LEFT}
    listed = set(json.loads((simple_run / ".files.json").read_text())["files"])
    assert listed == {p.relative_to(simple_run).as_posix() for p in simple_run.rglob("*") if p.is_file()} - {
        ".files.json"
    }
    assert (simple_run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_it_learns(simple_run: Path) -> None:
    """The accuracy is far above chance, which is 0.1, and the metrics are consistent."""
    found = measured(simple_run)
    assert found["test_accuracy"] > 0.7
    assert found["test_accuracy"] == found["test_correct"] / found["test_images"]
    assert (found["test_images"], found["epochs"], found["parameters"]) == (400, 3, 144 * 10 + 10 + 10 * 10 + 10)
    rows = history.read(simple_run / "history.csv")
    assert [e.epoch for e in rows] == [1, 2, 3]
    assert rows[-1].train_loss < rows[0].train_loss
    assert all(e.seconds > 0 for e in rows)


def test_metrics_json_belongs_to_the_weights_file(simple_run: Path, pixels: str) -> None:
    """NumPy computes the same metrics from the weights file."""
    test = datasets.load(pixels, 30, 42).test
    expected = metrics.score(answers(weights_of(simple_run), flat(test.images)), test.labels)
    assert measured(simple_run)["test_correct"] == expected["correct"]
    assert measured(simple_run)["test_loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_validation_figures_are_those_of_the_weights_at_the_end(simple_run: Path, pixels: str) -> None:
    """NumPy computes the last row of history.csv."""
    validation = datasets.load(pixels, 30, 42).validation
    expected = metrics.score(answers(weights_of(simple_run), flat(validation.images)), validation.labels)
    last = history.read(simple_run / "history.csv")[-1]
    assert last.val_accuracy == pytest.approx(expected["accuracy"], abs=1e-6)
    assert last.val_loss == pytest.approx(expected["loss"], rel=1e-5)


def test_model_keras_is_the_same_network(simple_run: Path, pixels: str) -> None:
    """It loads in safe mode, accepts raw pixels, and has the outputs of the weights file."""
    net = keras.saving.load_model(simple_run / "model.keras", safe_mode=True)
    images = datasets.load(pixels).test.images
    np.testing.assert_allclose(
        net.predict(images, verbose=0), answers(weights_of(simple_run), flat(images)), atol=1e-4, rtol=1e-4
    )


def test_metrics_csv_agrees_with_the_history(simple_run: Path) -> None:
    """Keras's own log counts epochs from 0."""
    logged, ours = rows_of(simple_run / "metrics.csv"), history.read(simple_run / "history.csv")
    assert [int(row["epoch"]) + 1 for row in logged] == [e.epoch for e in ours]
    for row, e in zip(logged, ours, strict=True):
        for theirs, name in (("loss", "train_loss"), ("val_loss", "val_loss"), ("val_accuracy", "val_accuracy")):
            assert float(row[theirs]) == pytest.approx(getattr(e, name), rel=1e-6)


def test_tensorboard_has_event_files(simple_run: Path) -> None:
    """Both for training and for validation."""
    for part in ("train", "validation"):
        (events,) = (simple_run / "tensorboard" / part).glob("events.out.tfevents.*")
        assert events.stat().st_size > 0


@once
def test_without_tensorboard_there_are_none(stopped_run: Path) -> None:
    """TensorBoard is off by default; and vectors can't be shown as pictures of mistakes."""
    assert {p.name for p in stopped_run.iterdir()} - {".files.json"} == LEFT - {"tensorboard", "mistakes.png"}


@once
def test_the_weights_file_describes_its_network(simple_run: Path) -> None:
    """Recipe, input shape, classes and input scale."""
    described = json.loads(weights.read(simple_run / "weights.safetensors")[1]["minigrad"])
    assert (described["input_shape"], described["classes"], described["input_scale"]) == ([12, 12], 10, "1/255")
    assert described["recipe"] == recipes.load(str(simple_run / "recipe.yaml")).as_dict()


def test_the_history_contains_the_rate_of_the_recipe(simple_run: Path) -> None:
    """0.1, as minigrad writes it, not 0.10000000149."""
    assert [row[-1] for row in epochs(simple_run)] == [0.1] * 3


@once
@pytest.mark.parametrize("name", recipes.names())
def test_each_built_in_recipe_runs_unchanged(name: str, pixels: str, command: Command) -> None:
    """Only the data and the number of epochs differ from the built-in recipe."""
    words = ("--data.path", pixels, "--data.validation_size", "64", "--trainer.max_epochs", "1")
    result = command("fit", "--config", name, *words, "--out", "out")
    assert (result.status, complaints(result.err)) == (0, [])
    assert result.out.strip().endswith(f"{metrics.test_accuracy_text(measured('out'))}, in out")
    left, built_in = recipes.load("out/recipe.yaml"), recipes.load(name)
    assert left.model == built_in.model
    assert left.data.batch_size == built_in.data.batch_size


@once
def test_the_printed_configuration_is_accepted(easy: str, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """All flags are written into one file, and nothing is trained."""
    words = ("--model.hidden", "[7, 5]", "--model.learning_rate", "1e-05", "--trainer.max_epochs", "0")
    with pytest.raises(SystemExit) as done:
        command("fit", *flags(easy, "out", *words), "--print_config")
    assert not done.value.code
    Path("printed.yaml").write_text(capsys.readouterr().out)
    assert not Path("out").exists()
    assert command("fit", "--config", "printed.yaml").status == 0
    left = recipes.load("out/recipe.yaml")
    assert (left.model.hidden, left.model.learning_rate, left.data.path) == ([7, 5], 1e-05, easy)


def test_the_recipe_of_a_run_is_accepted(simple_run: Path, command: Command) -> None:
    """The run is repeated to the last bit."""
    assert command("fit", "--config", str(simple_run / "recipe.yaml"), "--out", "again").status == 0
    assert Path("again/weights.safetensors").read_bytes() == (simple_run / "weights.safetensors").read_bytes()
    assert epochs("again") == epochs(simple_run)


def test_without_epochs_the_weights_are_tested(simple_run: Path, pixels: str, command: Command) -> None:
    """With max_epochs 0 the weights stay unchanged."""
    start = ("--model.weights", str(simple_run / "weights.safetensors"), "--trainer.max_epochs", "0")
    assert command("fit", *flags(pixels, "out", *start)).status == 0
    assert measured("out")["test_correct"] == measured(simple_run)["test_correct"]
    for name, array in weights_of(simple_run).items():
        np.testing.assert_array_equal(weights_of("out")[name], array)


@once
def test_validate_prints_the_metrics_of_the_last_epoch_and_writes_nothing(
    simple_run: Path, pixels: str, command: Command
) -> None:
    last, before = history.read(simple_run / "history.csv")[-1], contents(simple_run)
    assert last.val_loss is not None
    assert last.val_accuracy is not None
    for name in ("weights.safetensors", "model.keras"):
        words = ("--model.weights", str(simple_run / name), "--config", str(simple_run / "recipe.yaml"))
        result = command("validate", *words[2:], *words[:2])
        assert (result.status, complaints(result.err)) == (0, [])
        accuracy = f"{100 * last.val_accuracy:.2f} % ({round(30 * last.val_accuracy)} of 30)"
        assert result.out == f"validation loss {last.val_loss:.4f}, validation accuracy {accuracy}\n"
    assert list(Path().glob("*")) == []
    assert contents(simple_run) == before


@once
def test_validate_needs_validation_images(simple_run: Path, pixels: str, refused: Callable[..., str]) -> None:
    words = ("--data.path", pixels, "--data.validation_size", "0")
    text = refused("validate", "--model.weights", str(simple_run / "weights.safetensors"), *words)
    assert text == "data.validation_size: 0 holds out none of 1600 training images; expected 1 or more"


@once
def test_it_runs_without_validation(easy: str, command: Command) -> None:
    """The history has empty cells, and the training loss is monitored."""
    assert command("fit", *flags(easy, "out", "--data.validation_size", "0", "--trainer.max_epochs", "2")).status == 0
    assert [row[3:5] for row in epochs("out")] == [(None, None)] * 2
    assert Path("out/model.keras").exists()


@once
def test_overwrite_removes_the_earlier_run(easy: str, command: Command) -> None:
    """Files of the earlier run are removed, including those of TensorBoard; the user's files are kept."""
    short = ("--trainer.max_epochs", "1")
    assert command("fit", *flags(easy, "out", *short, "--tensorboard")).status == 0
    mine = {"mine.txt", "paper.onnx", "old.keras", "best.weights.h5", "predictions.csv"}
    for name in (*mine, *DRAWN):
        Path("out", name).write_text("of the earlier run")
    assert command("fit", *flags(easy, "out", *short, "--overwrite")).status == 0
    assert {p.name for p in Path("out").iterdir()} - {"tensorboard"} == (
        LEFT - {"tensorboard"} - DRAWN | mine | {".files.json"}
    )
    assert not list(Path("out").rglob("events.out.*"))
    assert len(rows_of(Path("out/metrics.csv"))) == 1


# test and predict.


def test_test_measures_the_weights_given(simple_run: Path, pixels: str, command: Command) -> None:
    """The metrics are those of the run that wrote the weights."""
    result = command("test", *words_for(simple_run, pixels))
    assert (result.status, complaints(result.err)) == (0, [])
    for name in ("test_accuracy", "test_loss", "test_correct", "test_images", "parameters"):
        assert measured("out")[name] == measured(simple_run)[name]
    assert metrics.test_accuracy_text(measured("out")) in result.out


def words_for(run: Path, data: str) -> list[str]:
    return [
        "--model.weights",
        str(run / "weights.safetensors"),
        "--data.path",
        data,
        "--data.validation_size",
        "30",
        "--out",
        "out",
    ]


def test_predict_writes_a_row_per_image(simple_run: Path, pixels: str, command: Command) -> None:
    """Index, label, and probabilities that sum to 1."""
    assert command("predict", *words_for(simple_run, pixels)).status == 0
    rows = rows_of(Path("out/predictions.csv"))
    assert list(rows[0]) == ["index", "label", *(f"probability_{k}" for k in range(10))]
    assert [int(row["index"]) for row in rows] == list(range(400))
    found = np.array([[float(row[f"probability_{k}"]) for k in range(10)] for row in rows])
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    labels = np.array([int(row["label"]) for row in rows])
    np.testing.assert_array_equal(found.argmax(1), labels)
    test = datasets.load(pixels).test
    assert (labels == test.labels).sum() == measured(simple_run)["test_correct"]
    expected = np.exp(metrics.log_softmax(answers(weights_of(simple_run), flat(test.images))))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@once
def test_predict_has_the_options_of_all_packages(simple_run: Path, pixels: str, command: Command) -> None:
    """The inputs are saved, and the columns are Kaggle's."""
    options = ("--save_inputs", "--format", "kaggle", "--preprocess", "none")
    assert command("predict", *words_for(simple_run, pixels), *options).status == 0
    test = datasets.load(pixels).test
    with np.load("out/inputs.npz") as saved:
        np.testing.assert_array_equal(saved["images"], test.images)
    rows = rows_of(Path("out/predictions.csv"))
    assert list(rows[0]) == ["ImageId", "Label"]
    assert [int(row["ImageId"]) for row in rows] == list(range(1, 401))


@once
def test_an_untrained_network_is_reported(easy: str, command: Command) -> None:
    """A message says that the network is untrained."""
    result = command("test", "--data.path", easy, "--data.validation_size", "30", "--out", "out")
    assert result.status == 0
    assert "untrained" in result.out


@once
def test_predictions_are_not_overwritten(
    simple_run: Path, pixels: str, command: Command, refused: Callable[..., str]
) -> None:
    """Only with --overwrite."""
    assert command("predict", *words_for(simple_run, pixels)).status == 0
    Path("out/predictions.csv").write_text("dear")
    assert "predictions.csv" in refused("predict", *words_for(simple_run, pixels))
    assert Path("out/predictions.csv").read_text() == "dear"
    assert command("predict", *words_for(simple_run, pixels), "--overwrite").status == 0
    assert Path("out/predictions.csv").read_text() != "dear"


# Early stopping and the plateau.


def test_early_stopping_ends_five_epochs_after_the_best(stopped_run: Path) -> None:
    """That is long before the last epoch of the recipe."""
    losses = [row[3] for row in epochs(stopped_run)]
    assert len(losses) == int(np.argmin(losses)) + 1 + 5 < 40
    assert measured(stopped_run)["epochs"] == len(losses)


def test_early_stopping_keeps_the_best_epochs_weights_everywhere(stopped_run: Path, hard: str) -> None:
    """weights.safetensors, model.keras and metrics.json belong to the best epoch."""
    data = datasets.load(hard, 30, 42)
    arrays, net = weights_of(stopped_run), keras.saving.load_model(stopped_run / "model.keras", safe_mode=True)
    best: Any = min(history.read(stopped_run / "history.csv"), key=lambda e: e.val_loss or 0)
    for logits in (answers(arrays, data.validation.images), net.predict(data.validation.images, verbose=0)):
        seen = metrics.score(logits, data.validation.labels)
        assert seen["loss"] == pytest.approx(best.val_loss, rel=1e-5)
        assert seen["accuracy"] == pytest.approx(best.val_accuracy, abs=1e-6)
    tested = metrics.score(answers(arrays, data.test.images), data.test.labels)
    assert measured(stopped_run)["test_loss"] == pytest.approx(tested["loss"], rel=1e-5)
    assert measured(stopped_run)["test_correct"] == tested["correct"]


def test_the_plateau_lowers_the_rate(stopped_run: Path) -> None:
    """By a factor of 10 after three epochs without a lower loss; the history contains the rate of each epoch."""
    rows = epochs(stopped_run)
    rate, best, bad, expected = 0.3, np.inf, 0, []
    for row in rows:
        expected.append(rate)
        best, bad = (row[3], 0) if row[3] < best - 1e-4 else (best, bad + 1)
        if bad > 2:
            rate, bad = rate * 0.1, 0
    np.testing.assert_allclose([row[-1] for row in rows], expected, rtol=1e-5)
    assert expected[-1] < 0.1, "a constant rate would make this test trivial"
