"""Mistakes in the user's own classes are one sentence, before anything is trained or written."""

from __future__ import annotations

import functools
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the customary name)

import lightning_module
from lightning_module import ImageDataModule, LitClassifier, own_classes
from minigrad import datasets
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Data, Recipe
from minigrad.runs import UserError

SILENT: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
PLAIN = {**SILENT, "logger": False, "enable_checkpointing": False, "use_distributed_sampler": False, "max_epochs": 1}
RECIPE = Recipe(data=Data(batch_size=10, validation_size=6))
SHAPE = {"input_shape": (2, 3), "classes": 3}


def small() -> Dataset:
    """Return 30 images of 2 x 3 pixels to train, 9 to test, in 3 classes."""
    images, labels = np.random.default_rng(0).integers(0, 256, (39, 2, 3)).astype(np.uint8), np.arange(39) % 3
    train, test = Split(images[:30], labels[:30]), Split(images[30:], labels[30:])
    return Dataset(train, Split(images[:0], labels[:0]), test, 3)


class Small(ImageDataModule):
    def load_dataset(self) -> Dataset:
        return small()


def refused(**options: Any) -> str:
    """Return the message of the error of `fit`, which must write nothing."""
    with pytest.raises(UserError) as caught:
        lightning_module.fit(RECIPE, out="out", max_epochs=1, **{"data_module": Small, **SILENT, **options})
    assert not Path("out").exists()
    return str(caught.value)


# The data.

DATA = small()
BAD_DATA: dict[str, tuple[Any, str]] = {
    "tuple": ((DATA.train, DATA.test), "a value of type tuple; expected a Dataset"),
    "None": (None, "a value of type NoneType; expected a Dataset"),
    "dict": ({"train": DATA.train}, "a value of type dict; expected a Dataset"),
    "no split": (replace(DATA, train=DATA.train.images), "train is of type ndarray; expected a Split"),
    "lengths": (replace(DATA, train=Split(DATA.train.images, DATA.train.labels[:20])), "20 labels for 30 images"),
    "float labels": (
        replace(DATA, test=Split(DATA.test.images, DATA.test.labels / 2)),
        r"test\.labels: the dtype is float64; expected integers",
    ),
    "large label": (
        replace(DATA, train=Split(DATA.train.images, DATA.train.labels + 1)),
        r"train\.labels: the label of image 2 is 3; expected 0 to 2",
    ),
    "negative label": (replace(DATA, train=Split(DATA.train.images, DATA.train.labels - 1)), "label of image 0 is -1"),
    "class names": (replace(DATA, class_names=("a", "b")), "there are 2 class names; expected 3"),
    "classes": (replace(DATA, classes=3.0), r"classes is 3\.0; expected a whole number"),
    "no train": (replace(DATA, train=DATA.validation), r"train\.images: the shape is \(0, 2, 3\)"),
    "no test": (replace(DATA, test=DATA.validation), r"test\.images: the shape is \(0, 2, 3\)"),
    "other shape": (
        replace(DATA, test=Split(DATA.test.images[:, :1], DATA.test.labels)),
        r"\(1, 3\); expected \(2, 3\)",
    ),
    "validation": (
        replace(DATA, validation=DATA.test),
        "the validation split has 9 images; expected none, since data.validation_size",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_cannot_be_used_are_refused(case: str) -> None:
    data, message = BAD_DATA[case]

    class Own(ImageDataModule):
        def load_dataset(self) -> Any:
            return data

    with pytest.raises(UserError, match=rf"^Own\.load_dataset: .*{message}"):
        _ = Own().loaded
    if case not in ("None", "validation"):
        with pytest.raises(UserError, match=f"^data: .*{message}"):
            lightning_module.fit(RECIPE, data, out="out", **SILENT)
    assert not Path("out").exists()


def test_integer_labels_are_converted() -> None:
    splits = {part: Split(images.astype(np.float64), labels.astype(np.int32)) for part, (images, labels) in
              (("train", DATA.train), ("test", DATA.test))}  # fmt: skip
    checked = datasets.check_dataset("data", replace(DATA, **splits, classes=np.int64(3), validation=Split([], [])))
    for split in (checked.train, checked.validation, checked.test):
        assert (split.images.dtype, split.labels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(checked.train.labels, DATA.train.labels)
    assert type(checked.classes) is int
    assert checked.validation.images.shape == (0, 2, 3)
    assert datasets.check_dataset("data", DATA).train.images is DATA.train.images


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "linear"}, r"^model\.schedule: 'linear'; expected constant or cosine or one_cycle"),
        ({"architecture": "resnet"}, r"^model\.architecture: 'resnet'; expected mlp or cnn"),
        ({"optimizer": "Adam"}, r"^model\.optimizer: 'Adam'; expected sgd or rmsprop or adam or adamw"),
        ({"activation": "gelu"}, r"^model\.activation: 'gelu'; expected relu or tanh or sigmoid"),
        ({"hidden": 64}, r"^model\.hidden: 64; expected a list such as \[128, 64\]"),
        ({"hidden": ["64"]}, r"^model\.hidden: \['64'\]; expected a list such as"),
        ({"learning_rate": -1.0}, r"^model\.learning_rate: -1\.0; expected a number from 0"),
        ({"classes": np.int64(3)}, r"^model\.classes: a value of type int64; expected a number"),
    ],
)
def test_arguments_of_the_module_are_those_of_a_recipe(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LitClassifier(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"augment": "flip"}, r"^data\.augment: 'flip'; expected none or shift"),
        ({"batch_size": "64"}, r"^data\.batch_size: '64'; expected a whole number"),
        ({"batch_size": 0}, r"^data\.batch_size: 0; expected a whole number of 1 or more"),
        ({"seed": -1}, r"^seed_everything: -1; expected a whole number of 0"),
        ({"num_workers": "2"}, r"^data\.num_workers: '2'; expected 0 to"),
    ],
)
def test_arguments_of_the_data_module_are_those_of_a_recipe(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageDataModule(**arguments)
    assert ImageDataModule(Path("a.npz")).hparams["path"] == "a.npz"  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [nn.ReLU(), torch.zeros(2), {"a": 1}, [1, np.float64(2)]])
def test_arguments_that_checkpoints_cannot_contain_are_refused(value: Any) -> None:
    class Own(LitClassifier):
        def __init__(self, own: Any = None, **recipe: Any) -> None:
            super().__init__(**recipe)

    class OwnData(ImageDataModule):
        def __init__(self, own: Any = None, **recipe: Any) -> None:
            super().__init__(**recipe)

    for section, kind in (("model", Own), ("data", OwnData)):
        with pytest.raises(
            UserError, match=rf"^{section}\.own: a value of type \w+; expected a number, a text or a list"
        ):
            kind(own=value)
        assert kind(own=[1, ("a", None)]).hparams["own"] == [1, ("a", None)]


# Methods and parameters.


class Steps(LitClassifier):
    """Steps of its own, which do not update the metrics."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])


class ValidationStep(LitClassifier):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return None


class TestStep(LitClassifier):
    __test__ = False

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        return None


class LogsItself(Steps):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log_dict({"train_loss": loss, "train_accuracy": 0.5}, on_step=False, on_epoch=True)
        return loss


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Steps, r"^Steps\.training_step: train_loss was not logged; expected a call of super\(\)\.training_step"),
        (ValidationStep, r"^ValidationStep\.validation_step: val_loss was not logged; expected a call of super\(\)"),
        (TestStep, r"^TestStep\.test_step returns None; expected logits, a tensor of shape \(n, 3\)"),
    ],
)
def test_steps_without_metrics_or_logits_are_named(model: type[LitClassifier], message: str) -> None:
    with pytest.raises(UserError, match=message):
        lightning_module.fit(RECIPE, out="out", max_epochs=1, model=model, data_module=Small, **SILENT)
    # The validation is tried before the training, and the test cannot lose what was trained.
    assert Path("out/weights.safetensors").exists() == (model is TestStep)


def test_steps_of_their_own_log_no_metric_without_images() -> None:
    trainer = Trainer(**PLAIN)
    trainer.fit(Steps(**SHAPE), Small(batch_size=10, validation_size=6))
    assert set(trainer.callback_metrics) == {"val_loss", "val_accuracy"}
    result = lightning_module.fit(RECIPE, out="out", max_epochs=1, model=LogsItself, data_module=Small, **SILENT)
    assert result.history[0].train_accuracy == 0.5


def test_a_forward_method_is_refused() -> None:
    class Own(LitClassifier):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)

    with pytest.raises(UserError, match="forward: Own overrides it; expected a method build_network"):
        Own()


class Outside(LitClassifier):
    def __init__(self, frozen: bool = False, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.head = nn.Linear(3, 3).requires_grad_(not frozen)


class Outputs(LitClassifier):
    """A network with a number of outputs of its own."""

    def __init__(self, outputs: int = 3, **recipe: Any) -> None:
        super().__init__(**recipe)

    def build_network(self) -> nn.Module:
        norm = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5))
        return nn.Sequential(nn.Flatten(), Float(), norm, nn.Linear(6, self.hparams["outputs"]))


class Float(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() + torch.rand(())


class Tuple(LitClassifier):
    def build_network(self) -> Any:
        class Net(nn.Linear):
            def forward(self, images: Tensor) -> Any:
                return super().forward(images.flatten(1).float()), None

        return Net(6, 3)


class Loss(LitClassifier):
    def __init__(self, kind: str = "", **recipe: Any) -> None:
        super().__init__(**recipe)

    def loss(self, logits: Tensor, labels: Tensor) -> Any:
        losses = F.cross_entropy(logits, labels, reduction="none")
        return {"none": losses, "float": float(losses.mean())}.get(self.hparams["kind"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Outside, r"^Outside: the parameter head\.weight is outside the network; expected"),
        (functools.partial(Outputs, outputs=4), r"^Outputs\.build_network: .* shape \(2, 4\).*; expected .* \(2, 3\)"),
        (functools.partial(Outputs, outputs=2), r"^Outputs\.build_network: .* shape \(2, 2\).*; expected .* \(2, 3\)"),
        (Tuple, r"^Tuple\.build_network: the network returns a value of type tuple; expected logits"),
        (functools.partial(Loss, kind="none"), r"^Loss\.loss: returns a tensor of shape \(2,\) .*; expected a scalar"),
        (functools.partial(Loss, kind="float"), r"^Loss\.loss: returns a value of type float"),
        (Loss, r"^Loss\.loss: returns None for 2 images"),
    ],
)
def test_networks_and_losses_are_checked_before_training(model: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Trainer(**PLAIN).fit(model(**SHAPE), Small(batch_size=10, validation_size=6))
    with pytest.raises(UserError, match=message):
        lightning_module.fit(RECIPE, out="out", model=model, data_module=Small, **SILENT)
    assert not Path("out").exists()


def test_the_check_changes_nothing() -> None:
    module = Outputs(**SHAPE)
    module.net[2].eval()  # type: ignore[index]
    modes = [part.training for part in module.modules()]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random = torch.get_rng_state()
    own_classes.check_module(module)
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    own_classes.check_module(Outside(frozen=True, **SHAPE))  # such as the teacher of a distillation


# The classes.


class NoRecipe(LitClassifier):
    def __init__(self, width: int = 8) -> None:
        super().__init__()


class Required(LitClassifier):
    def __init__(self, width: int, **recipe: Any) -> None:
        super().__init__(**recipe)


BAD_CLASSES: list[tuple[dict[str, Any], str]] = [
    ({"model": ImageDataModule}, "^model: the class ImageDataModule; expected a subclass of LitClassifier"),
    ({"data_module": LitClassifier}, "^data_module: the class LitClassifier; expected a subclass of ImageDataModule"),
    ({"model": nn.Linear}, "^model: the class Linear; expected a subclass"),
    (
        {"model": NoRecipe},
        r"^model: NoRecipe cannot be called .* 'architecture'\); expected an __init__ with \*\*recipe",
    ),
    ({"model": "cnn"}, "^model: a value of type str; expected a subclass"),
]


@pytest.mark.parametrize(("classes", "message"), BAD_CLASSES)
def test_classes_that_cannot_be_used_are_refused(
    classes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        lightning_module.fit(RECIPE, out="out", **classes)
    monkeypatch.setattr(sys, "argv", ["mine.py", "fit"])
    assert lightning_module.command(**classes) == 2
    assert capsys.readouterr().err == f"python mine.py: error: {caught.value}\n"
    assert not list(Path().iterdir())


def test_instances_and_functions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = LitClassifier(**SHAPE)
    assert refused(model=module) == "model: an instance of LitClassifier; expected the class LitClassifier itself"
    assert "data_module: an instance of Small; expected the class" in refused(data_module=Small())
    assert "Required cannot be called with the keys of a recipe (missing a required argument: 'width')" in refused(
        model=Required
    )
    assert "the class Linear; expected a subclass of LitClassifier" in refused(model=functools.partial(nn.Linear, 3))
    assert "the function returns a value of type Linear" in refused(model=lambda **_: nn.Linear(3, 3))
    own_classes.check_class("model", functools.partial(Required, width=3), LitClassifier, {"hidden": [3]})
    own_classes.check_class("model", Required, LitClassifier)  # --model.width
    monkeypatch.setattr(sys, "argv", ["mine.py", "fit"])
    assert lightning_module.command(module, Small) == 2  # type: ignore[arg-type]
    assert "error: model: an instance of LitClassifier" in capsys.readouterr().err
