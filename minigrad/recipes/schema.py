"""The keys of a recipe, which are the same for all four commands.

Each dataclass is one section; each field is one key, with its type and
default. `check` applies the rules that a type cannot express.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal, get_type_hints

from ..runs.errors import UserError
from ..runs.foreign import shown
from .types import fits, in_words

Activation = Literal["relu", "tanh", "sigmoid"]
Architecture = Literal["mlp", "cnn"]
Optimizer = Literal["sgd", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "one_cycle", "reduce_on_plateau"]
Augment = Literal["none", "shift"]
Monitor = Literal["val_loss", "val_accuracy"]


@dataclass
class Model:
    """The network and how it is trained.

    Args:
        architecture: mlp: linear layers with activations between them. cnn: convolutions, each with 2x2 max pooling,
            before those layers.
        channels: the output channels of each convolution of a cnn.
        kernel_size: the height and width of each convolution's kernel, an odd number.
        hidden: the number of units in each hidden linear layer.
        activation: the activation after each convolution and each hidden layer.
        dropout: the probability of dropping a hidden unit in training, at least 0 and below 1.
        batch_norm: normalize each convolution and each hidden layer over the batch, before its activation.
        optimizer: the update rule; all packages use PyTorch's formula.
        learning_rate: the learning rate; with one_cycle, its maximum.
        momentum: the momentum of sgd.
        weight_decay: the weight decay; added to the gradient as weight_decay * weight, or decoupled from it in adamw.
        schedule: constant: the learning rate does not change. cosine: it falls to 0 along a half cosine. one_cycle: it
            rises to learning_rate in the first 30 % of the steps, then falls. reduce_on_plateau: it is divided by 10
            whenever the validation loss has not fallen by 0.0001 for 3 epochs.
        weights: a weights.safetensors file to start from; null starts from random weights.
    """

    architecture: Architecture = "mlp"
    channels: list[int] = field(default_factory=lambda: [8, 16])
    kernel_size: int = 5
    hidden: list[int] = field(default_factory=lambda: [10])
    activation: Activation = "relu"
    dropout: float = 0.0
    batch_norm: bool = False
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    weights: str | None = None


@dataclass
class Data:
    """The data to train on.

    Args:
        path: mnist, digits, an .npz file, or a folder with CSV files, IDX files or one subfolder of pictures per class;
            predict accepts images in more formats.
        batch_size: the number of images per step.
        validation_size: the number of training images that are held out for validation, chosen by the seed; null takes a
            tenth of them, at most 5,000.
        augment: none, or shift: moves each training image by up to one pixel in each direction, by a new random amount in
            each epoch.
    """

    path: str = "mnist"
    batch_size: int = 128
    validation_size: int | None = None
    augment: Augment = "none"


@dataclass
class Trainer:
    """The length of the training.

    Args:
        max_epochs: the number of passes over the training data; 0 only tests the network.
    """

    max_epochs: int = 10


@dataclass
class EarlyStopping:
    """When to stop earlier.

    Args:
        patience: stop after this number of epochs without a better validation metric, and keep the best epoch's weights;
            null never stops early.
        monitor: the metric that determines the best epoch: val_loss, the lower the better, or val_accuracy, the higher
            the better. Of equal epochs, the first is the best.
    """

    patience: int | None = None
    monitor: Monitor = "val_loss"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the lowest or the highest value of `monitor` is the best, as Keras and Lightning name it."""
        return "max" if self.monitor == "val_accuracy" else "min"

    def is_better(self, value: float, best: float) -> bool:
        """Return whether a value of `monitor` is better than the best one so far; an equal value is not."""
        return value > best if self.mode == "max" else value < best


# The arguments of torch's ReduceLROnPlateau: it waits for more than `patience` epochs.
PLATEAU = {"factor": 0.1, "patience": 2, "threshold": 1e-4}
# The arguments of torch's OneCycleLR: it starts at 1/25 of the learning rate and ends at 1/10,000 of that.
ONE_CYCLE = {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4}

MAX_LAYERS = 100  # hidden layers, and convolutions
# Adam multiplies the learning rate by up to 10 at its first step, and the result must be finite in float32.
LARGEST = 1e37

SECTIONS = {"model": Model, "data": Data, "trainer": Trainer, "early_stopping": EarlyStopping}


@dataclass
class Recipe:
    """A complete recipe; `Recipe()` equals the built-in recipe `simple`."""

    seed_everything: int = 42
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    trainer: Trainer = field(default_factory=Trainer)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)

    def as_dict(self) -> dict[str, Any]:
        """Return nested dicts of plain values, in the order of the file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Build a recipe from what `as_dict` returned; an unknown key raises a TypeError."""
        sections = {name: section(**values.get(name, {})) for name, section in SECTIONS.items()}
        return cls(values.get("seed_everything", 42), **sections)


def flat(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return all keys with their values, such as `("model.hidden", [10])`."""
    sections = [(f"{name}.{k}", v) for name in SECTIONS for k, v in vars(getattr(recipe, name)).items()]
    return [("seed_everything", recipe.seed_everything), *sections]


@cache
def key_types() -> dict[str, Any]:
    """Return the type of each key, such as `list[int]` for model.hidden."""
    types = {f"{name}.{key}": hint for name, kind in SECTIONS.items() for key, hint in get_type_hints(kind).items()}
    return {"seed_everything": int, **types}


def check(recipe: Recipe) -> Recipe:
    """Return `recipe` if every value is valid.

    Raises:
        UserError: a value is invalid; the message names the first such key, its value and what was expected.
    """
    for name, value in flat(recipe):
        hint = key_types()[name]
        if value is None and not fits(None, hint):
            raise UserError(f"{name}: null; expected a value")
        if not fits(value, hint):
            raise UserError(f"{name}: {shown(repr(value), 60)}; expected {in_words(hint)}")
    model, data = recipe.model, recipe.data
    for key, layers in (("model.hidden", model.hidden), ("model.channels", model.channels)):
        if len(layers) > MAX_LAYERS:
            raise UserError(f"{key}: a list of {len(layers):,} numbers; expected at most {MAX_LAYERS}")
    for name, path in (("model.weights", model.weights), ("data.path", data.path)):
        _check_path(name, path)
    integers = [
        ("seed_everything", recipe.seed_everything, 0, 2**32 - 1),
        *(("model.hidden", size, 1, 1_000_000) for size in model.hidden),
        *(("model.channels", size, 1, 1_000_000) for size in model.channels),
        ("model.kernel_size", model.kernel_size, 1, 1000),
        ("data.batch_size", data.batch_size, 1, math.inf),
        ("data.validation_size", data.validation_size or 0, 0, math.inf),
        ("trainer.max_epochs", recipe.trainer.max_epochs, 0, math.inf),
        ("early_stopping.patience", 1 if (p := recipe.early_stopping.patience) is None else p, 1, math.inf),
    ]
    for key, value, low, high in integers:
        if not low <= value <= high:
            raise UserError(
                f"{key}: {value}; expected a whole number of {low} or more"
                + (f", at most {high}" if high < math.inf else "")
            )
    for key, number, top in (
        ("model.learning_rate", model.learning_rate, LARGEST),
        ("model.dropout", model.dropout, 1),
        ("model.momentum", model.momentum, 1),
        ("model.weight_decay", model.weight_decay, LARGEST),
    ):
        if not 0 <= number < top:
            raise UserError(f"{key}: {number}; expected a number from 0 to below {top:g}")
    if model.kernel_size % 2 == 0:
        raise UserError(
            f"model.kernel_size: {model.kernel_size}; expected an odd number, so that the kernel has a center"
        )
    _check_combinations(recipe)
    return recipe


def _check_path(name: str, path: str | None) -> None:
    """Check that a path is not empty, and that recipe.yaml can contain it."""
    if path == "":
        raise UserError(f"{name}: ''; expected a path")
    if path is not None and not path.isprintable() and any("\ud800" <= c <= "\udfff" for c in path):
        raise UserError(
            f"{name}: {path}: contains bytes that are not UTF-8; expected a path in UTF-8, which recipe.yaml can contain"
        )


def _check_combinations(recipe: Recipe) -> None:
    """Check the rules that concern several keys."""
    model = recipe.model
    if model.architecture == "cnn" and not model.channels:
        raise UserError("model.channels: []; expected one number or more, since model.architecture is cnn")
    if model.momentum and model.optimizer != "sgd":
        raise UserError(
            f"model.momentum: {model.momentum} with model.optimizer {model.optimizer}; expected 0, since only sgd has momentum"
        )
    if model.learning_rate * model.weight_decay >= LARGEST:
        raise UserError(
            f"model.weight_decay: {model.weight_decay} with model.learning_rate {model.learning_rate}; expected a product below"
            f" {LARGEST:g}"
        )
    if recipe.data.validation_size == 0 and watches_validation(recipe):
        raise UserError(
            "data.validation_size: 0; expected 1 or more, since early_stopping and reduce_on_plateau watch validation metrics"
        )


def watches_validation(recipe: Recipe) -> bool:
    """Return whether training with `recipe` needs validation metrics."""
    return recipe.early_stopping.patience is not None or recipe.model.schedule == "reduce_on_plateau"


def note_default_data(path: str, trained_on: str | None) -> None:
    """Print a line if a network is evaluated on the default data although it was trained on others.

    Args:
        path: the `data.path` of the command that evaluates the network.
        trained_on: that of its training; None if it is not known.
    """
    if trained_on not in (None, path) and path == Data.path:
        print(f"{path} is the default of --data.path; this network was trained on {trained_on}")
