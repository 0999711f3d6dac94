"""What a comparison of two models is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from minigrad.runs import UserError

from .model import Layout

CopyWeights = Literal["left", "right", "none"]
Loss = Literal["cross_entropy", "mse"]
Optimizer = Literal["sgd", "adam"]
Mode = Literal["free", "single-step"]

# Powers of two, which are exact in float32 too: Keras stores the learning rate in that dtype.
LEARNING_RATES: dict[str, float] = {"sgd": 2.0**-7, "adam": 2.0**-10}


@dataclass(frozen=True)
class Request:
    """The sides and the options of a comparison; `compare.diff` describes them.

    Raises:
        UserError: an option has an invalid value.
    """

    left: str
    right: str
    data: Path | None = None
    input_shape: tuple[int, ...] | None = None
    map: Path | None = None
    copy_weights: CopyWeights = "none"
    steps: int = 0
    loss: Loss = "cross_entropy"
    optimizer: Optimizer = "sgd"
    mode: Mode = "free"
    left_layout: Layout | None = None
    right_layout: Layout | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {"copy_weights": CopyWeights, "loss": Loss, "optimizer": Optimizer, "mode": Mode}
        for name, kind in {**choices, "left_layout": Layout, "right_layout": Layout}.items():
            value, known = getattr(self, name), get_args(kind)
            if value not in known and not (value is None and name.endswith("layout")):
                raise UserError(f"--{name.replace('_', '-')}: {value}; expected {' or '.join(known)}")
        if self.steps < 0:
            raise UserError(f"--steps: {self.steps}; expected 0 or more")
        if self.seed < 0:
            raise UserError(f"--seed: {self.seed}; expected 0 or more")
        if self.input_shape is not None and (not self.input_shape or min(self.input_shape) < 1):
            raise UserError(f"--input-shape: {self.input_shape}; expected whole numbers from 1, such as 3,32,32")
        if self.input_shape is not None and self.data is not None:
            raise UserError(f"--input-shape and --data {self.data}: the data have a shape; expected one of them")

    @property
    def learning_rate(self) -> float:
        """The learning rate of the optimizer."""
        return LEARNING_RATES[self.optimizer]

    def as_dict(self) -> dict[str, Any]:
        """Return all options except the sides, as plain values."""
        options = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        return {name: value for name, value in options.items() if name not in ("left", "right")}


def parse_shape(text: str) -> tuple[int, ...]:
    """Return the shape in a text such as `3,32,32`.

    Raises:
        UserError: another form.
    """
    numbers = text.strip("()[] ").split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise UserError(f"--input-shape: {text}; expected whole numbers from 1, such as 3,32,32")
    return tuple(map(int, numbers))
