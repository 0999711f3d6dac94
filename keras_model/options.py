"""What `fit` takes besides the recipe, settings that Keras has and a recipe has no key for; and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minigrad.runs import UserError, folder

CHECKPOINT, MODEL, LOG = "checkpoint.safetensors", "model.keras", "metrics.csv"
# What `fit` writes, besides what TensorBoard is given.
FILES = (
    *(folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, folder.CONFUSION, folder.MISTAKES),
    *(CHECKPOINT, MODEL, LOG),
)
Kind = Literal["savedmodel", "onnx", "litert", "int8", "keras", "safetensors", "h5"]  # of an exported file


@dataclass(frozen=True)
class Options:
    """How Keras trains.

    Args:
        ema: keep the exponential moving average of the weights with this momentum, such as 0.99; it is what is
            validated, kept and tested. null keeps none.
        precision: Keras's dtype policy; mixed ones multiply in half precision and keep weights in float32.
        devices: how many train together, GPUs where there are any, else virtual CPU devices: by MirroredStrategy
            on TensorFlow, by DataParallel on JAX.
        tensorboard: write scalars and weight histograms for TensorBoard, where it is installed.
    """

    ema: float | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    devices: int = 1
    tensorboard: bool = False

    def of_training(self) -> dict[str, Any]:
        """Return the settings that change what is trained, where they are not the defaults."""
        default = Options()
        return {
            name: value for name in ("ema", "precision") if (value := getattr(self, name)) != getattr(default, name)
        }


def check(options: Options) -> Options:
    """The options, if they make sense.

    Raises:
        UserError: one doesn't.
    """
    if options.ema is not None and not 0 < options.ema < 1:
        raise UserError(f"ema: {options.ema}; expected a momentum above 0 and below 1, or null")
    if options.devices < 1:
        raise UserError(f"devices: {options.devices}; expected 1 or more")
    return options
