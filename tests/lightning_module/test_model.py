"""The network: the same as minigrad's, name by name and number by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lightning_module.data import ImageDataModule
from lightning_module.model import LitClassifier
from minigrad import recipes
from minigrad.classifier import Classifier
from minigrad.recipes import Recipe

VARIANTS: dict[str, dict[str, Any]] = {
    "simple": {},
    "deep": {"hidden": [9, 8, 7]},
    "linear": {"hidden": []},
    "tanh": {"hidden": [5], "activation": "tanh"},
    "sigmoid": {"hidden": [5, 4], "activation": "sigmoid"},
    "dropout": {"hidden": [6, 5], "dropout": 0.4},
}


def model_section(**values: Any) -> Any:
    return Recipe.from_dict({"model": values}).model


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_parameters_are_those_of_minigrad(variant: str) -> None:
    values = VARIANTS[variant]
    ours = Classifier(model_section(**values), (4, 3), 6)
    theirs = LitClassifier(**values, input_shape=(4, 3), classes=6)
    expected = {name: p.shape for name, p in ours.named_parameters()}
    assert {name: tuple(p.shape) for name, p in theirs.named_parameters()} == expected
    assert list(theirs.weights()) == list(expected), "in the same order"


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_has_minigrads_parameters(name: str) -> None:
    recipe = recipes.load(name)
    ours = Classifier(recipe.model, (28, 28), 10)
    theirs = LitClassifier(**vars(recipe.model))
    assert {n: tuple(p.shape) for n, p in theirs.named_parameters()} == {n: p.shape for n, p in ours.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_the_same_weights_give_the_same_logits(variant: str, kind: str) -> None:
    values, scale = VARIANTS[variant], 1 / 255 if kind == "uint8" else 1.0
    net = Classifier(model_section(**values), (4, 3), 6, scale)
    lit = LitClassifier(**values, input_shape=(4, 3), classes=6, input_scale=scale).eval()
    lit.load_state_dict({n: torch.from_numpy(p.data) for n, p in net.named_parameters()}, strict=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 4, 3)).astype(kind) if scale < 1 else rng.normal(size=(50, 4, 3)).astype(kind)
    with torch.no_grad():
        found = lit(torch.from_numpy(images)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, net.predict(images), rtol=0, atol=1e-6)


def test_the_historical_network_has_7960_parameters() -> None:
    assert sum(p.numel() for p in LitClassifier().parameters()) == 784 * 10 + 10 + 10 * 10 + 10 == 7960


def test_dropout_works_in_training_alone() -> None:
    lit = LitClassifier(hidden=[50], dropout=0.5, input_shape=(8,), input_scale=1.0)
    x = torch.ones(4, 8)
    assert not torch.equal(lit(x), lit(x))
    lit.eval()
    assert torch.equal(lit(x), lit(x))


def test_hyperparameters_are_primitives_without_the_weights() -> None:
    lit = LitClassifier(hidden=[5], input_shape=[4, 3], classes=6)

    def primitive(value: Any) -> bool:
        many = isinstance(value, (list, tuple))
        return all(map(primitive, value)) if many else type(value) in (int, float, str, bool, type(None))

    assert "weights" not in lit.hparams
    assert lit.hparams["classes"] == 6
    assert list(lit.hparams["hidden"]) == [5]
    assert all(primitive(v) for v in lit.hparams.values()), lit.hparams


OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_is_torchs_with_the_recipes_numbers(name: str) -> None:
    momentum = 0.5 if name == "sgd" else 0.0
    lit = LitClassifier(optimizer=name, learning_rate=0.03, momentum=momentum, weight_decay=0.07)  # type: ignore[arg-type]
    optimizer = lit.configure_optimizers()
    assert type(optimizer) is OPTIMIZERS[name]
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.07)
    assert group.get("momentum", 0.0) == momentum
    assert len(group["params"]) == len(list(lit.parameters()))
    if name != "sgd":
        assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)


def test_plateau_watches_the_validation_loss_by_the_shared_numbers() -> None:
    found: Any = LitClassifier(schedule="reduce_on_plateau").configure_optimizers()
    scheduler = found["lr_scheduler"]["scheduler"]
    assert found["lr_scheduler"]["monitor"] == "val_loss"
    assert (scheduler.factor, scheduler.patience, scheduler.threshold) == (0.1, 2, 1e-4)
    assert (scheduler.mode, scheduler.threshold_mode) == ("min", "abs")


def test_cosine_reaches_0_at_the_last_step(easy: str) -> None:
    data = ImageDataModule(easy, 16, 30)
    lit = LitClassifier(
        schedule="cosine", input_shape=data.input_shape, classes=data.classes, input_scale=data.input_scale
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)  # type: ignore[arg-type]
    trainer.fit(lit, data)
    config = trainer.lr_scheduler_configs[0]
    assert config.interval == "step"
    assert config.scheduler.T_max == 2 * math.ceil(130 / 16)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
