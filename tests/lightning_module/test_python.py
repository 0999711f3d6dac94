"""`lightning_module.fit`: training from Python is the training of the command."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, LearningRateMonitor
from lightning_helpers import call, contents, epochs, flags, interrupted, measured, same_run, same_weights

import lightning_module
from minigrad import datasets, recipes
from minigrad.recipes import Data, EarlyStopping, Recipe, Trainer
from minigrad.runs import Stopped, UserError, weights

QUIET: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


@pytest.fixture
def recipe(easy: str) -> Recipe:
    """The recipe of `flags`."""
    return Recipe(data=Data(path=easy, batch_size=16, validation_size=30), trainer=Trainer(max_epochs=3))


def test_it_is_the_run_of_the_command(recipe: Recipe, easy: str) -> None:
    assert call(*flags(easy, "command")) == 0
    result = lightning_module.fit(recipe, out="python", **QUIET)
    Path("command/config.yaml").unlink()  # of the command alone
    same_run("python", "command")
    assert [tuple(vars(e).values())[:-1] for e in result.history] == epochs("command")
    assert result.metrics == measured("command")
    assert result.out == Path("python")


def test_a_recipe_is_given_by_name_or_by_path(easy: str, recipe: Recipe) -> None:
    Path("mine.yaml").write_text(recipes.dump(recipe))
    by_path = lightning_module.fit("mine.yaml", out="path", **QUIET)
    data = datasets.load(easy, 30, 42)
    by_name = lightning_module.fit("simple", data, max_epochs=1, **QUIET)
    assert (len(by_path.history), len(by_name.history)) == (3, 1)
    assert by_name.out == Path("runs/lightning-1")
    assert recipes.load("runs/lightning-1/recipe.yaml").trainer.max_epochs == 1
    with pytest.raises(UserError, match="no such file"):
        lightning_module.fit("medium")


def test_data_are_used_with_their_own_splits(recipe: Recipe, easy: str) -> None:
    data = datasets.load(easy, 50, 7)
    result = lightning_module.fit(recipe, data, "out", **QUIET)
    assert result.metrics["test_images"] == 40
    assert torch.load("out/last.ckpt", weights_only=True)["callbacks"]["RunFolder"]["data"] == data.digest


def test_the_recipe_is_not_changed(recipe: Recipe) -> None:
    before = recipe.as_dict()
    lightning_module.fit(recipe, out="out", max_epochs=1, **QUIET)
    assert recipe.as_dict() == before


def test_a_run_is_resumed(recipe: Recipe) -> None:
    lightning_module.fit(recipe, out="out", **QUIET)
    longer = replace(recipe, trainer=Trainer(max_epochs=5))
    with pytest.raises(UserError, match="already holds a run"):
        lightning_module.fit(longer, out="out", **QUIET)
    result = lightning_module.fit(longer, out="out", resume=True, **QUIET)
    whole = lightning_module.fit(longer, out="whole", **QUIET)
    same_weights("out", "whole")
    assert [e.train_loss for e in result.history] == [e.train_loss for e in whole.history]
    before = contents("out")
    other = replace(longer, data=replace(longer.data, batch_size=8))
    with pytest.raises(UserError, match=r"data\.batch_size is 8"):
        lightning_module.fit(other, out="out", resume=True, **QUIET)
    assert contents("out") == before


def test_ctrl_c_keeps_completed_epochs(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def run() -> int:
        with pytest.raises(Stopped, match="completed epochs are kept in out; fit with resume=True continues"):
            lightning_module.fit(recipe, out="out", **QUIET)
        return 0

    interrupted(monkeypatch, 21, run)  # in the third epoch
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(epochs("out")) == 2
    lightning_module.fit(recipe, out="out", resume=True, **QUIET)
    lightning_module.fit(recipe, out="whole", **QUIET)
    same_run("out", "whole")


def test_a_training_that_no_recipe_describes_is_recorded(recipe: Recipe) -> None:
    callbacks = [EMAWeightAveraging(decay=0.8), LearningRateMonitor()]
    lightning_module.fit(recipe, out="out", callbacks=callbacks, gradient_clip_val=0.5, **QUIET)
    _, extra = recipes.read_trained(Path("out/recipe.yaml"))
    assert extra == {"trainer.gradient_clip_val": 0.5, "trainer.callbacks": ["EMAWeightAveraging"]}
    assert weights.read_spec("out/weights.safetensors").extra == extra


def test_early_stopping_keeps_the_best_epoch(recipe: Recipe, hard: str) -> None:
    model = replace(recipe.model, hidden=[64], learning_rate=0.3)
    data = replace(recipe.data, path=hard)
    stopping = replace(recipe, model=model, data=data, trainer=Trainer(40), early_stopping=EarlyStopping(3))
    result = lightning_module.fit(stopping, out="out", **QUIET)
    best = int(np.argmin([e.val_loss for e in result.history])) + 1  # type: ignore[arg-type]
    assert len(result.history) == best + 3
    assert torch.load("out/best.ckpt", weights_only=True)["epoch"] + 1 == best


def test_several_devices_are_refused(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="devices: 2 in all; expected 1"):
        lightning_module.fit(recipe, out="out", **QUIET | {"devices": 2})
    assert not Path("out").exists()


def test_weights_that_overflow_are_named_as_the_cause(recipe: Recipe, run: Path) -> None:
    spec, arrays = weights.load(run / "weights.safetensors")
    huge = {name: np.full_like(array, 3e38) for name, array in arrays.items()}
    weights.write(Path("big.safetensors"), huge, spec.metadata())
    model = replace(recipe.model, hidden=[7], weights="big.safetensors")
    with pytest.raises(
        UserError, match=r"model\.weights: big\.safetensors: the network's outputs .* are NaN or infinite"
    ):
        lightning_module.fit(replace(recipe, model=model), out="out", max_epochs=0, **QUIET)
