"""Going on with a run: the end is that of one that never stopped."""

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
    """Ctrl-C right after the at-th call of a callback's method."""
    real, seen = getattr(kind, method), []

    def call(self: Any, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        seen.append(1)
        if len(seen) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, method, call)


@pytest.fixture(scope="module")
def early(stopped_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The early-stopping run, interrupted after two epochs; to be copied, not changed."""
    out = tmp_path_factory.mktemp("early") / "out"
    with pytest.MonkeyPatch.context() as m:
        interrupt(m, resume.ResumableState, "on_epoch_end", 2)
        assert run_command(cli.PROG, cli.main, [*stopped_words, "--out", str(out)]) == 130
    return out


def copied(folder: Path) -> str:
    shutil.copytree(folder, "parts")
    return "parts"


def test_whole_epochs_are_kept(early: Path, stopped_run: Path) -> None:
    """Two of them, and no measurement of a run that is not over."""
    assert epochs(early) == epochs(stopped_run)[:2]
    assert not (early / "metrics.json").exists()
    for name in ("weights.safetensors", "model.keras", "checkpoint.safetensors", "metrics.csv", "recipe.yaml"):
        assert (early / name).exists(), name


def same_end(a: str | Path, b: str | Path) -> None:
    """All that two runs leave is equal to the last bit, but the seconds."""
    same_run(a, b)
    same_model(a, b)
    assert Path(a, "metrics.csv").read_bytes() == Path(b, "metrics.csv").read_bytes()
    x, y = boards(a), boards(b)
    assert x.keys() == y.keys()
    for name in x:
        same = x[name] == y[name]
        assert same, name


def boards(out: str | Path) -> dict[str, list[Any]]:
    """What TensorBoard shows of the run, without the times."""
    found: dict[str, list[Any]] = {}
    for part in sorted(Path(out, "tensorboard").glob("*")):
        events = EventAccumulator(str(part)).Reload()
        for tag in events.Tags()["scalars"]:
            found[f"{part.name}/{tag}"] = [(e.step, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["histograms"]:
            found[f"{part.name}/{tag}"] = [(e.step, e.histogram_value) for e in events.Histograms(tag)]
    return found


# Killed: gone on with from copies of the folder, which are what SIGKILL leaves.

FILES = ("history.csv", "weights.safetensors", "model.keras", "checkpoint.safetensors")
CHECKPOINT = "checkpoint.safetensors"


@pytest.mark.parametrize("before", [1, 4])
def test_what_was_waited_for_is_remembered(
    before: int, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """Killed in the middle of a wait, `before` epochs before its end: patience and plateau go on counting."""
    out = copied(at(stopped_run, CHECKPOINT, len(epochs(stopped_run)) - before, "after"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


@once
@pytest.mark.parametrize(("name", "number"), [("weights.safetensors", 1), ("model.keras", 2)])
def test_killed_while_the_best_epoch_is_kept(
    name: str, number: int, stopped_run: Path, stopped_words: list[str], command: Command
) -> None:
    """One file is of the epoch, the other not yet, and of a draft there is a half."""
    out = copied(at(stopped_run, name, number, "before"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


def test_killed_once_it_had_stopped_early(stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Nothing is left to train; the best epoch's weights are measured all the same."""
    out = copied(at(stopped_run, CHECKPOINT, len(epochs(stopped_run)), "after"))
    assert command(*stopped_words, "--out", out, "--resume").status == 0
    same_end(out, stopped_run)


# With a draw of every kind: dropout's masks, how far each image moves; batch norm's statistics, an average, a schedule.
ALL = (*CNN, "--model.dropout", "0.3", "--ema", "0.9", "--tensorboard", "--data.validation_size", "1500")


@pytest.fixture(scope="module")
def all_words(pixels: str) -> list[str]:
    """Three epochs of 7 steps; the folder is added by who uses it."""
    return ["fit", *flags(pixels, "", *ALL)]


@pytest.fixture(scope="module")
def all_run(all_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never interrupted; beside it what SIGKILL would have left at many a moment."""
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
def test_killed_at_any_moment_it_ends_as_if_it_had_never_been(
    name: str, number: int, when: str, all_run: Path, all_words: list[str], command: Command
) -> None:
    """At the end of the second epoch, file by file, and when only the measurement is missing."""
    out = copied(at(all_run, name, number, when))
    assert command(*all_words, "--out", out, "--resume").status == 0
    same_end(out, all_run)


# A recipe, and what is changed of it.
SLOW: dict[str, tuple[str, tuple[str, ...]]] = {
    "simple": ("simple", ()),
    "advanced": ("advanced", ()),
    "cnn": ("cnn", (*CNN, "--model.dropout", "0.3", "--data.validation_size", "1500")),
    "ema": ("advanced", ("--ema", "0.9")),
    "tensorboard": ("simple", ("--tensorboard",)),
    "stopping": ("simple", (*OVERFIT, *PATIENT)),
    "stopping, ema, tensorboard": ("advanced", (*OVERFIT, *PATIENT, "--ema", "0.9", "--tensorboard")),
    "not validated": ("advanced", ("--data.validation_size", "0", "--ema", "0.9")),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SLOW)
def test_killed_at_every_moment(name: str, easy: str, hard: str, pixels: str, command: Command) -> None:
    """Each of them, from the first file to the last, and after every call of steps."""
    data = pixels if name == "cnn" else hard if "stopping" in name else easy
    config, more = SLOW[name]
    words, whole = ["fit", "--config", config, *flags(data, "", *more)], Path("whole/out").absolute()
    with moments(whole):
        assert command(*words, "--out", str(whole)).status == 0
    # In the middle of an epoch the folder is as at its beginning: equal copies are one.
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
    """Every file in the folder and below."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Interrupted by Ctrl-C.


@once
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
    """The half epoch is trained again: 90 images make 6 steps, which are one call where the backend can."""
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
    """Ctrl-C in the second epoch's model file, before its checkpoint: the folder, and what was said."""
    out = tmp_path_factory.mktemp("half") / "out"
    with pytest.MonkeyPatch.context() as m:
        interrupt(m, callbacks.ModelCheckpoint, "on_epoch_end", 2)
        with pytest.raises(Stopped) as stopped:
            cli.main(["fit", *flags(easy, out)])
    return out, str(stopped.value)


@once
def test_stopped_while_it_saves_does_not_promise_what_it_has_not_kept(half_saved: tuple[Path, str]) -> None:
    """An epoch is kept once the checkpoint holds it, not once its line is printed."""
    assert half_saved[1].startswith("1 completed epochs are kept")


@once
def test_an_epoch_trained_again_is_logged_once(half_saved: tuple[Path, str], easy: str, command: Command) -> None:
    """In the history, and in the log that Keras appends to."""
    out = copied(half_saved[0])
    assert command("fit", *flags(easy, out), "--resume").status == 0
    assert [row[0] for row in epochs(out)] == [1, 2, 3]
    with Path(out, "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2]


@once
def test_a_longer_run_goes_on_too(early: Path, stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Only the length of the recipe may change."""
    out = copied(early)
    assert command(*stopped_words, "--out", out, "--resume", "--trainer.max_epochs", "3").status == 0
    assert epochs(out) == epochs(stopped_run)[:3]


@once
def test_a_finished_run_is_left_as_it_is(stopped_run: Path, stopped_words: list[str], command: Command) -> None:
    """Not a byte of it changes."""
    before = contents(stopped_run)
    result = command(*stopped_words, "--out", str(stopped_run), "--resume")
    assert result.status == 0
    assert "left as it is" in result.out
    assert contents(stopped_run) == before


@once
def test_with_nothing_there_it_starts_afresh(easy: str, command: Command) -> None:
    """So that one command serves a job that may be killed at any time."""
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
    """Naming the key and both values; the run is as it was."""
    kept = contents(early)
    text = refused(*stopped_words, "--out", str(early), "--resume", flag, value)
    for word in ("--resume", flag.removeprefix("--"), value, before):
        assert word in text
    assert contents(early) == kept


@once
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


@once
def test_a_history_shorter_than_the_checkpoint_is_refused(
    early: Path, stopped_words: list[str], refused: Callable[..., str]
) -> None:
    """Its rows can't be made up."""
    out = Path(copied(early))
    history.write(out / "history.csv", history.read(out / "history.csv")[:1])
    assert "history.csv" in refused(*stopped_words, "--out", str(out), "--resume")


# However a run ends, it leaves no file open.


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the second epoch."""
    real = callbacks.RunFolder.on_epoch_end

    def call(self: Any, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        if epoch == 1:
            raise RuntimeError("broken")

    monkeypatch.setattr(callbacks.RunFolder, "on_epoch_end", call)


@once
@pytest.mark.parametrize("end", ["diverged", "interrupted", "broken"])
def test_nothing_stays_open(end: str, easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what other tests left
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
            del error  # whose traceback holds what the run did
        gc.collect()
    assert Path("out/metrics.csv").exists()
    assert [str(w.message) for w in warned if issubclass(w.category, ResourceWarning)] == []


@once
def test_the_log_is_that_of_keras(easy: str) -> None:
    """Byte for byte, though it is opened for each line anew."""
    recipe = recipes.to_recipe(recipes.recipe_parser("recipe", "").parse_args(flags(easy, "out")[:-2]))
    data = datasets.load(easy, 30, 42)
    training.fit(recipe, data, Path("out"), callbacks=[keras.callbacks.CSVLogger("keras.csv")])
    assert Path("out/metrics.csv").read_bytes() == Path("keras.csv").read_bytes()
    assert len(Path("keras.csv").read_bytes().split(b"\r\n")) == 1 + 3 + 1
