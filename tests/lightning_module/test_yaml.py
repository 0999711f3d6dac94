"""Lightning's own YAML: callbacks, loggers, optimizers and schedulers by class."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning_helpers import call, epochs, flags, measured


def file(**content: Any) -> tuple[str, str]:
    Path("more.yaml").write_text(yaml.safe_dump(content))
    return "--config", "more.yaml"


def by_class(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}


def test_a_learning_rate_monitor_logs(easy: str) -> None:
    callbacks = [by_class("LearningRateMonitor", logging_interval="epoch")]
    assert call(*flags(easy, "out", *file(trainer={"callbacks": callbacks}))) == 0
    assert "lr-SGD" in Path("out/metrics.csv").read_text().splitlines()[0]
    assert Path("out/last.ckpt").exists(), "in addition to the default callbacks"


def test_the_users_early_stopping_stops(hard: str) -> None:
    # No loss is this much lower than the one before.
    own = by_class("EarlyStopping", monitor="val_loss", patience=2, min_delta=100.0)
    words = (*file(trainer={"callbacks": [own]}), "--early_stopping.patience", "30", "--trainer.max_epochs", "9")
    assert call(*flags(hard, "out", *words)) == 0
    assert len(epochs("out")) == 3


def test_the_users_model_checkpoint_replaces_the_default_ones(easy: str) -> None:
    own = by_class("ModelCheckpoint", dirpath="mine", filename="{epoch}", save_top_k=-1)
    assert call(*flags(easy, "out", *file(trainer={"callbacks": [own]}))) == 0
    assert sorted(p.name for p in Path("mine").iterdir()) == [f"epoch={n}.ckpt" for n in range(3)]
    assert not list(Path("out").glob("*.ckpt"))
    assert measured("out")["epochs"] == 3


def test_an_optimizer_and_a_scheduler_by_name(easy: str) -> None:
    more = file(
        optimizer={"class_path": "RMSprop", "init_args": {"lr": 0.02}},
        lr_scheduler={"class_path": "ExponentialLR", "init_args": {"gamma": 0.5}},
    )
    assert call(*flags(easy, "out", *more)) == 0
    rates = [row[-1] for row in epochs("out")]
    assert [b / a for a, b in pairwise(rates)] == pytest.approx([0.5, 0.5])
    config = yaml.safe_load(Path("out/config.yaml").read_text())
    assert config["optimizer"]["class_path"] == "torch.optim.RMSprop"
    assert measured("out")["test_accuracy"] > 0.5


def test_an_optimizer_by_flags(easy: str) -> None:
    words = ("--optimizer", "Adam", "--optimizer.lr", "0.02", "--lr_scheduler", "CosineAnnealingLR")
    assert call(*flags(easy, "out", *words, "--lr_scheduler.T_max", "3")) == 0
    rates = [row[-1] for row in epochs("out")]
    assert 0.02 >= rates[0] > rates[1] > rates[2]
    config = yaml.safe_load(Path("out/config.yaml").read_text())
    assert config["lr_scheduler"]["class_path"] == "torch.optim.lr_scheduler.CosineAnnealingLR"


def test_a_recipe_and_yaml_of_lightning_are_combined(images: str) -> None:
    more = file(trainer={"max_epochs": 2, "gradient_clip_val": 1.0, "limit_train_batches": 3})
    words = ("--config", "simple", *more, "--data.path", images, "--trainer.accelerator", "cpu")
    assert call("fit", *words, "--trainer.default_root_dir", "out") == 0
    assert len(epochs("out")) == 2
    config = yaml.safe_load(Path("out/config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] == 1.0
