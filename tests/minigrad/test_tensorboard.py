"""--tensorboard: the history's own numbers, each epoch once, and no framework loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minigrad_helpers import Command, flags
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from minigrad import train
from minigrad.runs import history


def curve(part: str, tag: str, out: str = "out") -> list[tuple[int, float]]:
    """The (step, value) of each point, as TensorBoard reads them."""
    events = EventAccumulator(str(Path(out, "tensorboard", part)))
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(f"epoch_{tag}")]


def same_as_the_history(out: str = "out") -> None:
    rows = history.read(Path(out, "history.csv"))
    for part, tag, column in (
        ("train", "loss", "train_loss"),
        ("train", "accuracy", "train_accuracy"),
        ("train", "learning_rate", "learning_rate"),
        ("validation", "loss", "val_loss"),
        ("validation", "accuracy", "val_accuracy"),
    ):
        expected = [(row.epoch - 1, pytest.approx(getattr(row, column), rel=1e-6)) for row in rows]
        assert curve(part, tag, out) == expected, (part, tag)


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C when the report hears of the at-th epoch."""
    real = train.Report.epoch

    def call(self: Any, e: Any) -> None:
        real(self, e)
        if e.epoch == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.Report, "epoch", call)


def test_it_writes_what_the_history_has(easy: str, command: Command) -> None:
    assert command(*flags(easy, "out", "--tensorboard", "--model.schedule", "cosine")).status == 0
    same_as_the_history()
    assert len(curve("train", "loss")) == 3
    assert {p.name for p in Path("out/tensorboard").iterdir()} == {"train", "validation"}


def test_it_is_never_the_default(easy: str, command: Command) -> None:
    for out, more in (("a", ()), ("b", ("--tensorboard", "false"))):
        assert command(*flags(easy, out, *more)).status == 0
        assert not Path(out, "tensorboard").exists()


def test_without_validation_there_is_no_curve_of_it(easy: str, command: Command) -> None:
    command(*flags(easy, "out", "--tensorboard", "true", "--data.validation_size", "0"))
    assert [p.name for p in Path("out/tensorboard").iterdir()] == ["train"]
    assert len(curve("train", "accuracy")) == 3


@pytest.mark.parametrize("first", [True, False])
def test_a_run_that_goes_on_has_each_epoch_once(
    first: bool, easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=2)
        command(*flags(easy, "out", *(["--tensorboard"] if first else [])))
    assert command(*flags(easy, "out", "--tensorboard", "--resume")).status == 0
    same_as_the_history()
    assert [step for step, _ in curve("train", "loss")] == [0, 1, 2]


def test_an_epoch_that_was_written_but_not_kept_is_not_there_twice(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=2)
        command(*flags(easy, "out", "--tensorboard"))
    Path("out/checkpoint.safetensors").unlink()  # as if it had been stopped before the first was written
    assert command(*flags(easy, "out", "--tensorboard", "--resume")).status == 0
    same_as_the_history()


def test_a_run_that_replaces_another_takes_its_curves_away(easy: str, command: Command) -> None:
    command(*flags(easy, "out", "--tensorboard"))
    Path("out/tensorboard/mine.txt").write_text("kept")
    command(*flags(easy, "out", "--overwrite", "--trainer.max_epochs", "1"))
    assert [p.name for p in Path("out/tensorboard").rglob("*") if p.is_file()] == ["mine.txt"]


def test_past_epochs_keep_their_order_in_time(easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as m:
        interrupt(m, at=2)
        command(*flags(easy, "out"))
    command(*flags(easy, "out", "--tensorboard", "--resume"))
    events = EventAccumulator("out/tensorboard/train")
    events.Reload()
    times = [point.wall_time for point in events.Scalars("epoch_loss")]
    assert times == sorted(set(times))


def test_without_tensorboard_it_says_what_to_install(
    easy: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    text = refused(*flags(easy, "out", "--tensorboard"))
    assert text == "--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first"
    assert not Path("out").exists()


def test_no_framework_is_loaded(easy: str) -> None:
    program = (
        "import sys; from minigrad import train; train.main(sys.argv[1:]);"
        "print(*[name for name in ('tensorflow', 'torch', 'tensorboard') if name in sys.modules])"
    )
    words = flags(easy, "out", "--tensorboard")
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "tensorboard"
