"""Checks before a run is resumed: the recipe, the data, the checkpoint; and the settings in the files of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_helpers import Command, contents, epochs, flags, measured, once, same_model, same_run

from keras_model import resume
from minigrad import recipes
from minigrad.runs import UserError, weights

pytestmark = [once, pytest.mark.usefixtures("_undrawn")]

OUT = Path("out")


def interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, after: int, *words: str) -> None:
    """Run the command, and stop it by Ctrl-C after some epochs."""
    real = resume.ResumableState.on_epoch_end

    def call(self: resume.ResumableState, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        if epoch + 1 == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(resume.ResumableState, "on_epoch_end", call)
        assert command("fit", *words).status == 130


def test_a_finished_run_can_be_extended(easy: str, command: Command) -> None:
    words = ("--model.momentum", "0.9", "--model.schedule", "reduce_on_plateau")
    assert command("fit", *flags(easy, OUT, *words)).status == 0
    assert command("fit", *flags(easy, OUT, *words, "--resume", "--trainer.max_epochs", "5")).status == 0
    assert command("fit", *flags(easy, "whole", *words, "--trainer.max_epochs", "5")).status == 0
    same_run(OUT, "whole")
    same_model(OUT, "whole")
    assert measured(OUT)["epochs"] == 5


def test_a_run_with_a_stretched_schedule_cannot_be_extended(
    easy: str, command: Command, refused: Callable[..., str]
) -> None:
    words = flags(easy, OUT, "--model.schedule", "cosine")
    command("fit", *words)
    before = contents(OUT)
    text = refused("fit", *words, "--resume", "--trainer.max_epochs", "20")
    for word in ("trainer.max_epochs is 20", "planned for 3", "cosine", "--model.weights"):
        assert word in text
    result = command("fit", *words, "--resume")
    assert (result.status, result.out) == (0, "out holds a finished run, which is left as it is\n")
    assert contents(OUT) == before


def test_other_data_of_the_same_shape_are_refused(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(easy, "data.npz")
    words = flags("data.npz", OUT)
    interrupted(command, monkeypatch, 2, *words)
    before = contents(OUT)
    with np.load(easy) as archive:
        np.savez("data.npz", **{**dict(archive), "y_train": archive["y_train"][::-1]})
    assert "--resume: data.path: data.npz holds other data" in refused("fit", *words, "--resume")
    assert contents(OUT) == before
    shutil.copy(easy, "data.npz")
    assert command("fit", *words, "--resume").status == 0


def test_a_run_without_its_checkpoint_does_not_start_again(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(command, monkeypatch, 2, *flags(easy, OUT))
    (OUT / "checkpoint.safetensors").unlink()
    before = contents(OUT)
    text = refused("fit", *flags(easy, OUT, "--resume"))
    assert "out holds a history of 2 epochs, but no checkpoint.safetensors" in text
    assert contents(OUT) == before
    assert "already holds a run" in refused("fit", *flags(easy, OUT))


def test_settings_beyond_the_recipe_are_recorded(easy: str, command: Command) -> None:
    words = ("--ema", "0.9", "--trainer.max_epochs", "2")
    assert command("fit", *flags(easy, OUT, *words)).status == 0
    _, beyond = recipes.read_trained(OUT / "recipe.yaml")
    assert beyond == {"ema": 0.9}
    assert weights.read_spec(OUT / "weights.safetensors").extra == beyond
    with pytest.raises(UserError, match="unknown key ema"):
        recipes.load(str(OUT / "recipe.yaml"))
    # This package takes the key, so the file is the whole training.
    assert command("fit", "--config", "out/recipe.yaml", "--out", "again").status == 0
    assert epochs("again") == epochs(OUT)
    words = ("--model.weights", "out/weights.safetensors", "--data.path", easy, "--data.validation_size", "5000")
    assert command("test", *words, "--out", "tested").status == 0
    assert measured("tested")["test_correct"] == measured(OUT)["test_correct"]
