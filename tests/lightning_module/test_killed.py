"""SIGKILL at any moment: `--ckpt_path last` continues from the last complete checkpoint, and gives the same run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from killing import Calls, Copying, Moment, Puts, killed
from lightning_helpers import call, epochs, interrupted, kept, network, process, same_run

EPOCHS = ("--trainer.max_epochs", "3")  # of 90 images and 6 steps
WAYS = {
    "simple": ("--config", "simple", *EPOCHS),
    "advanced": ("--config", "advanced", *EPOCHS),
    "cnn": ("--config", "cnn", *EPOCHS),
    "averaged": (
        *("--config", "cnn", "--model.batch_norm", "true", *EPOCHS),
        *("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.9"),
    ),
    "accumulated": ("--config", "advanced", *EPOCHS, "--trainer.accumulate_grad_batches", "4"),
    "stops early": (
        *("--config", "advanced", "--model.learning_rate", "0.1"),
        *("--trainer.max_epochs", "30", "--early_stopping.patience", "2"),
    ),
}
MOMENTS: dict[str, tuple[Moment, tuple[int, int, int]]] = {
    # With the number of epochs then in history.csv, in best.ckpt and in last.ckpt.
    "before the first checkpoint": (Puts(1, "best.ckpt"), (1, 0, 0)),
    "before the first last checkpoint": (Puts(1, "last.ckpt"), (1, 1, 0)),
    "within an epoch": (Calls("lightning_module.model", "LitClassifier.training_step", 10), (1, 1, 1)),
    "before the history": (Puts(2, "history.csv"), (1, 1, 1)),
    "between the history and the checkpoints": (Puts(2, "history.csv", after=True), (2, 1, 1)),
    "between the best and the last checkpoint": (Puts(2, "best.ckpt", after=True), (2, 2, 1)),
    "at an epoch's very end": (Puts(2, "last.ckpt", after=True), (2, 2, 2)),
}
OFTEN = ("within an epoch", "between the history and the checkpoints", "between the best and the last checkpoint")
CASES = [
    pytest.param(way, moment, marks=[] if way == "advanced" and moment in OFTEN else pytest.mark.slow)
    for way in WAYS
    for moment in MOMENTS
]


@pytest.fixture(scope="module")
def whole(few: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of the uninterrupted run of a way."""

    @cache
    def run(way: str) -> Path:
        out = tmp_path_factory.mktemp("whole") / "out"
        assert call(*words(few, way, out)) == 0
        return out

    return run


def words(data: str, way: str, out: str | Path = "out", *more: str) -> list[str]:
    return ["fit", *WAYS[way], *network(data), "--trainer.default_root_dir", str(out), *more]


def holds() -> tuple[int, int, int]:
    """Return the epochs in the history, in the best and in the last checkpoint; all files must be complete."""
    history = len(epochs("out")) if Path("out/history.csv").exists() else 0
    if Path("out/weights.safetensors").exists():
        kept("out")
    saved_epochs = []
    for path in (Path("out/best.ckpt"), Path("out/last.ckpt")):
        saved_epochs.append(torch.load(path, weights_only=True)["epoch"] + 1 if path.exists() else 0)
    return history, saved_epochs[0], saved_epochs[1]


@pytest.mark.parametrize(("way", "moment"), CASES)
def test_a_resumed_killed_run_equals_an_uninterrupted_one(
    way: str, moment: str, few: str, whole: Callable[[str], Path]
) -> None:
    when, expected = MOMENTS[moment]
    assert killed(when, *words(few, way))
    assert holds() == expected
    assert call(*words(few, way, "out", "--ckpt_path", "last")) == 0
    same_run("out", whole(way))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["simple", "advanced", "cnn", "accumulated"])
def test_it_can_be_killed_before_any_file(way: str, few: str, whole: Callable[[str], Path]) -> None:
    """Before each rename of a draft to its file, from the first file to metrics.json."""
    moments = 0
    while killed(Puts(moments + 1), *words(few, way, f"out-{moments}")):
        out = f"out-{moments}"
        assert call(*words(few, way, out, "--ckpt_path", "last")) == 0
        same_run(out, whole(way))
        moments += 1
    assert moments > 12


@pytest.mark.slow
def test_a_run_killed_several_times_equals_an_uninterrupted_one(few: str, whole: Callable[[str], Path]) -> None:
    on = ("--ckpt_path", "last")
    for times, (moment, now) in enumerate(
        [
            (Calls("lightning_module.model", "LitClassifier.training_step", 9), (1, 1, 1)),
            (Puts(1, "last.ckpt"), (2, 2, 1)),
            (Puts(1, "best.ckpt"), (2, 2, 1)),  # the same epoch again
            (Calls("lightning_module.model", "LitClassifier.training_step", 3), (2, 2, 1)),
            (Calls("lightning_module.model", "LitClassifier.training_step", 8), (2, 2, 2)),
            (Puts(1, "metrics.json"), (3, 3, 3)),
        ]
    ):
        assert killed(moment, *words(few, "advanced", "out", *(on if times else ())))
        assert holds() == now, times
    assert call(*words(few, "advanced", "out", *on)) == 0
    same_run("out", whole("advanced"))


@pytest.mark.slow
def test_patience_is_not_renewed(few: str, whole: Callable[[str], Path]) -> None:
    ended = len(epochs(whole("stops early")))
    assert 4 < ended < 30, "otherwise it has not stopped early"
    # When one bad epoch has been seen, and the next would be the last.
    assert killed(Puts(ended - 1, "last.ckpt", after=True), *words(few, "stops early"))
    assert holds() == (ended - 1, ended - 2, ended - 1)
    assert call(*words(few, "stops early", "out", "--ckpt_path", "last")) == 0
    same_run("out", whole("stops early"))


@pytest.mark.slow
def test_a_run_killed_by_another_process_is_resumed(few: str) -> None:
    long = ("--trainer.max_epochs", "100000")
    running = process(*words(few, "advanced", "out", *long))
    patience = time.monotonic() + 200
    while not Path("out/last.ckpt").exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < patience
        time.sleep(0.05)
    running.kill()
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    _, _, last = holds()
    more = ("--trainer.max_epochs", str(last + 2))
    assert call(*words(few, "advanced", "out", *more, "--ckpt_path", "last")) == 0
    assert call(*words(few, "advanced", "whole", *more)) == 0
    same_run("out", "whole")


@pytest.mark.parametrize("way", ["simple", "advanced", "cnn"])
def test_ctrl_c_at_each_epochs_end_loses_nothing(
    way: str, few: str, whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for ended in (1, 2):
        out = f"after-{ended}"
        assert interrupted(monkeypatch, 6 * ended + 1, lambda out=out: call(*words(few, way, out))) == 130
        assert len(epochs(out)) == ended
        assert call(*words(few, way, out, "--ckpt_path", "last")) == 0
        same_run(out, whole(way))


def test_a_checkpoint_is_complete_if_the_temporary_folder_is_on_another_file_system(
    few: str, whole: Callable[[str], Path]
) -> None:
    assert killed(Copying(2, step=16), *words(few, "simple"))
    assert holds() == (2, 2, 2)
    assert call(*words(few, "simple", "out", "--ckpt_path", "last")) == 0
    same_run("out", whole("simple"))


@pytest.mark.parametrize("way", ["advanced", "averaged", "stops early"])
def test_ctrl_c_between_training_and_the_test_loses_nothing(
    way: str, few: str, whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr("lightning_module.model.LitClassifier.test_step", stop)
        assert call(*words(few, way)) == 130
    assert epochs("out") == epochs(whole(way))
    assert not Path("out/metrics.json").exists()
    assert call(*words(few, way, "out", "--ckpt_path", "last")) == 0
    same_run("out", whole(way))
