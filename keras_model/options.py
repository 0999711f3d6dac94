"""The settings of `fit` that are not part of a recipe, and the files of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

from minigrad.runs import UserError, folder, foreign

CHECKPOINT, MODEL, LOG = "checkpoint.safetensors", "model.keras", "metrics.csv"
# The files that `fit` writes, without those for TensorBoard.
FILES = (
    *(folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES, folder.METRICS, folder.CONFUSION, folder.MISTAKES),
    *(folder.RELIABILITY, CHECKPOINT, MODEL, LOG),
)
# The formats of exported files. `int8` is the earlier name of `--kinds litert --precision int8`.
Kind = Literal["savedmodel", "onnx", "litert", "pt2", "keras", "safetensors", "h5", "int8"]

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
PRECISIONS = get_args(Precision)


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
        class_weight: the weight of each class in the training loss, by the number of the class, such as {0: 1.0, 1: 5.0};
            1 for the other classes. The validation is not weighted. null (the default) weights all classes equally.
    """

    ema: float | None = None
    precision: Precision = "float32"
    devices: int = 1
    tensorboard: bool = False
    class_weight: dict[int, float] | None = None

    def beyond_recipe(self) -> dict[str, Any]:
        """Return the settings that influence the trained weights and differ from their defaults."""
        default = Options()
        names = ("ema", "precision", "class_weight")
        return {name: value for name in names if (value := getattr(self, name)) != getattr(default, name)}


def on_one_line(value: object) -> str:
    """Return a value from a program for a message, shortened to one line."""
    return foreign.shown(" ".join(repr(value).split()), 60)


def check(options: Options, class_weight: Any = None) -> Options:
    """Return the options if they are valid.

    Args:
        options: the options.
        class_weight: replaces that of the options. The default None keeps it.

    Raises:
        UserError: an option is of another type, or out of range.
    """
    if not isinstance(options, Options):
        raise UserError(
            f"options: {on_one_line(options)}; expected an instance of keras_model.options.Options, such as Options(ema=0.99)"
        )
    if class_weight is not None:
        options = replace(options, class_weight=class_weight)
    if options.ema is not None and not (_is_number(options.ema, Real) and 0 < options.ema < 1):
        raise UserError(f"ema: {options.ema!r}; expected a momentum above 0 and below 1, or null")
    if options.precision not in PRECISIONS:
        raise UserError(f"precision: {options.precision!r}; expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}")
    if not _is_number(options.devices, Integral) or options.devices < 1:
        raise UserError(f"devices: {options.devices!r}; expected 1 or more")
    if options.class_weight is not None:
        return replace(options, class_weight=_checked_class_weight(options.class_weight))
    return options


def _is_number(value: Any, kind: type[Any]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _checked_class_weight(weights: Any) -> dict[int, float]:
    """Return the weights with keys and values of Python's own types, which files can contain."""
    if not isinstance(weights, dict) or not weights:
        raise UserError(f"class_weight: {weights!r}; expected a weight for each class, such as {{0: 1.0, 1: 5.0}}")
    for name, weight in weights.items():
        if not isinstance(name, Integral) or isinstance(name, bool) or name < 0:
            raise UserError(f"class_weight: {name!r} is not a class; expected the number of a class, from 0")
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not 0 <= weight < math.inf:
            raise UserError(f"class_weight: class {name} has {weight!r}; expected a finite number, 0 or more")
    if not any(weights.values()):
        raise UserError("class_weight: all weights are 0; expected at least one above 0")
    return {int(k): float(weight) for k, weight in weights.items()}


def weight_of_each_class(options: Options, classes: int) -> dict[int, float] | None:
    """Return the option `class_weight` with a weight for every class; None without the option.

    Args:
        options: the options.
        classes: the number of classes in the data.

    Raises:
        UserError: there is a weight for a class that the data do not have.
    """
    if options.class_weight is None:
        return None
    if (largest := max(options.class_weight)) >= classes:
        raise UserError(f"class_weight: {largest} is not a class; expected numbers from 0 to {classes - 1}")
    return {k: options.class_weight.get(k, 1.0) for k in range(classes)}
