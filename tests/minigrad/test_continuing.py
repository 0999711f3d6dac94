"""What a run may be continued with: the same recipe, the same data, its checkpoint; and for how long."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, complaints, flags

from minigrad import recipes, train
from minigrad.runs import history

pytestmark = pytest.mark.usefixtures("undrawn")

OUT = Path("out")


def rows(out: str | Path = OUT) -> list[tuple[Any, ...]]:
    """The history without its seconds, which are never the same twice."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def contents(out: str | Path = OUT) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(out).iterdir()}


def interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, after: int, *words: str) -> None:
    """Run the command, and stop it by Ctrl-C when it reports an epoch."""
    real = train.ProgressReport.epoch

    def call(self: Any, e: Any) -> None:
        real(self, e)
        if e.epoch == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(train.ProgressReport, "epoch", call)
        assert command(*words).status == 130


# Training longer.


@pytest.mark.parametrize(
    "words",
    [
        ("--model.momentum", "0.9"),
        ("--model.schedule", "reduce_on_plateau", "--model.optimizer", "adam"),
        ("--model.dropout", "0.3", "--model.hidden", "[5, 4]"),
    ],
)
def test_a_finished_run_that_continues_ends_as_one_that_was_planned_longer(
    words: tuple[str, ...], hard: str, command: Command
) -> None:
    assert command(*flags(hard, OUT, *words)).status == 0
    first = json.loads((OUT / "metrics.json").read_text())
    assert command(*flags(hard, OUT, *words, "--resume", "--trainer.max_epochs", "7")).status == 0
    assert command(*flags(hard, "whole", *words, "--trainer.max_epochs", "7")).status == 0
    assert rows() == rows("whole")
    assert len(rows()) == 7
    a, b = contents(), contents("whole")
    for name in ("weights.safetensors", "checkpoint.safetensors", "metrics.json", "recipe.yaml"):
        assert a[name] == b[name], name
    assert json.loads(a["metrics.json"])["epochs"] == 7 > first["epochs"]


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_stretched_schedule_says_why_it_cannot_become_longer(
    schedule: str,
    finished: bool,
    easy: str,
    command: Command,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = flags(easy, OUT, "--model.schedule", schedule)
    if finished:
        command(*words)
    else:
        interrupted(command, monkeypatch, 2, *words)
    before = contents()
    text = refused(*words, "--resume", "--trainer.max_epochs", "20")
    for word in ("trainer.max_epochs is 20", "planned for 3", schedule, "--model.weights"):
        assert word in text
    assert contents() == before
    assert command(*words, "--resume").status == 0
    assert len(rows()) == 3


def test_a_finished_run_is_left_as_it_is(easy: str, command: Command) -> None:
    command(*flags(easy, OUT))
    before = contents()
    for epochs in ("3", "2"):
        result = command(*flags(easy, OUT, "--resume", "--trainer.max_epochs", epochs))
        assert (result.status, result.out) == (0, "out holds a finished run, which is left as it is\n")
    assert contents() == before


def test_a_run_that_stopped_early_says_so(hard: str, command: Command) -> None:
    words = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--early_stopping.patience", "2")
    command(*flags(hard, OUT, *words, "--trainer.max_epochs", "60"))
    done = len(rows())
    assert done < 60
    before = contents()
    result = command(*flags(hard, OUT, *words, "--trainer.max_epochs", "90", "--resume"))
    assert (result.status, result.out) == (
        0,
        f"out holds a run that early stopping ended after {done} epochs; it is left as it is\n",
    )
    assert contents() == before


def test_a_run_cannot_become_shorter_than_it_is(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(command, monkeypatch, 2, *flags(easy, OUT))
    text = refused(*flags(easy, OUT, "--resume", "--trainer.max_epochs", "1"))
    assert text == "--resume: trainer.max_epochs is 1, but the run has 2 epochs; expected 2 or more"


# The same data.


def other(path: str, **arrays: np.ndarray) -> str:
    """A copy of a data set under the name data.npz, with some arrays replaced."""
    with np.load(path) as archive:
        np.savez("data.npz", **{**dict(archive), **arrays})
    return "data.npz"


@pytest.mark.parametrize("array", ["x_train", "y_train", "x_test", "y_test"])
def test_other_data_of_the_same_shape_are_refused(
    array: str, easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = other(easy)
    interrupted(command, monkeypatch, 2, *flags(path, OUT))
    before = contents()
    with np.load(easy) as archive:
        other(easy, **{array: archive[array][::-1]})
    text = refused(*flags(path, OUT, "--resume"))
    for word in ("--resume: data.path: data.npz holds other data", "expected the same images"):
        assert word in text
    assert contents() == before
    other(easy)
    assert command(*flags(path, OUT, "--resume")).status == 0
    command(*flags(path, "whole"))
    assert rows() == rows("whole")


def test_pixels_that_became_floats_are_refused(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 256, (n, 6)).astype(np.uint8) for name, n in (("x_train", 160), ("x_test", 40))}
    path = other(easy, **images)
    interrupted(command, monkeypatch, 1, *flags(path, OUT))
    other(easy, **{name: array.astype(np.float32) for name, array in images.items()})
    assert "holds other data" in refused(*flags(path, OUT, "--resume"))


def test_a_checkpoint_of_an_earlier_version_is_continued(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not say what data it was trained on."""
    from minigrad.runs import weights

    interrupted(command, monkeypatch, 2, *flags(easy, OUT))
    arrays, metadata = weights.read(OUT / "checkpoint.safetensors")
    state = json.loads(metadata["state"])
    del state["data"]
    weights.write(OUT / "checkpoint.safetensors", arrays, {"state": json.dumps(state)})
    (OUT / ".files.json").unlink()
    assert command(*flags(easy, OUT, "--resume")).status == 0
    assert len(rows()) == 3


# The checkpoint.


def test_a_run_without_its_checkpoint_does_not_start_again(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(command, monkeypatch, 2, *flags(easy, OUT))
    (OUT / "checkpoint.safetensors").unlink()
    before = contents()
    text = refused(*flags(easy, OUT, "--resume"))
    assert "out holds a history of 2 epochs, but no checkpoint.safetensors" in text
    assert contents() == before


def test_only_resume_continues(easy: str, command: Command, refused: Callable[..., str]) -> None:
    """A folder that another command has made meanwhile is not taken for one to continue."""
    command(*flags(easy, OUT))
    before = contents()
    assert "already holds a run" in refused(*flags(easy, OUT, "--seed_everything", "7"))
    data = train.datasets.load(easy, 30)
    recipe = recipes.load("simple")
    with pytest.raises(train.folder.UserError, match="already holds a run"):
        train.fit(recipe, data, OUT)
    assert contents() == before


# Several commands at once.


def test_commands_that_start_together_leave_whole_runs(easy: str) -> None:
    started = []
    for seed in range(4):
        words = [*flags(easy, "x")[:-2], "--seed_everything", str(seed)]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "minigrad.train", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert [complaints(err) for _, err in ended] == [[]] * 4
    folders = sorted(Path("runs").iterdir())
    assert [path.name for path in folders] == [f"minigrad-{i}" for i in range(1, 5)]
    seeds = set()
    for path in folders:
        recipe, _ = recipes.read_trained(path / "recipe.yaml")
        seeds.add(recipe.seed_everything)
        train.main([*flags(easy, f"alone-{path.name}"), "--seed_everything", str(recipe.seed_everything)])
        assert (path / "weights.safetensors").read_bytes() == Path(
            f"alone-{path.name}/weights.safetensors"
        ).read_bytes()
    assert seeds == set(range(4))


# Files of another origin.


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_overwrite_leaves_what_is_not_the_runs(easy: str, command: Command) -> None:
    mine = ("paper.onnx", "other.ckpt", "checkpoint.d/thesis.tex", "tensorboard/train/events.out.tfevents.mine.0")
    for name in mine:
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text("mine")
    for words in ((), ("--overwrite",), ("--overwrite", "--tensorboard"), ("--overwrite",)):
        assert command(*flags(easy, OUT, *words)).status == 0
        assert {(OUT / name).read_text() for name in mine} == {"mine"}
    assert len(list(OUT.rglob("*.tfevents.*"))) == 1


@pytest.mark.parametrize("name", ["curves.png", "checkpoint.safetensors", "metrics.json", "recipe.yaml"])
@pytest.mark.parametrize("words", [(), ("--overwrite",), ("--resume",)])
def test_a_file_in_the_way_is_refused_before_anything_is_done(
    name: str, words: tuple[str, ...], easy: str, refused: Callable[..., str]
) -> None:
    OUT.mkdir()
    (OUT / name).write_text("mine")
    assert f"holds {name}, which this package did not write" in refused(*flags(easy, OUT, *words))
    assert contents() == {name: b"mine"}


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
@pytest.mark.usefixtures("drawn")
def test_the_manifest_lists_all_that_a_run_leaves(easy: str, command: Command) -> None:
    command(*flags(easy, OUT, "--tensorboard"))
    listed = set(json.loads((OUT / ".files.json").read_text())["files"])
    assert listed == {p.relative_to(OUT).as_posix() for p in OUT.rglob("*") if p.is_file()} - {".files.json"}
    shutil.rmtree(OUT / "tensorboard")
    command(*flags(easy, OUT, "--overwrite"))
    assert "tensorboard" not in (OUT / ".files.json").read_text()
