"""Options of the Trainer that cannot be used are refused in one sentence, before a folder is created."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning_helpers import PROG, call, contents, flags, process, sentence

import lightning_module
from lightning_module.data import ImageDataModule
from minigrad.runs import UserError

PATIENCE = ("--early_stopping.patience", "2")
PLATEAU = ("--model.schedule", "reduce_on_plateau")
CALLBACK = "--trainer.callbacks+="
# Options, and the beginning of the sentence. The data have 4 training batches and 2 validation batches of 16 images.
MISTAKES = {
    (*PATIENCE, "--trainer.limit_val_batches", "0"): "trainer.limit_val_batches: 0 with early_stopping.patience",
    (*PATIENCE, "--trainer.limit_val_batches", "0.0"): "trainer.limit_val_batches: 0.0 with early_stopping.patience",
    (*PATIENCE, "--trainer.check_val_every_n_epoch", "9"): "trainer.check_val_every_n_epoch: 9 with early_stopping",
    (
        *PLATEAU,
        "--trainer.limit_val_batches",
        "0",
    ): "trainer.limit_val_batches: 0 with model.schedule reduce_on_plateau",
    (*PLATEAU, "--trainer.check_val_every_n_epoch", "2"): "trainer.check_val_every_n_epoch: 2 with model.schedule",
    ("--trainer.limit_val_batches", "0.001"): "trainer.limit_val_batches: 0.001, of 2 validation batches",
    ("--trainer.limit_train_batches", "0"): "trainer.limit_train_batches: 0; expected more than 0",
    ("--trainer.limit_train_batches", "0.001"): "trainer.limit_train_batches: 0.001, of ",
    ("--trainer.limit_test_batches", "0.001"): "trainer.limit_test_batches: 0.001, of ",
    ("--trainer.overfit_batches", "0.001"): "trainer.overfit_batches: 0.001, of ",
    ("--trainer.val_check_interval", "999"): "trainer.val_check_interval: 999; expected at most ",
    ("--trainer.val_check_interval", "0"): "trainer.val_check_interval: 0; expected more than 0",
    ("--trainer.check_val_every_n_epoch", "0"): "trainer.check_val_every_n_epoch: 0; expected 1 or more",
    ("--trainer.accumulate_grad_batches", "0"): "trainer.accumulate_grad_batches: 0; expected 1 or more",
    ("--trainer.gradient_clip_val", "-1"): "trainer.gradient_clip_val: -1; expected 0 or more",
    ("--trainer.log_every_n_steps", "-1"): "trainer.log_every_n_steps: -1; expected 0 or more",
    ("--trainer.num_sanity_val_steps", "-2"): "trainer.num_sanity_val_steps: -2; expected 0 or more, or -1",
    ("--trainer.min_epochs", "9"): "trainer.min_epochs: 9; expected at most trainer.max_epochs, 3",
    ("--trainer.devices", "99999"): "trainer.devices: 99999; expected at most ",
    ("--trainer.devices", "0"): "trainer: ",
    ("--trainer.accelerator", "tpu"): "trainer: Requirement",
    ("--trainer.precision", "transformer-engine"): "trainer: Requirement",
    ("--model.learning_rate", "1e300"): "model.learning_rate: 1e+300; expected a number from 0 to below 1e+37",
    ("--model.weight_decay", "1e39"): "model.weight_decay: 1e+39; expected a number from 0 to below 1e+37",
    (CALLBACK + "EarlyStopping", "--trainer.callbacks.monitor", "foo"): "trainer.callbacks: EarlyStopping monitors foo",
    (CALLBACK + "ModelCheckpoint", "--trainer.callbacks.monitor", "foo"): "trainer.callbacks: ModelCheckpoint monitors",
    (CALLBACK + "ModelCheckpoint", "--trainer.callbacks.save_top_k", "-5"): "trainer: Invalid value for save_top_k=-5",
    (CALLBACK + "LearningRateMonitor", "--trainer.logger", "false"): "trainer.logger: false with the callback",
    # Arguments of callbacks, optimizers and schedulers.
    ("--trainer.callbacks", "LearningRateFinder", "--trainer.callbacks.min_lr", "-1"): (
        "trainer.callbacks: LearningRateFinder with min_lr -1.0 and max_lr 1.0; expected 0 < min_lr"
    ),
    (CALLBACK + "LearningRateFinder", "--trainer.callbacks.num_training_steps", "0"): (
        "trainer.callbacks: LearningRateFinder with num_training_steps 0; expected 2 or more"
    ),
    (
        CALLBACK + "BatchSizeFinder",
        "--trainer.callbacks.init_val",
        "0",
    ): "trainer.callbacks: BatchSizeFinder with init_",
    (
        "--trainer.callbacks",
        "LearningRateFinder",
        "--trainer.callbacks.min_lr",
        "nan",
    ): "trainer.callbacks: min_lr: nan;",
    (CALLBACK + "ThroughputMonitor",): "trainer.callbacks: batch_size_fn: missing; expected a value",
    (CALLBACK + "Unknown",): "trainer.callbacks: Unknown; expected the name of a callback's class",
    ("--optimizer", "Unknown"): "optimizer: Unknown; expected the name of a class",
    ("--optimizer", "AdamW", "--optimizer.lr", "-1"): "optimizer: AdamW fails (Invalid learning rate: -1.0); expected",
    (
        "--optimizer",
        "SGD",
        "--lr_scheduler",
        "OneCycleLR",
        "--lr_scheduler.max_lr",
        "1",
    ): "lr_scheduler: OneCycleLR fails",
}
# The same, but of errors that show only when the training has begun.
LATE_MISTAKES = {
    (
        "--trainer.callbacks",
        "BackboneFinetuning",
    ): "trainer.callbacks: BackboneFinetuning fails ('LitClassifier' object",
    (
        CALLBACK + "LearningRateFinder",
        "--trainer.callbacks.attr_name",
        "foo",
    ): "trainer.callbacks: LearningRateFinder fails",
    ("--optimizer", "SGD", "--optimizer.lr", "1e300"): "optimizer: SGD fails (value cannot be converted",
    ("--optimizer", "SGD", "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "0"): "lr_scheduler: StepLR fails",
}


@pytest.mark.parametrize(("options", "expected"), MISTAKES.items(), ids=map(" ".join, MISTAKES))
def test_an_option_that_cannot_be_used(options: tuple[str, ...], expected: str, few: str) -> None:
    assert sentence(*flags(few, "out", *options)).startswith(expected)
    assert not Path("out").exists()


@pytest.mark.parametrize(("options", "expected"), LATE_MISTAKES.items(), ids=map(" ".join, LATE_MISTAKES))
def test_an_argument_that_fails_during_the_training(options: tuple[str, ...], expected: str, few: str) -> None:
    assert sentence(*flags(few, "out", *options)).startswith(expected)
    assert not list(Path("out").glob(".*.ckpt"))


def test_a_finder_that_fails_leaves_no_temporary_file(few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    Path("out/.lr_find_of_a_killed_process.ckpt").touch()

    def fail(self: object) -> None:
        assert [path.name[:18] for path in Path("out").glob(".*.ckpt")] == [".scale_batch_size_"]
        raise OSError("no data")

    monkeypatch.setattr(ImageDataModule, "train_dataloader", fail)
    with pytest.raises(OSError, match="no data"):
        call(*flags(few, "out", CALLBACK + "BatchSizeFinder"))
    assert not list(Path("out").glob(".*.ckpt"))


def test_a_timer_is_written_to_the_config(few: str) -> None:
    words = ("--trainer.callbacks", "Timer", "--trainer.callbacks.duration", "00:01:00:00")
    assert call(*flags(few, "out", *words)) == 0
    assert call("fit", "--config", "out/config.yaml", "--overwrite") == 0
    assert call(*flags(few, "out", *words, "--ckpt_path", "last", "--trainer.max_epochs", "4")) == 0


def test_a_refused_option_does_not_remove_the_earlier_run(few: str) -> None:
    assert call(*flags(few, "out")) == 0
    before = contents("out")
    for options in (("--trainer.limit_train_batches", "0.001"), ("--trainer.val_check_interval", "999")):
        assert call(*flags(few, "out", "--overwrite", *options)) == 2
    assert contents("out") == before


def test_the_same_checks_from_python(few: str) -> None:
    for options in ({"accumulate_grad_batches": 0}, {"limit_train_batches": 0.001}):
        (name,) = options
        with pytest.raises(UserError, match=f"trainer.{name}: "):
            lightning_module.fit("simple", out="out", accelerator="cpu", logger=False, **options)
        assert not Path("out").exists()


def test_no_validation_batches_without_early_stopping(few: str) -> None:
    assert call(*flags(few, "out", "--trainer.limit_val_batches", "0")) == 0


def test_an_error_of_the_users_callback_keeps_its_traceback(few: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Mine(Callback):\n"
        "    def on_train_start(self, *_):\n"
        "        raise ValueError('my own mistake')\n"
    )
    monkeypatch.syspath_prepend(Path.cwd())
    with pytest.raises(ValueError, match="my own mistake"):
        call(*flags(few, "out", CALLBACK + "mine.Mine"))


@pytest.mark.slow
def test_off_a_terminal_there_is_one_line_per_epoch(few: str) -> None:
    quiet = ("--trainer.enable_progress_bar", "--trainer.enable_model_summary")
    words = flags(few, "out")
    for name in quiet:
        at = words.index(name)
        del words[at : at + 2]
    running = process(*words)
    out, err = running.communicate(timeout=200)
    assert running.returncode == 0, err
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("epoch "))
    assert [line.split()[0] for line in lines[first : first + 4]] == ["epoch", "1", "2", "3"]
    assert lines[-1].startswith("test accuracy ")
    for text in ("it/s", "TPU", "FLOPs", "logging interval", PROG):
        assert text not in out + err
