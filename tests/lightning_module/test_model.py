"""The network has the names, shapes and outputs of minigrad's."""

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
    "batch norm": {"hidden": [6, 5], "batch_norm": True},
    "cnn": {"architecture": "cnn", "channels": [3], "kernel_size": 3, "hidden": []},
    "deep cnn": {"architecture": "cnn", "channels": [4, 3], "kernel_size": 5, "hidden": [5], "activation": "tanh"},
    "cnn with batch norm": {"architecture": "cnn", "channels": [3], "kernel_size": 1, "batch_norm": True},
}
SHAPES = {"grey": (5, 4), "colour": (5, 4, 2)}


def model_section(**values: Any) -> Any:
    return Recipe.from_dict({"model": values}).model


def started(net: Classifier) -> dict[str, np.ndarray]:
    """Return the network's state, with running statistics other than the initial ones."""
    rng, state = np.random.default_rng(1), net.state_dict()
    return {name: rng.uniform(0.5, 2, a.shape).astype(a.dtype) if "running" in name else a for name, a in state.items()}


def loaded(lit: LitClassifier, state: dict[str, np.ndarray]) -> LitClassifier:
    lit.net.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()}, strict=False)
    return lit


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_its_weights_are_those_of_minigrad(variant: str, shape: tuple[int, ...]) -> None:
    values = VARIANTS[variant]
    model = model_section(**values)
    expected = {name: a.shape for name, a in Classifier(model, shape, 6).state_dict().items()}
    lit = LitClassifier(**values, input_shape=shape, classes=6)
    assert {name: a.shape for name, a in lit.weights().items()} == expected
    assert list(lit.weights()) == list(expected), "in the same order"
    counted = {name for name in lit.net.state_dict() if not name.endswith("num_batches_tracked")}
    assert counted == set(expected) == set(recipes.sizes(model, shape, 6).shapes(model))


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_has_minigrads_parameters(name: str) -> None:
    recipe = recipes.load(name)
    net = Classifier(recipe.model, (28, 28), 10)
    lit = LitClassifier(**vars(recipe.model))
    assert {n: tuple(p.shape) for n, p in lit.net.named_parameters()} == {n: p.shape for n, p in net.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_the_same_weights_give_the_same_logits(variant: str, shape: tuple[int, ...], kind: str) -> None:
    values, scale = VARIANTS[variant], 1 / 255 if kind == "uint8" else 1.0
    net = Classifier(model_section(**values), shape, 6, scale)
    state = started(net)
    net.load_state_dict(state)
    lit = loaded(LitClassifier(**values, input_shape=shape, classes=6, input_scale=scale), state).eval()
    rng, size = np.random.default_rng(0), (50, *shape)
    images = rng.integers(0, 256, size).astype(kind) if scale < 1 else rng.normal(size=size).astype(kind)
    with torch.no_grad():
        logits = lit(torch.from_numpy(images)).numpy()
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, net.predict(images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["batch norm", "cnn with batch norm"])
def test_running_statistics_move_as_minigrads_do(variant: str) -> None:
    net = Classifier(model_section(**VARIANTS[variant]), (5, 4), 6, 1.0, dtype=np.float64)
    lit = loaded(
        LitClassifier(**VARIANTS[variant], input_shape=(5, 4), classes=6, input_scale=1.0).double(), started(net)
    )
    net.load_state_dict(started(net))
    images = np.random.default_rng(0).normal(3, 2, (7, 5, 4))
    expected, logits = net(images).data, lit(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-13)
    for name, array in net.state_dict().items():
        np.testing.assert_allclose(lit.weights()[name], array, rtol=1e-13, err_msg=name)


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


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


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
    if name == "rmsprop":
        assert (group["alpha"], group["eps"], group["centered"]) == (0.99, 1e-8, False)
    elif name != "sgd":
        assert (group["betas"], group["eps"]) == ((0.9, 0.999), 1e-8)


def test_plateau_watches_the_validation_loss_by_the_shared_numbers() -> None:
    configured: Any = LitClassifier(schedule="reduce_on_plateau").configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["monitor"] == "val_loss"
    assert (scheduler.factor, scheduler.patience, scheduler.threshold) == (0.1, 2, 1e-4)
    assert (scheduler.mode, scheduler.threshold_mode) == ("min", "abs")


def trained(schedule: str, path: str) -> Trainer:
    """Train for two epochs on the data at `path`."""
    data = ImageDataModule(path, 16, 30)
    lit = LitClassifier(
        schedule=schedule,  # type: ignore[arg-type]
        input_shape=data.dataset.input_shape,
        classes=data.dataset.classes,
        input_scale=data.dataset.input_scale,
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)  # type: ignore[arg-type]
    trainer.fit(lit, data)
    return trainer


def test_cosine_reaches_0_at_the_last_step(easy: str) -> None:
    trainer = trained("cosine", easy)
    config = trainer.lr_scheduler_configs[0]
    assert config.interval == "step"
    assert config.scheduler.T_max == 2 * math.ceil(130 / 16)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_one_cycle_is_torchs_over_all_steps(easy: str) -> None:
    trainer = trained("one_cycle", easy)
    config = trainer.lr_scheduler_configs[0]
    scheduler: Any = config.scheduler
    assert type(scheduler) is torch.optim.lr_scheduler.OneCycleLR
    assert (config.interval, scheduler.total_steps) == ("step", 2 * math.ceil(130 / 16))
    group = trainer.optimizers[0].param_groups[0]
    assert (group["initial_lr"], group["max_lr"]) == (0.1 / 25, 0.1)
    assert group["min_lr"] == pytest.approx(0.1 / 25 / 1e4)
    assert group["momentum"] == 0, "momentum does not cycle"
