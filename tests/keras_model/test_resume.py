"""Going on with a run: the end is that of one that never stopped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import CNN, Command, answers, contents, epochs, flags, measured, same_run, weights_of

from keras_model import callbacks, cli, state
from minigrad import datasets
from minigrad.runs import Stopped, history, run_command, weights


def interrupt(monkeypatch: pytest.MonkeyPatch, kind: type[Any], method: str, at: int) -> None:
    """Ctrl-C right after the at-th call of a callback's method."""
    real, seen = getattr(kind, method), []

    def call(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        seen.append(1)
        if len(seen) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, method, call)


@pytest.fixture(scope="module")
def part(stopped_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The early-stopping run, interrupted at the end of an epoch; a fresh copy each time."""

    def make(at: int) -> Path:
        out = tmp_path_factory.mktemp("part") / "out"
        with pytest.MonkeyPatch.context() as m:
            interrupt(m, state.ResumableState, "on_epoch_end", at)
            assert run_command(cli.PROG, cli.main, [*stopped_words, "--out", str(out)]) == 130
        return out

    return make


@pytest.fixture(scope="module")
def early(part: Callable[[int], Path]) -> Path:
    """Interrupted after two epochs; to be copied, not changed."""
    return part(2)


def copied(folder: Path) -> str:
    shutil.copytree(folder, "parts")
    return "parts"


def test_whole_epochs_are_kept(early: Path, stopped_run: Path) -> None:
    """Two of them, and no measurement of a run that is not over."""
    assert epochs(early) == epochs(stopped_run)[:2]
    assert not (early / "metrics.json").exists()
    for name in ("weights.safetensors", "model.keras", "checkpoint.safetensors", "metrics.csv", "recipe.yaml"):
        assert (early / name).exists(), name


@pytest.mark.parametrize("before", [1, 4])
def test_what_was_waited_for_is_remembered(
    before: int, stopped_run: Path, stopped_words: list[str], part: Callable[[int], Path], command: Command
) -> None:
    """Interrupted in the middle of a wait, `before` epochs before its end: patience and plateau go on counting."""
    out = str(part(len(epochs(stopped_run)) - before))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_run(out, stopped_run)


def test_model_keras_stays_the_best_epochs(
    stopped_run: Path, stopped_words: list[str], part: Callable[[int], Path], command: Command, hard: str
) -> None:
    """The best epoch is behind the interruption, so no later one may take its place in model.keras."""
    out = str(part(len(epochs(stopped_run)) - 2))
    # A kill may leave half a draft behind, which must not become the model.
    Path(out, ".model.keras").write_bytes(b"half a file")
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    images = datasets.load(hard).test.images
    net = keras.saving.load_model(Path(out, "model.keras"), safe_mode=True)
    np.testing.assert_allclose(net.predict(images, verbose=0), answers(weights_of(out), images), rtol=1e-4, atol=1e-4)


def test_an_early_interruption_costs_nothing_either(
    early: Path, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """And Keras's own log has each epoch once."""
    out = copied(early)
    assert command(*stopped_words, "--out", out, "--resume", "true").status == 0
    same_run(out, stopped_run)
    with Path(out, "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(len(epochs(stopped_run))))


def test_stopped_in_the_middle_of_an_epoch(
    stopped_run: Path, stopped_words: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half epoch is trained again: 90 images make 6 steps, which Keras here runs in one call."""
    with monkeypatch.context() as m:
        interrupt(m, callbacks.RunFolder, "on_train_batch_end", 3)
        result = command(*stopped_words, "--out", "parts")
    assert result.status == 130
    assert "2 whole epochs are kept in parts" in result.err
    assert command(*stopped_words, "--out", "parts", "--resume").status == 0
    same_run("parts", stopped_run)


def test_stopped_between_the_last_epoch_and_the_measurement(
    stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """Nothing is left to train; the best epoch's weights are measured all the same."""
    out = copied(stopped_run)
    Path(out, "metrics.json").unlink()
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_run(out, stopped_run)


@pytest.fixture(scope="module")
def half_saved(easy: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Ctrl-C in the second epoch's model file, before its checkpoint: the folder, and what was said."""
    out = tmp_path_factory.mktemp("half") / "out"
    with pytest.MonkeyPatch.context() as m:
        interrupt(m, callbacks.ModelCheckpoint, "on_epoch_end", 2)
        with pytest.raises(Stopped) as stopped:
            cli.main(["fit", *flags(easy, out)])
    return out, str(stopped.value)


def test_stopped_while_it_saves_does_not_promise_what_it_has_not_kept(half_saved: tuple[Path, str]) -> None:
    """An epoch is kept once the checkpoint holds it, not once its line is printed."""
    assert half_saved[1].startswith("1 whole epochs are kept")


def test_an_epoch_trained_again_is_logged_once(half_saved: tuple[Path, str], easy: str, command: Command) -> None:
    """In the history, and in the log that Keras appends to."""
    out = copied(half_saved[0])
    assert command("fit", *flags(easy, out), "--resume").status == 0
    assert [row[0] for row in epochs(out)] == [1, 2, 3]
    with Path(out, "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


def test_a_longer_run_goes_on_too(early: Path, stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Only the length of the recipe may change."""
    out = copied(early)
    assert command(*stopped_words, "--out", out, "--resume", "--trainer.max_epochs", "3").status == 0
    assert epochs(out) == epochs(stopped_run)[:3]


def test_a_finished_run_is_left_as_it_is(stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Not a byte of it changes."""
    before = contents(stopped_run)
    result = command(*stopped_words, "--out", str(stopped_run), "--resume")
    assert result.status == 0
    assert "left as it is" in result.out
    assert contents(stopped_run) == before


def test_with_nothing_there_it_starts_afresh(easy: str, command: Command) -> None:
    """So that one command serves a job that may be killed at any time."""
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1"), "--resume").status == 0
    assert measured("out")["epochs"] == 1


@pytest.mark.parametrize(
    ("flag", "value", "before"),
    [
        ("--model.hidden", "[5]", "[64]"),
        ("--model.learning_rate", "0.2", "0.3"),
        ("--seed_everything", "7", "42"),
        ("--data.batch_size", "8", "16"),
    ],
)
def test_another_recipe_is_refused(
    flag: str, value: str, before: str, early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """Naming the key and both values; the run is as it was."""
    kept = contents(early)
    text = refused(*stopped_words, "--out", str(early), "--resume", flag, value)
    for word in ("--resume", flag.removeprefix("--"), value, before):
        assert word in text
    assert contents(early) == kept


def test_a_damaged_checkpoint_is_one_sentence(
    early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """Cut short, of something else, or with other shapes."""
    out = Path(copied(early))
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    arrays, metadata = weights.read(path)
    path.write_bytes(whole[:-3])
    text = refused(*stopped_words, "--out", str(out), "--resume")
    assert "parts/checkpoint.safetensors" in text
    assert "model.weights" not in text, "the user gave --resume, not that key"
    cut = {name: a[:1] for name, a in arrays.items() if a.ndim}
    for other, described in (({"x": np.ones(1)}, metadata), (cut, metadata), (arrays, {}), (arrays, {"state": "{"})):
        weights.write(path, other, described)
        assert "--resume: parts/checkpoint.safetensors" in refused(*stopped_words, "--out", str(out), "--resume")


def test_a_history_shorter_than_the_checkpoint_is_refused(
    early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """Its rows can't be made up."""
    out = Path(copied(early))
    history.write(out / "history.csv", history.read(out / "history.csv")[:1])
    assert "history.csv" in refused(*stopped_words, "--out", str(out), "--resume")


def test_a_cnn_on_moved_images_goes_on_as_if_it_had_never_stopped(
    pixels: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norm's statistics, the schedule, the order and how far each image moves: all to the last bit."""
    words = ("fit", *flags(pixels, "", *CNN, "--data.validation_size", "1000", "--model.dropout", "0.3"))
    assert command(*words, "--out", "whole").status == 0
    with monkeypatch.context() as m:
        interrupt(m, state.ResumableState, "on_epoch_end", 1)
        assert command(*words, "--out", "parts").status == 130
    assert len(epochs("parts")) == 1
    assert command(*words, "--out", "parts", "--resume").status == 0
    same_run("parts", "whole")
