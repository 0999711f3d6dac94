"""A resumed run ends as a run that was never interrupted."""

from __future__ import annotations

import csv
import gc
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import (
    CNN,
    MOST_STEPS,
    OVERFIT,
    PATIENT,
    Command,
    at,
    contents,
    epochs,
    flags,
    measured,
    moments,
    once,
    same_model,
    same_run,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_model import callbacks, cli, resume, training
from minigrad import datasets, recipes
from minigrad.runs import Stopped, history, run_command, weights

pytestmark = pytest.mark.usefixtures("_undrawn")


def interrupt(monkeypatch: pytest.MonkeyPatch, kind: type[Any], method: str, at: int) -> None:
    """Raise Ctrl-C after the at-th call of a callback's method."""
    real, seen = getattr(kind, method), []

    def call(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        seen.append(1)
        if len(seen) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, method, call)


@pytest.fixture(scope="module")
def early(stopped_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with early stopping, interrupted after two epochs; tests copy it."""
    out = tmp_path_factory.mktemp("early") / "out"
    with pytest.MonkeyPatch.context() as m:
        interrupt(m, resume.ResumableState, "on_epoch_end", 2)
        assert run_command(cli.PROG, cli.main, [*stopped_words, "--out", str(out)]) == 130
    return out


def copied(folder: Path) -> str:
    shutil.copytree(folder, "parts")
    return "parts"


def test_whole_epochs_are_kept(early: Path, stopped_run: Path) -> None:
    """Two epochs, and no test metrics, since the run has not ended."""
    assert epochs(early) == epochs(stopped_run)[:2]
    assert not (early / "metrics.json").exists()
    for name in ("weights.safetensors", "model.keras", "checkpoint.safetensors", "metrics.csv", "recipe.yaml"):
        assert (early / name).exists(), name


def same_end(a: str | Path, b: str | Path) -> None:
    """Check that all files of two runs are equal to the last bit, except the seconds."""
    same_run(a, b)
    same_model(a, b)
    assert Path(a, "metrics.csv").read_bytes() == Path(b, "metrics.csv").read_bytes()
    x, y = boards(a), boards(b)
    assert x.keys() == y.keys()
    for name in x:
        same = x[name] == y[name]
        assert same, name


def boards(out: str | Path) -> dict[str, list[Any]]:
    """The content of TensorBoard's files, without times."""
    found: dict[str, list[Any]] = {}
    for part in sorted(Path(out, "tensorboard").glob("*")):
        events = EventAccumulator(str(part)).Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{part.name}/{tag}"] = [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["histograms"]:
            found[f"{part.name}/{tag}"] = [(e.step, e.histogram_value) for e in events.Histograms(tag)]
    return found


# Killed runs: resumed from copies of the folder, which are what SIGKILL leaves.

FILES = ("history.csv", "weights.safetensors", "model.keras", "checkpoint.safetensors")
CHECKPOINT = "checkpoint.safetensors"


@pytest.mark.parametrize("before", [1, 4])
def test_patience_continues_to_count(
    before: int, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """Killed during the patience, `before` epochs before the end: early stopping and plateau continue to count."""
    out = copied(at(stopped_run, CHECKPOINT, len(epochs(stopped_run)) - before, "after"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


@once
@pytest.mark.parametrize(("name", "number"), [("weights.safetensors", 1), ("model.keras", 2)])
def test_killed_while_the_best_epoch_is_kept(
    name: str, number: int, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """One file is of the epoch, another is not yet, and a draft is incomplete."""
    out = copied(at(stopped_run, name, number, "before"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


def test_killed_after_early_stopping(stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Nothing is left to train; the weights of the best epoch are tested."""
    out = copied(at(stopped_run, CHECKPOINT, len(epochs(stopped_run)), "after"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


# With every kind of state: dropout's masks, shifts, batch norm's statistics, averaged weights, a schedule.
ALL = (*CNN, "--model.dropout", "0.3", "--ema", "0.9", "--tensorboard", "--data.validation_size", "1500")


@pytest.fixture(scope="module")
def all_words(pixels: str) -> list[str]:
    """Arguments of three epochs of 7 steps; without --out."""
    return ["fit", *flags(pixels, "", *ALL)]


@pytest.fixture(scope="module")
def all_run(all_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never interrupted, beside copies of its folder at many moments."""
    out = tmp_path_factory.mktemp("all") / "out"
    with moments(out):
        cli.main([*all_words, "--out", str(out)])
    return out


@pytest.mark.parametrize(
    ("name", "number", "when"),
    [
        *(pytest.param(name, 2, "before", marks=once) for name in FILES if name != CHECKPOINT),
        (CHECKPOINT, 2, "before"),
        pytest.param(CHECKPOINT, 2, "after", marks=once),
        pytest.param("test", 1, "before", marks=once),
    ],
)
def test_killed_at_any_moment_a_run_can_be_resumed(
    name: str, number: int, when: str, all_run: Path, all_words: list[str], command: Command
) -> None:
    """At the end of the second epoch, file by file, and before the test."""
    out = copied(at(all_run, name, number, when))
    assert command(*all_words, "--out", out, "--resume").status == 0
    same_end(out, all_run)


# A recipe, and the changes to it.
SLOW: dict[str, tuple[str, tuple[str, ...]]] = {
    "simple": ("simple", ()),
    "advanced": ("advanced", ()),
    "cnn": ("cnn", (*CNN, "--model.dropout", "0.3", "--data.validation_size", "1500")),
    "ema": ("advanced", ("--ema", "0.9")),
    "tensorboard": ("simple", ("--tensorboard",)),
    "stopping": ("simple", (*OVERFIT, *PATIENT)),
    "stopping by accuracy": ("simple", (*OVERFIT, *PATIENT, "--early_stopping.monitor", "val_accuracy")),
    "stopping, ema, tensorboard": ("advanced", (*OVERFIT, *PATIENT, "--ema", "0.9", "--tensorboard")),
    "not validated": ("advanced", ("--data.validation_size", "0", "--ema", "0.9")),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SLOW)
def test_killed_at_every_moment(name: str, easy: str, hard: str, pixels: str, command: Command) -> None:
    """Before and after each file, and after every call of steps."""
    data = pixels if name == "cnn" else hard if "stopping" in name else easy
    config, more = SLOW[name]
    words, whole = ["fit", "--config", config, *flags(data, "", *more)], Path("whole/out").absolute()
    with moments(whole):
        assert command(*words, "--out", str(whole)).status == 0
    # Within an epoch the folder doesn't change: of equal copies, one is enough.
    copies = {frozenset(everything(path).items()): path for path in sorted(whole.parent.iterdir()) if path != whole}
    assert len(copies) > 24
    for copy in copies.values():
        shutil.copytree(copy, "parts")
        assert command(*words, "--out", "parts", "--resume").status == 0, copy.name
        try:
            same_end("parts", whole)
        except AssertionError as error:
            raise AssertionError(f"killed at {copy.name}") from error
        shutil.rmtree("parts")


def everything(folder: Path) -> dict[str, bytes]:
    """The content of every file in a folder and its subfolders."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Runs interrupted by Ctrl-C.


@once
def test_interrupted_after_an_epoch(early: Path, stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Keras's own log has one row per epoch."""
    out = copied(early)
    assert command(*stopped_words, "--out", out, "--resume", "true").status == 0
    same_run(out, stopped_run)
    with Path(out, "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(len(epochs(stopped_run))))


def test_interrupted_within_an_epoch(
    stopped_run: Path, stopped_words: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incomplete epoch is trained again. An epoch has 6 steps, in one call if the backend supports it."""
    calls = 1 if MOST_STEPS > 1 else 6
    with monkeypatch.context() as m:
        interrupt(m, callbacks.RunFolder, "on_train_batch_end", 2 * calls + (calls + 1) // 2)
        result = command(*stopped_words, "--out", "parts")
    assert result.status == 130
    assert "2 completed epochs are kept in parts" in result.err
    assert command(*stopped_words, "--out", "parts", "--resume").status == 0
    same_end("parts", stopped_run)


@pytest.fixture(scope="module")
def half_saved(easy: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Ctrl-C after the second epoch's model file, before its checkpoint: the folder, and the message."""
    out = tmp_path_factory.mktemp("half") / "out"
    with pytest.MonkeyPatch.context() as m:
        interrupt(m, callbacks.ModelCheckpoint, "on_epoch_end", 2)
        with pytest.raises(Stopped) as stopped:
            cli.main(["fit", *flags(easy, out)])
    return out, str(stopped.value)


@once
def test_interrupted_while_saving_the_message_counts_checkpoints_only(half_saved: tuple[Path, str]) -> None:
    """An epoch counts as completed when the checkpoint contains it, not when its line is printed."""
    assert half_saved[1].startswith("1 completed epochs are kept")


@once
def test_an_epoch_trained_again_is_logged_once(half_saved: tuple[Path, str], easy: str, command: Command) -> None:
    """In the history, and in Keras's log."""
    out = copied(half_saved[0])
    assert command("fit", *flags(easy, out), "--resume").status == 0
    assert [row[0] for row in epochs(out)] == [1, 2, 3]
    with Path(out, "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


@once
def test_a_resumed_run_may_be_longer(
    early: Path, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """Only the number of epochs may change."""
    out = copied(early)
    assert command(*stopped_words, "--out", out, "--resume", "--trainer.max_epochs", "3").status == 0
    assert epochs(out) == epochs(stopped_run)[:3]


@once
def test_a_finished_run_is_left_as_it_is(stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """No file changes."""
    before = contents(stopped_run)
    result = command(*stopped_words, "--out", str(stopped_run), "--resume")
    assert result.status == 0
    assert "left as it is" in result.out
    assert contents(stopped_run) == before


@once
def test_resume_in_a_new_folder_starts_a_run(easy: str, command: Command) -> None:
    """So that the same command starts and resumes a job that may be killed at any time."""
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1"), "--resume").status == 0
    assert measured("out")["epochs"] == 1


@once
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
    """The message names the key and both values; the run is unchanged."""
    kept = contents(early)
    text = refused(*stopped_words, "--out", str(early), "--resume", flag, value)
    for word in ("--resume", flag.removeprefix("--"), value, before):
        assert word in text
    assert contents(early) == kept


@once
def test_a_damaged_checkpoint_is_one_sentence(
    early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """A truncated file, another content, or other shapes."""
    out = Path(copied(early))
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    arrays, metadata = weights.read(path)
    path.write_bytes(whole[:-3])
    text = refused(*stopped_words, "--out", str(out), "--resume")
    assert "parts/checkpoint.safetensors" in text
    assert "model.weights" not in text, "the option is --resume"
    cut = {name: a[:1] for name, a in arrays.items() if a.ndim}
    for other, described in (({"x": np.ones(1)}, metadata), (cut, metadata), (arrays, {}), (arrays, {"state": "{"})):
        weights.write(path, other, described)
        assert "--resume: parts/checkpoint.safetensors" in refused(*stopped_words, "--out", str(out), "--resume")


@once
def test_a_history_shorter_than_the_checkpoint_is_refused(
    early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """The missing rows can't be reconstructed."""
    out = Path(copied(early))
    history.write(out / "history.csv", history.read(out / "history.csv")[:1])
    assert "history.csv" in refused(*stopped_words, "--out", str(out), "--resume")


# No end of a run leaves a file open.


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise an error in the second epoch."""
    real = callbacks.RunFolder.on_epoch_end

    def call(self: Any, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        if epoch == 1:
            raise RuntimeError("broken")

    monkeypatch.setattr(callbacks.RunFolder, "on_epoch_end", call)


@once
@pytest.mark.parametrize("end", ["diverged", "interrupted", "broken"])
def test_nothing_stays_open(end: str, easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # garbage of other tests
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        if end == "diverged":
            words = ("--model.learning_rate", "1e30", "--data.validation_size", "0")
            assert command("fit", *flags(easy, "out", *words)).status == 2
        elif end == "interrupted":
            interrupt(monkeypatch, callbacks.RunFolder, "on_epoch_end", 2)
            assert command("fit", *flags(easy, "out")).status == 130
        else:
            broken(monkeypatch)
            with pytest.raises(RuntimeError, match="broken") as error:
                command("fit", *flags(easy, "out"))
            del error  # its traceback refers to objects of the run
        gc.collect()
    assert Path("out/metrics.csv").exists()
    assert [str(w.message) for w in warned if issubclass(w.category, ResourceWarning)] == []


@once
def test_the_log_is_that_of_keras(easy: str) -> None:
    """The file is equal to the byte, although it is opened for each row."""
    recipe = recipes.to_recipe(recipes.recipe_parser("recipe", "").parse_args(flags(easy, "out")[:-2]))
    data = datasets.load(easy, 30, 42)
    training.fit(recipe, data, Path("out"), callbacks=[keras.callbacks.CSVLogger("keras.csv")])
    assert Path("out/metrics.csv").read_bytes() == Path("keras.csv").read_bytes()
    assert len(Path("keras.csv").read_bytes().split(b"\r\n")) == 1 + 3 + 1
