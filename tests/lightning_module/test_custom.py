"""Subclasses of LitClassifier and ImageDataModule: own network, loss and data, from Python and on the command line."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning_helpers import CHOSEN, QUIET, ROOT, call, epochs, flags, in_numpy, kept, measured, same_weights
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the customary name)
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lightning_module
from lightning_module import ImageDataModule, LitClassifier, RunFolder
from lightning_module.network import Scale
from minigrad import datasets, recipes
from minigrad.recipes import Data, Model, Recipe
from minigrad.runs import UserError, calibration, curves, metrics, pictures, weights

SILENT: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
PLAIN = {**SILENT, "logger": False, "enable_checkpointing": False, "use_distributed_sampler": False}
CPU = ("--trainer.accelerator", "cpu", *QUIET)


class Own(LitClassifier):
    """A network and a loss of its own."""

    def __init__(self, width: int = 8, smoothing: float = 0.2, **recipe: Any) -> None:
        super().__init__(**recipe)

    def build_network(self) -> nn.Module:
        h: Any = self.hparams
        hidden = nn.Linear(int(np.prod(h.input_shape)), h.width)
        return nn.Sequential(Scale(h.input_scale), nn.Flatten(), hidden, nn.GELU(), nn.Linear(h.width, h.classes))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.hparams.smoothing)  # type: ignore[attr-defined]


class OtherLoss(LitClassifier):
    """The recipe's network with another loss."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.multi_margin_loss(logits, labels)


class InMemory(ImageDataModule):
    """Images that are generated, and brighter in training."""

    def __init__(self, brighter: int = 5, **recipe: Any) -> None:
        super().__init__(**recipe)

    def load_dataset(self) -> datasets.Dataset:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, 300)
        images = rng.integers(40, 200, (3, 4, 5))[labels] + rng.normal(0, 60, (300, 4, 5))
        return datasets.from_arrays(np.clip(images, 0, 250).astype(np.uint8), labels)

    def on_after_batch_transfer(self, batch: tuple[Tensor, ...], dataloader_idx: int) -> tuple[Tensor, ...]:
        images, *labels = super().on_after_batch_transfer(batch, dataloader_idx)
        trains = self.trainer is not None and self.trainer.training
        return images + self.hparams.brighter if trains else images, *labels  # type: ignore[attr-defined]


def run(*argv: str, model: Any = Own, data: Any = InMemory, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command with the classes above, as a program mine.py."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    os.environ.pop(CHOSEN, None)
    monkeypatch.setattr(sys, "argv", ["mine.py", *argv])
    try:
        return lightning_module.command(model, data)
    finally:
        os.environ.pop(CHOSEN, None)
        signal.signal(signal.SIGINT, on_interrupt)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Any:
    return functools.partial(run, monkeypatch=monkeypatch)


# From Python.


class Bare(Dataset[Tensor]):
    """Images without labels, whose batches are bare tensors."""

    images = torch.rand(7, 4, 5)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_predict_accepts_bare_tensors_and_tuples() -> None:
    module, images = LitClassifier(input_shape=(4, 5), input_scale=1.0), Bare.images
    with torch.no_grad():
        expected = module.eval()(images)
    for data in (Bare(), TensorDataset(images), TensorDataset(images, torch.zeros(7).long())):
        outputs: Any = Trainer(**PLAIN).predict(module, DataLoader(data, batch_size=3))
        assert [len(part) for part in outputs] == [3, 3, 1]
        torch.testing.assert_close(torch.cat(outputs), expected)


def test_a_subclass_trains_with_a_plain_trainer() -> None:
    data, module = InMemory(batch_size=50), Own(input_shape=(4, 5), classes=3, smoothing=0.3, learning_rate=0.2)
    trainer = Trainer(max_epochs=3, **PLAIN)
    trainer.fit(module, data)
    images, labels = (torch.from_numpy(part) for part in data.dataset.validation)
    with torch.no_grad():
        expected = F.cross_entropy(module.eval()(images), labels, label_smoothing=0.3)
    assert trainer.callback_metrics["val_loss"] == pytest.approx(float(expected), rel=1e-5)
    trainer.save_checkpoint("mine.ckpt")
    restored = Own.load_from_checkpoint("mine.ckpt", weights_only=True)
    assert dict(restored.hparams) == dict(module.hparams)
    torch.testing.assert_close(restored.eval()(images), module(images))


def test_the_transform_is_applied_in_training_alone() -> None:
    seen: dict[str, float] = {}

    class Watching(Own):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            seen["train"] = float(batch[0].float().max())
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
            seen["val"] = float(batch[0].float().max())
            return super().validation_step(batch, batch_idx)

    data = InMemory(batch_size=140, validation_size=100)
    Trainer(max_epochs=1, **PLAIN).fit(Watching(input_shape=(4, 5), classes=3), data)
    train, validation = data.dataset.train.images.max(), data.dataset.validation.images.max()
    assert seen == {"train": float(train) + 5, "val": float(validation)}


def test_fit_takes_the_classes_and_records_them(mine: Any) -> None:
    model = functools.partial(Own, width=5)
    recipe = Recipe(data=Data(batch_size=32), model=Model(learning_rate=0.2))
    result = lightning_module.fit(recipe, out="out", max_epochs=3, model=model, data_module=InMemory, **SILENT)
    assert result.metrics["parameters"] == 20 * 5 + 5 + 5 * 3 + 3
    assert result.metrics["test_accuracy"] > 0.5  # chance is a third
    _, extra = recipes.read_trained(Path("out/recipe.yaml"))
    expected = {"model.class": "Own", "model.width": 5, "model.smoothing": 0.2}
    assert extra == {**expected, "data.class": "InMemory", "data.brighter": 5}
    # The command trains the same network.
    words = ("--model.width", "5", "--model.learning_rate", "0.2", "--data.batch_size", "32")
    assert mine("fit", *words, "--trainer.max_epochs", "3", "--out", "command", *CPU) == 0
    same_weights("out", "command")
    # The run continues, but not with another width.
    longer = functools.partial(lightning_module.fit, recipe, out="out", resume=True, data_module=InMemory, **SILENT)
    with pytest.raises(UserError, match=r"model\.width is 6, but the run was made with 5"):
        longer(model=functools.partial(Own, width=6), max_epochs=4)
    with pytest.raises(UserError, match=r"model\.class is null, but the run was made with Own"):
        longer(max_epochs=4)
    assert len(longer(model=model, max_epochs=4).history) == 4


def test_other_losses_keep_the_weights_readable_by_all_packages(easy: str) -> None:
    recipe = Recipe(data=Data(path=easy, batch_size=16, validation_size=30))
    result = lightning_module.fit(recipe, out="out", max_epochs=3, model=OtherLoss, **SILENT)
    net, data = in_numpy("out")
    scored = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert result.metrics["test_accuracy"] == scored["test_accuracy"]
    assert result.metrics["test_loss"] == pytest.approx(scored["test_loss"], rel=1e-5), "cross-entropy, for comparison"
    assert weights.read_spec("out/weights.safetensors").extra == {"model.class": "OtherLoss"}
    assert call("test", "--model.weights", "out/weights.safetensors", "--data.path", easy, "--out", "t", *CPU) == 0
    assert measured("t")["test_correct"] == result.metrics["test_correct"]


def test_run_folder_names_what_it_cannot_use() -> None:
    class Other(LightningModule):
        pass

    with pytest.raises(UserError, match="RunFolder: the module is a Other; expected a LitClassifier or a subclass"):
        RunFolder(Path("out"), Recipe()).setup(Trainer(**PLAIN), Other(), "fit")
    trainer = Trainer(**PLAIN | {"enable_checkpointing": True}, callbacks=[RunFolder(Path("out"), Recipe())])
    with pytest.raises(UserError, match="predict with the data module NoneType; expected an ImageDataModule"):
        trainer.predict(LitClassifier(input_shape=(4, 5), input_scale=1.0), DataLoader(Bare()))


# On the command line.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command with both classes."""
    out = tmp_path_factory.mktemp("mine") / "out"
    with pytest.MonkeyPatch.context() as patch:
        for module, result in ((calibration, None), (curves, None), (pictures, [])):  # drawing takes seconds
            patch.setattr(module, "draw", lambda *_, result=result: result)
        words = ("--model.width", "6", "--model.smoothing", "0.1", "--data.brighter", "9", "--data.batch_size", "32")
        assert run("fit", *words, "--trainer.max_epochs", "2", "--out", str(out), *CPU, monkeypatch=patch) == 0
    return out


def test_the_flags_of_the_classes_are_used(trained: Path) -> None:
    assert kept(trained)["2.weight"].shape == (6, 20)
    assert measured(trained)["test_images"] == 60
    hparams = torch.load(trained / "last.ckpt", weights_only=True)["hyper_parameters"]
    assert (hparams["width"], hparams["smoothing"]) == (6, 0.1)


def test_a_run_of_a_subclass_is_resumed(trained: Path, mine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--config", str(trained / "config.yaml"), *CPU)
    assert mine("fit", *words, "--trainer.default_root_dir", "parts") == 0
    assert (
        mine("fit", *words, "--trainer.default_root_dir", "parts", "--trainer.max_epochs", "4", "--ckpt_path", "last")
        == 0
    )
    assert mine("fit", *words, "--trainer.default_root_dir", "whole", "--trainer.max_epochs", "4") == 0
    same_weights("parts", "whole")
    assert epochs("parts") == epochs("whole")
    capsys.readouterr()
    assert (
        mine(
            "fit",
            *words,
            "--trainer.default_root_dir",
            "parts",
            "--model.width",
            "7",
            "--ckpt_path",
            "last",
            "--trainer.max_epochs",
            "5",
        )
        == 2
    )
    err = capsys.readouterr().err
    assert err.startswith("python mine.py: error: --ckpt_path: model.width is 7, but the run was made with 6; expected")


@pytest.mark.parametrize("source", ["--ckpt_path=last.ckpt", "--model.weights=weights.safetensors"])
def test_a_trained_network_of_a_subclass_is_used(source: str, trained: Path, mine: Any) -> None:
    flag, file = source.split("=")
    words = (flag, str(trained / file), *CPU)
    assert mine("test", *words, "--out", "tested") == 0
    for name in ("test_accuracy", "test_loss", "parameters"):
        assert measured("tested")[name] == measured(trained)[name]
    images = InMemory().loaded.test.images
    np.save("images.npy", images)
    assert mine("predict", *words, "--data.path", "images.npy", "--out", "predicted") == 0
    labels = [int(line.split(",")[1]) for line in Path("predicted/predictions.csv").read_text().splitlines()[1:]]
    correct = int((np.array(labels) == InMemory().loaded.test.labels).sum())
    assert correct == measured(trained)["test_correct"]
    # Without a path, the images are those of the class's own test split, and not MNIST.
    assert mine("predict", *words, "--out", "own") == 0
    assert Path("own/predictions.csv").read_text() == Path("predicted/predictions.csv").read_text()


def test_other_programs_refuse_it(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*argv: str) -> str:
        capsys.readouterr()
        assert call(*argv, *CPU) == 2
        return capsys.readouterr().err.splitlines()[-1]

    checkpoint = ("--ckpt_path", str(trained / "last.ckpt"))
    for words in (["fit"], ["validate"], ["test"], ["predict"], ["test", "--trainer.fast_dev_run", "true"]):
        assert "is of the class Own; expected a checkpoint of LitClassifier" in refused(*words, *checkpoint)
    holds = "holds the network of the class Own; expected the network of a recipe, or the program with that class"
    assert holds in refused("predict", "--model.weights", str(trained / "weights.safetensors"))
    with pytest.raises(UserError, match=holds):
        weights.load(trained / "weights.safetensors")


def test_a_checkpoint_of_the_recipes_network_is_refused_by_the_program(easy: str, mine: Any, capsys: Any) -> None:
    assert call(*flags(easy, "base")) == 0
    assert mine("test", "--ckpt_path", "base/last.ckpt", *CPU) == 2
    assert "is of the class LitClassifier; expected a checkpoint of Own" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_of_a_subclass_is_exported(trained: Path, mine: Any) -> None:
    np.save("images.npy", InMemory().loaded.test.images)
    words = ("--ckpt_path", str(trained / "last.ckpt"), "--data.path", "images.npy", "--out", "exported", *CPU)
    assert mine("export", *words) == 0
    assert {p.name for p in Path("exported").iterdir() if p.name[0] != "."} == {"last.onnx", "last.pt2"}


# The example.


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("custom_lightning", ROOT / "examples/custom_lightning.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_trains_with_its_own_parts(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    example.train([])
    assert measured("runs/custom")["test_accuracy"] > 0.9  # chance is a third
    assert list(measured("runs/custom")["test_accuracy_by_class"]) == ["rows", "columns", "diagonals"]
    lines = [json.loads(line) for line in Path("runs/custom/log.jsonl").read_text().splitlines()]
    worst = [line["val_worst_class_accuracy"] for line in lines if "val_worst_class_accuracy" in line]
    accuracies = [line["val_accuracy"] for line in lines if "val_accuracy" in line]
    assert len(worst) == 8
    assert all(w <= a + 1e-6 for w, a in zip(worst, accuracies, strict=True))
    assert f"{worst[-1]:.0%} after the last" in capsys.readouterr().out


def test_the_example_is_a_command(example: ModuleType, mine: Any) -> None:
    classes = {"model": example.StripeClassifier, "data": example.Stripes}
    words = ("--model.width", "4", "--trainer.max_epochs", "1", "--out", "out", *CPU)
    assert mine("fit", *words, **classes) == 0
    assert measured("out")["parameters"] == 64 * 4 + 4 + 4 * 3 + 3


def test_a_loss_that_is_assigned_is_refused() -> None:
    """The method would be called, and the assigned loss ignored."""

    class Assigns(LitClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)

    with pytest.raises(UserError, match=r"loss: Assigns assigns a CrossEntropyLoss to it; expected a method loss\("):
        Assigns()
