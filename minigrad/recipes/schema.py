"""What a recipe is: one closed set of keys, the same for all four commands.

Each dataclass is one section; each field a key, with its type and default.
`check` holds the rules that a type can't say.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..runs.errors import UserError

Activation = Literal["relu", "tanh", "sigmoid"]
Architecture = Literal["mlp", "cnn"]
Optimizer = Literal["sgd", "rmsprop", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "one_cycle", "reduce_on_plateau"]
Augment = Literal["none", "shift"]


@dataclass
class Model:
    """The network and how it learns.

    Args:
        architecture: the kind of network: mlp, linear layers with activations between them; or cnn,
            convolutions before those, each with 2x2 max pooling.
        channels: of a cnn, how many each convolution gives.
        kernel_size: of a cnn, the height and width of each convolution's window, odd.
        hidden: the sizes of the hidden linear layers.
        activation: what stands after each convolution and each hidden layer.
        dropout: the probability of dropping a hidden unit in training, 0 to below 1.
        batch_norm: normalise each convolution and each hidden layer over the batch, before its activation.
        optimizer: the update rule, in torch's formula in all three frameworks.
        learning_rate: the step size at the start.
        momentum: of sgd.
        weight_decay: added to the gradient as weight_decay * weight; decoupled from it in adamw.
        schedule: how the learning rate moves: not; down a half cosine to 0 (cosine); up to learning_rate
            for the first 3 in 10 steps, then down (one_cycle); or by 10 times down whenever the
            validation loss has not fallen by 0.0001 for 3 epochs (reduce_on_plateau).
        weights: a weights.safetensors to start from.
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
    """What is learnt.

    Args:
        path: mnist, an .npz, or a folder with Kaggle's CSV or IDX files.
        batch_size: images a step.
        validation_size: images held out of training, drawn by the seed; null takes a tenth of the training images,
            at most 5,000.
        augment: what is done to training images: none, or shift, which moves each by up to one pixel
            in each direction, anew in each epoch.
    """

    path: str = "mnist"
    batch_size: int = 128
    validation_size: int | None = None
    augment: Augment = "none"


@dataclass
class Trainer:
    """How long.

    Args:
        max_epochs: passes over the training data; 0 only evaluates.
    """

    max_epochs: int = 10


@dataclass
class EarlyStopping:
    """When to stop before that.

    Args:
        patience: epochs without a lower validation loss; the best epoch's weights are kept. null never stops.
    """

    patience: int | None = None


# reduce_on_plateau, in torch's terms: more than `patience` epochs without falling by `threshold`.
PLATEAU = {"factor": 0.1, "patience": 2, "threshold": 1e-4}
# one_cycle, in torch's terms: from 1/25 of the rate up in `pct_start` of the steps, then down to 1/10,000 of the start.
ONE_CYCLE = {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4}

SECTIONS = {"model": Model, "data": Data, "trainer": Trainer, "early_stopping": EarlyStopping}


@dataclass
class Recipe:
    """A whole recipe; `Recipe()` is the recipe named simple."""

    seed_everything: int = 42
    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    trainer: Trainer = field(default_factory=Trainer)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dicts, in the order of the file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """The inverse of `as_dict`; an unknown key is a TypeError."""
        sections = {name: section(**values.get(name, {})) for name, section in SECTIONS.items()}
        return cls(values.get("seed_everything", 42), **sections)


def flat(recipe: Recipe) -> list[tuple[str, Any]]:
    """Each key with its dots, and its value."""
    sections = [(f"{name}.{k}", v) for name in SECTIONS for k, v in vars(getattr(recipe, name)).items()]
    return [("seed_everything", recipe.seed_everything), *sections]


def check(recipe: Recipe) -> Recipe:
    """Return `recipe` if every value makes sense.

    Raises:
        UserError: naming the first key that doesn't, its value and what was expected.
    """
    for name, value in flat(recipe):
        if value is None and name not in ("model.weights", "early_stopping.patience", "data.validation_size"):
            raise UserError(f"{name}: null; expected a value")
    model, data = recipe.model, recipe.data
    whole = [
        ("seed_everything", recipe.seed_everything, 0, 2**32 - 1),
        *(("model.hidden", size, 1, 1_000_000) for size in model.hidden),
        *(("model.channels", size, 1, 1_000_000) for size in model.channels),
        ("model.kernel_size", model.kernel_size, 1, 1000),
        ("data.batch_size", data.batch_size, 1, math.inf),
        ("data.validation_size", data.validation_size or 0, 0, math.inf),
        ("trainer.max_epochs", recipe.trainer.max_epochs, 0, math.inf),
        ("early_stopping.patience", 1 if (p := recipe.early_stopping.patience) is None else p, 1, math.inf),
    ]
    for key, value, low, high in whole:
        if isinstance(value, bool) or not low <= value <= high:
            raise UserError(
                f"{key}: {value}; expected a whole number of {low} or more"
                + (f", at most {high}" if high < math.inf else "")
            )
    for key, number, top in (
        ("model.learning_rate", model.learning_rate, math.inf),
        ("model.dropout", model.dropout, 1),
        ("model.momentum", model.momentum, 1),
        ("model.weight_decay", model.weight_decay, math.inf),
    ):
        if not 0 <= number < top:
            raise UserError(
                f"{key}: {number}; expected a number from 0" + (f" to below {top}" if top < math.inf else ", finite")
            )
    if model.kernel_size % 2 == 0:
        raise UserError(
            f"model.kernel_size: {model.kernel_size}; expected an odd number, so that a window has a middle"
        )
    if model.architecture == "cnn" and not model.channels:
        raise UserError("model.channels: []; expected one number or more, since model.architecture is cnn")
    if model.momentum and model.optimizer != "sgd":
        raise UserError(
            f"model.momentum: {model.momentum} with model.optimizer {model.optimizer}; expected 0, since only sgd has momentum"
        )
    if data.validation_size == 0 and watches_validation(recipe):
        raise UserError(
            "data.validation_size: 0; expected 1 or more, since early_stopping and reduce_on_plateau watch the validation loss"
        )
    return recipe


def watches_validation(recipe: Recipe) -> bool:
    """Return whether training by `recipe` needs a validation loss."""
    return recipe.early_stopping.patience is not None or recipe.model.schedule == "reduce_on_plateau"
