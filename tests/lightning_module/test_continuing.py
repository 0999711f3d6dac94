"""Which run a checkpoint continues, with which settings; other runs are unchanged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from lightning_helpers import call, contents, epochs, flags, interrupted, kept, network, same_weights, sentence

from minigrad import recipes
from minigrad.runs import UserError, weights

ONE, TWO = Path("runs/lightning-1"), Path("runs/lightning-2")


def fit(data: str, *more: str) -> list[str]:
    """Return the arguments of a small run without a folder."""
    return ["fit", *network(data), "--trainer.max_epochs", "2", *more]


@pytest.fixture
def two_runs(easy: str) -> dict[str, bytes]:
    """`runs/lightning-1` and `runs/lightning-2`; returns the files of the second."""
    for seed in ("1", "2"):
        assert call(*fit(easy, "--seed_everything", seed)) == 0
    return contents(TWO)


def test_a_checkpoint_continues_the_run_it_is_in(
    two_runs: dict[str, bytes], easy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seed_everything", "1", "--trainer.max_epochs", "4")
    assert call(*fit(easy, *words, "--ckpt_path", str(ONE / "last.ckpt"))) == 0
    assert f"continues the run in {ONE} from {ONE / 'last.ckpt'}" in capsys.readouterr().out
    assert contents(TWO) == two_runs
    assert len(epochs(ONE)) == 4
    assert [path.name for path in Path("runs").iterdir() if path.name not in (ONE.name, TWO.name)] == []
    assert call(*flags(easy, "whole", *words)) == 0
    same_weights(ONE, "whole")


def test_a_checkpoint_outside_of_a_run_starts_a_new_one(
    two_runs: dict[str, bytes], easy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ONE / "last.ckpt", "mine.ckpt")
    first, words = contents(ONE), ("--seed_everything", "1", "--trainer.max_epochs", "4")
    assert call(*fit(easy, *words, "--ckpt_path", "mine.ckpt")) == 0
    assert "starts a new run in runs/lightning-3 from mine.ckpt" in capsys.readouterr().out
    assert (contents(ONE), contents(TWO)) == (first, two_runs)
    assert len(epochs("runs/lightning-3")) == 4


@pytest.mark.parametrize("flag", ["--out", "--trainer.default_root_dir"])
def test_an_explicit_folder_wins(flag: str, two_runs: dict[str, bytes], easy: str) -> None:
    first = contents(ONE)
    words = fit(easy, "--seed_everything", "1", "--trainer.max_epochs", "4", "--ckpt_path", str(ONE / "last.ckpt"))
    assert call(*words, flag, "mine") == 0
    assert (contents(ONE), contents(TWO)) == (first, two_runs)
    assert len(epochs("mine")) == 4
    message = sentence(*words, flag, str(TWO))
    assert message.startswith(f"--out {TWO}: already holds a run; expected another folder")
    assert (contents(ONE), contents(TWO)) == (first, two_runs)


def test_two_folders_are_refused(easy: str) -> None:
    message = sentence(*flags(easy, "a", "--out", "b"))
    assert "--out: b, but --trainer.default_root_dir is a" in message
    assert not list(Path().iterdir())


def test_last_and_best_are_those_of_the_newest_run(two_runs: dict[str, bytes], easy: str) -> None:
    assert call("test", *network(easy), "--ckpt_path", "best") == 0
    assert json.loads(Path("runs/lightning-3/metrics.json").read_text())["test_images"] == 40
    assert contents(TWO) == two_runs


# The last checkpoint, in any folder.


def own_checkpoint(dirpath: str | None) -> list[str]:
    words = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_top_k=-1"]
    return [*words, *([f"--trainer.callbacks.dirpath={dirpath}"] if dirpath else [])]


@pytest.mark.parametrize("dirpath", [None, "elsewhere"])
def test_a_checkpoint_of_the_users_own_is_found(
    dirpath: str | None, easy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags(easy, "parts", "--trainer.max_epochs", "4", *own_checkpoint(dirpath))
    assert interrupted(monkeypatch, 21, lambda: call(*words)) == 130  # in the third epoch
    before = epochs("parts")
    assert len(before) == 2
    assert not Path("parts/last.ckpt").exists()
    capsys.readouterr()
    assert call(*words, "--ckpt_path", "last") == 0
    assert "continues the run in parts from" in capsys.readouterr().out
    assert epochs("parts")[:2] == before
    assert call(*flags(easy, "whole", "--trainer.max_epochs", "4")) == 0
    same_weights("parts", "whole")


def test_a_checkpoint_of_another_run_is_not_taken(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs may save their checkpoints into one folder."""
    assert call(*flags(easy, "other", "--seed_everything", "7", *own_checkpoint("shared"))) == 0
    words = flags(easy, "parts", "--trainer.max_epochs", "4")
    assert interrupted(monkeypatch, 21, lambda: call(*words)) == 130
    for name in ("last.ckpt", "best.ckpt"):
        Path("parts", name).unlink()
    before = contents("parts")
    message = sentence(*words, *own_checkpoint("shared"), "--ckpt_path", "last")
    assert message.startswith("--ckpt_path last: parts holds a history of 2 epochs, but no checkpoint to continue from")
    assert contents("parts") == before


# The same data and settings.


def test_other_data_of_the_same_shape_are_refused(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(easy, "data.npz")
    words = flags("data.npz", "parts")
    assert interrupted(monkeypatch, 21, lambda: call(*words)) == 130
    before = contents("parts")
    with np.load(easy) as archive:
        np.savez("data.npz", **{**dict(archive), "x_train": archive["x_train"][::-1]})
    for checkpoint in ("last", "parts/last.ckpt"):
        message = sentence(*words, "--ckpt_path", checkpoint)
        assert "--ckpt_path: data.path: data.npz holds other data than the run was trained on" in message
    assert contents("parts") == before
    message = sentence(*flags("data.npz", "new"), "--ckpt_path", "parts/last.ckpt")
    assert "holds other data" in message
    assert not Path("new").exists()


@pytest.mark.parametrize("out", ["parts", "new"])
def test_other_settings_are_refused(out: str, easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI would train with the settings in the checkpoint."""
    assert interrupted(monkeypatch, 21, lambda: call(*flags(easy, "parts"))) == 130
    before = contents("parts")
    for words in (("--model.learning_rate", "0.05"), ("--data.batch_size", "8"), ("--model.momentum", "0.5")):
        message = sentence(*flags(easy, out, *words), "--ckpt_path", "parts/last.ckpt")
        for word in (f"--ckpt_path: {words[0][2:]} is {words[1]}", "expected --config parts/config.yaml"):
            assert word in message
    assert contents("parts") == before


# Recorded settings.


def recorded(out: str | Path) -> tuple[recipes.Recipe, dict[str, Any], dict[str, Any]]:
    """Return the recorded recipe, the settings beyond it, and those of the weights file."""
    recipe, beyond = recipes.read_trained(Path(out, "recipe.yaml"))
    spec = weights.read_spec(Path(out, "weights.safetensors"))
    assert (spec.recipe, spec.extra) == (recipe, beyond)
    return recipe, beyond, {"not_in_recipe": spec.extra}


BEYOND: dict[str, tuple[tuple[str, ...], str]] = {
    "optimizer": (("--optimizer", "torch.optim.NAdam", "--optimizer.lr", "0.02"), "optimizer"),
    "lr_scheduler": (
        ("--optimizer", "Adam", "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1"),
        "lr_scheduler",
    ),
    "clipping": (("--trainer.gradient_clip_val", "0.5"), "trainer.gradient_clip_val"),
    "accumulation": (("--trainer.accumulate_grad_batches", "2"), "trainer.accumulate_grad_batches"),
    "averaging": (("--trainer.callbacks+=EMAWeightAveraging",), "trainer.callbacks"),
    "precision": (("--trainer.precision", "bf16-mixed"), "trainer.precision"),
}


@pytest.mark.parametrize("way", BEYOND)
def test_settings_without_recipe_keys_are_recorded(way: str, easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, key = BEYOND[way]
    assert interrupted(monkeypatch, 21, lambda: call(*flags(easy, "out", *words))) == 130
    _, beyond, found = recorded("out")
    assert key in beyond
    assert found["not_in_recipe"] == beyond
    with pytest.raises(UserError, match="a recipe has no keys"):
        recipes.load("out/recipe.yaml")
    # config.yaml has all settings. With fewer settings the run does not continue.
    options = ["fit", "--config", "out/config.yaml", "--out", "out", "--ckpt_path", "last"]
    message = sentence(*flags(easy, "out", "--ckpt_path", "last"))
    assert re.match(
        r"--ckpt_path: \S+ is null, but the run was made with .*; expected --config out/config.yaml", message
    )
    assert call(*options) == 0
    assert len(epochs("out")) == 3


PATIENT = ("--early_stopping.patience", "5")
EVERY_SECOND = ("--trainer.check_val_every_n_epoch", "2")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--trainer.limit_train_batches", "1"), {"trainer.limit_train_batches": 1}),
        (("--trainer.limit_train_batches", "1.0"), {}),
        ((*PATIENT, *EVERY_SECOND), {"trainer.check_val_every_n_epoch": 2}),
        (EVERY_SECOND, {}),
    ],
)
def test_a_limit_is_recorded_where_it_changes_the_training(
    words: tuple[str, ...], expected: dict[str, Any], easy: str
) -> None:
    """A limit of 1 is one batch and 1.0 is all; validation matters only if something monitors it."""
    assert call(*flags(easy, "out", *words, "--trainer.max_epochs", "2", "--trainer.limit_test_batches", "1")) == 0
    assert recorded("out")[1] == expected


def test_the_result_of_a_finder_is_recorded(easy: str) -> None:
    finders = ["--trainer.callbacks+=BatchSizeFinder", "--trainer.callbacks.max_trials=2"]
    finders += ["--trainer.callbacks+=LearningRateFinder"]
    assert call(*flags(easy, "out", *finders)) == 0
    recipe, beyond, _ = recorded("out")
    assert beyond == {}
    saved = torch.load("out/last.ckpt", weights_only=True)
    assert recipe.model.learning_rate == saved["optimizer_states"][0]["param_groups"][0]["lr"] != 0.1
    assert saved["global_step"] == 3 * -(-130 // recipe.data.batch_size)
    assert recipe.data.batch_size != 16
    # The recorded recipe gives the same training.
    assert call("fit", "--config", "out/recipe.yaml", "--out", "again", *network(easy)[-6:]) == 0
    for name, array in kept("out").items():
        np.testing.assert_array_equal(kept("again")[name].shape, array.shape)
    message = sentence(*flags(easy, "out", *finders, "--ckpt_path", "last", "--trainer.max_epochs", "5"))
    assert "trainer.callbacks: BatchSizeFinder with --ckpt_path" in message


# Files.


def test_the_manifest_lists_all_files_of_a_run(easy: str) -> None:
    assert call(*flags(easy, "out", "--tensorboard")) == 0
    assert call("predict", *network(easy), "--model.weights", "out/weights.safetensors", "--out", "out") == 0
    listed = set(json.loads(Path("out/.files.json").read_text())["files"])
    assert listed - {"mistakes.png"} == set(contents("out"))  # there may be none to show
    mine = ("paper.onnx", "other.ckpt", "checkpoint.d/thesis.tex", "tensorboard/events.out.tfevents.mine", "a.pt2")
    for name in mine:
        Path("out", name).parent.mkdir(exist_ok=True)
        Path("out", name).write_text("mine")
    assert call(*flags(easy, "out", "--overwrite", "--trainer.max_epochs", "1")) == 0
    assert {name: contents("out")[name] for name in mine} == dict.fromkeys(mine, b"mine")
    assert "predictions.csv" not in contents("out")
    assert not list(Path("out/tensorboard").glob("*.0"))


def test_a_folder_in_use_is_refused(easy: str) -> None:
    Path("out").mkdir()
    with FileLock("out/.run.lock"):
        for words in (flags(easy, "out"), flags(easy, "out", "--overwrite"), flags(easy, "out", "--ckpt_path", "last")):
            assert "--out out: another command is writing there" in sentence(*words)


@pytest.mark.parametrize("command", ["test", "predict"])
def test_commands_without_validation_do_not_split_the_data(command: str, easy: str, run: Path) -> None:
    words = ["--data.path", easy, "--data.validation_size", "5000", "--data.batch_size", "1000"]
    options = ["--model.weights", str(run / "weights.safetensors"), "--trainer.accelerator", "cpu", "--out", "out"]
    assert call(command, *words, *options) == 0
    assert Path("out", {"test": "metrics.json", "predict": "predictions.csv"}[command]).exists()
