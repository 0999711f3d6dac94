"""The settings of `fit` that are not part of a recipe, and the files of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minigrad.runs import UserError, folder

CHECKPOINT, MODEL, LOG = "checkpoint.safetensors", "model.keras", "metrics.csv"
# The files that `fit` writes, without those for TensorBoard.
FILES = (
    *(folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, folder.CONFUSION, folder.MISTAKES),
    *(CHECKPOINT, MODEL, LOG),
)
Kind = Literal["savedmodel", "onnx", "litert", "int8", "keras", "safetensors", "h5"]  # of exported files


@dataclass(frozen=True)
class Options:
    """Settings of training with Keras for which a recipe has no keys.

    Args:
        ema: the momentum of an exponential moving average of the weights, such as 0.99; the averaged weights are
            validated, saved and tested. null (the default) disables it.
        precision: the dtype policy of Keras. The mixed policies compute in half precision and keep the weights in
            float32.
        devices: the number of devices that train together (per process): GPUs if there are any, otherwise virtual CPU
            devices. Uses MirroredStrategy on TensorFlow and DataParallel on JAX.
        tensorboard: write scalars and weight histograms for TensorBoard, which must be installed.
    """

    ema: float | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    devices: int = 1
    tensorboard: bool = False

    def beyond_recipe(self) -> dict[str, Any]:
        """Return the settings that influence the trained weights and differ from their defaults."""
        default = Options()
        return {
            name: value for name in ("ema", "precision") if (value := getattr(self, name)) != getattr(default, name)
        }


def check(options: Options) -> Options:
    """Return the options unchanged if they are valid.

    Raises:
        UserError: an option is out of range.
    """
    if options.ema is not None and not 0 < options.ema < 1:
        raise UserError(f"ema: {options.ema}; expected a momentum above 0 and below 1, or null")
    if options.devices < 1:
        raise UserError(f"devices: {options.devices}; expected 1 or more")
    return options
