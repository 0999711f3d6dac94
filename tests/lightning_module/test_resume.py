"""`--ckpt_path last`: a resumed run equals an uninterrupted one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from lightning_helpers import CNN, call, contents, epochs, flags, interrupted, kept, measured, same_weights, sentence

from minigrad import recipes

SIZE = ("--trainer.max_epochs", "6")  # of 90 images and 6 steps
OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "40")
WAYS = {
    "sgd": (),
    "momentum": ("--model.momentum", "0.9", "--model.learning_rate", "0.05"),
    "adamw": ("--model.optimizer", "adamw", "--model.weight_decay", "0.1", "--model.learning_rate", "0.01"),
    "cosine": ("--model.schedule", "cosine"),
    "one cycle": ("--model.schedule", "one_cycle", "--model.optimizer", "rmsprop", "--model.learning_rate", "0.01"),
    "batch norm": ("--model.batch_norm", "true", "--model.hidden", "[12, 8]"),
    "cnn": CNN,
    "early stopping": (*OVERFIT, "--early_stopping.patience", "3"),
    "early stopping by accuracy": (
        *OVERFIT,
        "--early_stopping.patience",
        "3",
        "--early_stopping.monitor",
        "val_accuracy",
    ),
    "plateau": (*OVERFIT, "--trainer.max_epochs", "10", "--model.schedule", "reduce_on_plateau"),
    "no validation": ("--data.validation_size", "0"),
    "dropout": ("--model.dropout", "0.4", "--model.hidden", "[12, 8]"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_run_equals_an_uninterrupted_one(
    way: str, hard: str, few: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, data = (*SIZE, *WAYS[way]), few if way == "cnn" else hard
    assert call(*flags(data, "whole", *words)) == 0
    capsys.readouterr()
    assert interrupted(monkeypatch, 21, lambda: call(*flags(data, "parts", *words))) == 130
    printed = capsys.readouterr().err
    assert "stopped; completed epochs are kept in parts" in printed
    assert "--ckpt_path last" in printed
    assert not Path("parts/metrics.json").exists()
    before = epochs("parts")
    assert 1 <= len(before) < len(epochs("whole"))
    assert call(*flags(data, "parts", *words, "--ckpt_path", "last")) == 0
    assert epochs("parts")[: len(before)] == before
    assert epochs("parts") == epochs("whole")
    same_weights("parts", "whole")
    assert measured("parts") == measured("whole")
    if way == "plateau":
        assert epochs("whole")[-1][-1] < 0.3, "otherwise the rate has not changed"


def test_the_last_checkpoint_is_the_last_epochs(hard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*OVERFIT, "--trainer.max_epochs", "14")
    assert interrupted(monkeypatch, 6 * 11 + 2, lambda: call(*flags(hard, "out", *words))) == 130
    losses = [row[3] for row in epochs("out")]
    assert len(losses) == 11
    assert min(losses) < losses[-1], "otherwise the last epoch is the best"
    assert torch.load("out/last.ckpt", weights_only=True)["epoch"] + 1 == 11, "no completed epoch is lost"


def test_a_run_stopped_in_its_first_epoch_starts_anew(hard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*flags(hard, "whole", *SIZE)) == 0
    assert interrupted(monkeypatch, 3, lambda: call(*flags(hard, "parts", *SIZE))) == 130
    assert call(*flags(hard, "parts", *SIZE, "--ckpt_path", "last")) == 0
    assert epochs("parts") == epochs("whole")
    same_weights("parts", "whole")


def test_without_a_run_it_starts_anew(easy: str) -> None:
    assert call(*flags(easy, "a")) == 0
    assert call(*flags(easy, "b", "--ckpt_path", "last")) == 0
    same_weights("a", "b")


def test_a_finished_run_is_unchanged(run: Path, easy: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, "out")
    before = contents("out")
    assert call(*flags(easy, "out", "--model.hidden", "[7]", "--ckpt_path", "last")) == 0
    assert contents("out") == before
    assert "out holds a finished run, which is left as it is" in capsys.readouterr().out


def test_another_recipe_is_refused(easy: str, hard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted(monkeypatch, 21, lambda: call(*flags(hard, "out", *SIZE))) == 130
    before = contents("out")
    message = sentence(*flags(hard, "out", *SIZE, "--ckpt_path", "last", "--model.learning_rate", "0.2"))
    for word in ("model.learning_rate is 0.2", "0.1", "out/config.yaml"):
        assert word in message
    assert contents("out") == before


def test_resume_and_overwrite_exclude_each_other(run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    before = contents("out")
    message = sentence(*flags(easy, "out", "--ckpt_path", "last", "--overwrite"))
    assert "--ckpt_path last and --overwrite" in message
    assert contents("out") == before


def test_a_longer_run_may_follow(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*flags(easy, "whole", "--trainer.max_epochs", "5")) == 0
    assert interrupted(monkeypatch, 21, lambda: call(*flags(easy, "parts"))) == 130
    assert call(*flags(easy, "parts", "--trainer.max_epochs", "5", "--ckpt_path", "last")) == 0
    same_weights("parts", "whole")


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_schedule_over_the_whole_run_cannot_become_longer(
    schedule: str, finished: bool, easy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = flags(easy, "parts", "--model.schedule", schedule)
    if finished:
        assert call(*words) == 0
    else:
        assert interrupted(monkeypatch, 21, lambda: call(*words)) == 130
    before = contents("parts")
    message = sentence(*words, "--trainer.max_epochs", "5", "--ckpt_path", "last")
    for word in ("--ckpt_path: trainer.max_epochs is 5", "planned for 3", schedule, "--model.weights"):
        assert word in message
    assert contents("parts") == before
    assert call(*words, "--ckpt_path", "last") == 0
    assert len(epochs("parts")) == 3


def test_a_finished_run_may_be_continued(run: Path, easy: str) -> None:
    shutil.copytree(run, "out")
    words = ("--model.hidden", "[7]", "--trainer.max_epochs")
    assert call(*flags(easy, "out", *words, "7", "--ckpt_path", "last")) == 0
    assert call(*flags(easy, "whole", *words, "7")) == 0
    assert epochs("out") == epochs("whole")
    same_weights("out", "whole")
    assert measured("out") == measured("whole")
    assert recipes.load("out/recipe.yaml").trainer.max_epochs == 7


def test_a_run_limited_by_steps_goes_on(hard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--trainer.max_epochs", "-1", "--trainer.max_steps", "30")
    assert call(*flags(hard, "whole", *words)) == 0
    assert interrupted(monkeypatch, 21, lambda: call(*flags(hard, "parts", *words))) == 130
    assert call(*flags(hard, "parts", *words, "--ckpt_path", "last")) == 0
    same_weights("parts", "whole")


def test_a_checkpoint_may_start_a_run_in_another_folder(run: Path, easy: str) -> None:
    words = ("--ckpt_path", str(run / "last.ckpt"), "--model.hidden", "[7]", "--trainer.max_epochs", "6")
    assert call(*flags(easy, "out", *words)) == 0
    assert len(epochs("out")) == 6
    assert epochs("out")[:5] == epochs(run)
    assert any((kept("out")[name] != a).any() for name, a in kept(run).items())
