"""SIGKILL at any training step: with checkpoints within an epoch, the run that continues equals an uninterrupted one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Calls, Moment, Puts, killed
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning_helpers import call, epochs, measured, network, process, same_weights, sentence

from lightning_module import fit
from lightning_module.model import LitClassifier
from minigrad import recipes
from minigrad.runs import Stopped

OVERALL = 200  # seconds that no healthy process comes near

STEPS = 6  # per epoch, of 90 images
EVERY = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_last=true")
OFTEN = (*EVERY, "--trainer.callbacks.every_n_train_steps=3")
EACH = (*EVERY, "--trainer.callbacks.every_n_train_steps=1")
OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3")
WAYS = {
    "advanced": ("--config", "advanced", "--model.dropout", "0.3", *OFTEN),
    "shift": ("--config", "cnn", "--model.batch_norm", "true", "--data.augment", "shift", *OFTEN),
    "one cycle": ("--config", "advanced", "--model.schedule", "one_cycle", *EACH),
    "cosine": ("--config", "simple", "--model.schedule", "cosine", *OFTEN),
    "plateau": (*OVERFIT, "--model.schedule", "reduce_on_plateau", "--trainer.max_epochs", "8", *EACH),
    "stops early": (*OVERFIT, "--early_stopping.patience", "2", "--trainer.max_epochs", "12", *EACH),
    "accumulated": ("--config", "advanced", "--trainer.accumulate_grad_batches", "4", *EACH),
    "averaged": (
        *("--config", "cnn", "--model.batch_norm", "true"),
        *("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.9", *OFTEN),
    ),
    "validated often": (*OVERFIT, "--trainer.val_check_interval", "0.5", *EACH),
    "validated once, early": (*OVERFIT, "--trainer.val_check_interval", "4", *EACH),
    "validated in every second epoch": (*OVERFIT, "--trainer.check_val_every_n_epoch", "2", *EACH),
    "not validated": ("--config", "simple", "--data.validation_size", "0", *EACH),
    "fewer batches": ("--config", "simple", "--trainer.limit_train_batches", "4", *EACH),
    "overfit": ("--config", "simple", "--trainer.overfit_batches", "4", *EACH),
    "limited by steps": ("--config", "simple", "--trainer.max_epochs", "-1", "--trainer.max_steps", "16", *OFTEN),
}


def words(data: str, way: str, out: str | Path = "out", *more: str) -> list[str]:
    length = () if "--trainer.max_epochs" in WAYS[way] else ("--trainer.max_epochs", "3")
    return ["fit", *WAYS[way], *length, *network(data), "--out", str(out), *more]


@pytest.fixture(scope="module")
def whole(few: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of the uninterrupted run of a way."""

    @cache
    def run(way: str) -> Path:
        out = tmp_path_factory.mktemp("whole") / "out"
        assert call(*words(few, way, out)) == 0
        return out

    return run


def at_step(number: int) -> Calls:
    return Calls("lightning_module.model", "LitClassifier.training_step", number)


def same(out: str, whole: Path) -> None:
    assert epochs(out) == epochs(whole)
    same_weights(out, whole)
    assert measured(out) == measured(whole)


def continues(moment: Moment, data: str, way: str, whole: Path, *more: str) -> bool:
    """Kill the run of a way at a moment, continue it, and compare; return whether it was killed."""
    if not killed(moment, *words(data, way, "out", *more)):
        return False
    assert call(*words(data, way, "out", "--ckpt_path", "last", *more)) == 0
    same("out", whole)
    return True


WORKERS = ("--data.num_workers", "2")
MOMENTS: dict[str, Moment] = {
    # Steps 1, 3, 4 and 6 of the second epoch; the checkpoints are after 3 and 6.
    **{f"step {step}": at_step(step) for step in (7, 9, 10, 12)},
    # The last checkpoint is of the last step of the first epoch.
    "in the validation": Calls("lightning_module.model", "LitClassifier.validation_step", 3),
    "before the history": Puts(1, "history.csv"),
    "after the history": Puts(1, "history.csv", after=True),
    "between the two checkpoints of a step": Puts(4, "last.ckpt"),  # after step 12
}


@pytest.mark.parametrize("moment", [pytest.param(m, marks=[] if m == "step 12" else pytest.mark.slow) for m in MOMENTS])
def test_a_run_killed_within_an_epoch_continues_within_it(
    moment: str, few: str, whole: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert killed(MOMENTS[moment], *words(few, "advanced"))
    steps: list[int] = []
    real = LitClassifier.training_step
    with monkeypatch.context() as m:
        m.setattr(LitClassifier, "training_step", lambda *args: steps.append(1) or real(*args))
        assert call(*words(few, "advanced", "out", "--ckpt_path", "last")) == 0
    done = {"step 10": 9, "step 12": 9, "between the two checkpoints of a step": 12}.get(moment, STEPS)
    assert len(steps) == 3 * STEPS - done
    same("out", whole("advanced"))


class Watch(Callback):
    """Keeps the number of each step, and interrupts the run before one."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.interrupt_at, self.steps = interrupt_at, list[int]()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.interrupt_at:
            raise KeyboardInterrupt
        self.steps.append(trainer.global_step)


def test_from_python_and_past_a_damaged_checkpoint(few: str) -> None:
    def run(out: str, watch: Watch, **options: Any) -> None:
        recipe = replace(recipes.load("advanced"), data=recipes.Data(few, 16, 30), trainer=recipes.Trainer(2))
        saver = ModelCheckpoint("steps", "{step}", every_n_train_steps=2, save_top_k=-1)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        fit(recipe, out=out, callbacks=[saver, watch], **quiet, **options)

    with pytest.raises(Stopped):
        run("parts", Watch(interrupt_at=5))
    cut = Path("steps/step=4.ckpt").read_bytes()
    Path("steps/step=4.ckpt").write_bytes(cut[: len(cut) // 2])
    watch = Watch()
    run("parts", watch, resume=True)
    assert watch.steps == list(range(2, 2 * STEPS))
    run("whole", Watch())
    same("parts", Path("whole"))


def test_a_damaged_part_of_a_checkpoint_is_refused(few: str) -> None:
    assert killed(at_step(5), *words(few, "advanced"))
    (path,) = Path("out/checkpoints").glob("last.ckpt")
    for change in (
        {"within_epoch": {"sums": [[1.0, "many", 3]]}},
        {"within_epoch": {"sums": [[1.0, 2]]}},
        {"within_epoch": {"gradients": {"net.output.bias": torch.zeros(1, 99)}}},
        {"callbacks": {"RunFolder": {"unfinished": {"seconds": 1.0, "validated": True, "metrics": {"val_loss": []}}}}},
        {"callbacks": {"RunFolder": {"unfinished": {"seconds": "soon", "validated": True, "metrics": {}}}}},
    ):
        checkpoint = torch.load(path, weights_only=True)
        torch.save(checkpoint | change, "bad.ckpt")
        message = sentence(*words(few, "advanced", "new", "--ckpt_path", "bad.ckpt"))
        assert message.startswith("--ckpt_path bad.ckpt: cannot be loaded with weights_only=True (")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), WORKERS], ids=["no workers", "two workers"])
@pytest.mark.parametrize("step", range(1, 3 * STEPS + 1))
def test_at_each_step(step: int, workers: tuple[str, ...], few: str, whole: Callable[[str], Path]) -> None:
    assert continues(at_step(step), few, "shift", whole("shift"), *workers)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_training(
    way: str, few: str, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (4, 7, 11):
        (tmp_path / str(step)).mkdir()
        monkeypatch.chdir(tmp_path / str(step))
        assert continues(at_step(step), few, way, whole(way))


@pytest.mark.slow
def test_a_run_killed_in_each_part_equals_an_uninterrupted_one(few: str, whole: Callable[[str], Path]) -> None:
    """With checkpoints that the continued runs have saved."""
    on = ("--ckpt_path", "last")
    for way in ("accumulated", "validated often"):
        assert killed(at_step(6), *words(few, way, way))
        assert killed(at_step(2), *words(few, way, way, *on))
        assert killed(at_step(3), *words(few, way, way, *on))
        assert call(*words(few, way, way, *on)) == 0
        same(way, whole(way))


# Two processes.

DDP = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
KILLED = """
import os, signal, sys
from lightning_module.cli import main
from lightning_module.model import LitClassifier

real, steps = LitClassifier.training_step, []

def step(self, *args):
    steps.append(1)
    if len(steps) == int(os.environ["AT"]) and os.environ.get("LOCAL_RANK", "0") == os.environ["RANK_TO_KILL"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *args)

LitClassifier.training_step = step
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def whole_of_two(few: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two") / "out"
    running = process(*words(few, "advanced", out, *DDP))
    _, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 0, err
    return out


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), WORKERS], ids=["no workers", "two workers"])
@pytest.mark.parametrize("step", [2, 5, 6])
def test_two_processes(
    step: int, workers: tuple[str, ...], few: str, whole_of_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3 steps per epoch; a checkpoint after each second step. Whichever rank is killed, the other one ends too."""
    Path("killed_fit.py").write_text(KILLED)
    monkeypatch.setenv("AT", str(step))
    monkeypatch.setenv("RANK_TO_KILL", str(step % 2))
    often = ("--trainer.callbacks.every_n_train_steps=2",)
    argv = words(few, "advanced", "out", *often, *DDP, *workers)
    running = process("killed_fit.py", *argv, module=False)
    running.communicate(timeout=OVERALL)
    assert running.returncode != 0
    running = process(*argv, "--ckpt_path", "last")
    out, err = running.communicate(timeout=OVERALL)
    assert running.returncode == 0, err
    assert "not resumable" not in err
    assert ("continues the run in out from" in out) == (step > 2)
    assert epochs("out") == epochs(whole_of_two)
    same_weights("out", whole_of_two)
