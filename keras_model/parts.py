"""The user's own parts of a training: an optimizer, a loss, metrics and callbacks, which `fit` accepts from Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# Keras's own callbacks that do not change the training.
NEUTRAL = ("CSVLogger", "History", "ModelCheckpoint", "ProgbarLogger", "RemoteMonitor", "TensorBoard", "TerminateOnNaN")
# The public modules of Keras's own classes, whose internal modules depend on the backend.
MODULES: dict[str, Any] = {
    "keras.optimizers": keras.optimizers,
    "keras.optimizers.schedules": keras.optimizers.schedules,
    "keras.losses": keras.losses,
    "keras.metrics": keras.metrics,
}


@dataclass(frozen=True)
class Parts:
    """What a user passes to `fit` in place of parts of the recipe, or in addition to them.

    Args:
        optimizer: replaces the recipe's optimizer, learning rate and schedule. The default None uses the recipe's.
        loss: replaces the cross-entropy. The default None uses that.
        metrics: further metrics besides the accuracy. Default none.
        callbacks: further callbacks. Default none.
    """

    optimizer: keras.optimizers.Optimizer | None = None
    loss: keras.losses.Loss | Callable[[Any, Any], Any] | None = None
    metrics: Sequence[keras.metrics.Metric] = ()
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def beyond_recipe(self) -> dict[str, Any]:
        """Return plain descriptions of the parts that influence the trained weights."""
        extra = {name: _described(part) for name in ("optimizer", "loss") if (part := getattr(self, name)) is not None}
        changing = [type(c).__name__ for c in self.callbacks if not (is_stock(c) and type(c).__name__ in NEUTRAL)]
        return extra | ({"callbacks": changing} if changing else {})

    @property
    def columns(self) -> dict[str, str]:
        """The column of each metric by its name, without the number that Keras adds to a name within a process."""
        chosen = [re.sub(r"_\d+$", "", m.name) if _named_by_keras(m) else m.name for m in self.metrics]
        columns: dict[str, str] = {}
        for metric, name in zip(self.metrics, chosen, strict=True):
            numbered = [name, *(f"{name}_{i}" for i in range(1, len(chosen)))]
            columns[metric.name] = next(n for n in numbered if n not in columns.values())
        return columns

    def settings(self) -> dict[str, Any]:
        """Return what a resumed run must share; the metrics, because they are the columns of metrics.csv."""
        extra = self.beyond_recipe()
        return {
            "optimizer": extra.get("optimizer"),
            "loss": extra.get("loss"),
            "metrics": list(self.columns.values()) or None,
        }


def is_stock(part: Any) -> bool:
    """Return whether a part is of a class of Keras itself."""
    return type(part).__module__.partition(".")[0] == "keras"


def _named_by_keras(metric: keras.metrics.Metric) -> bool:
    """Return whether a metric's name is that of its class in snake case, with or without a number."""
    return re.sub(r"_\d+$", "", metric.name).replace("_", "") == type(metric).__name__.lower()


def public_module(part: Any) -> str:
    """Return the module from which a program imports the class of a part."""
    name = type(part).__name__
    return next((m for m in MODULES if is_stock(part) and hasattr(MODULES[m], name)), type(part).__module__)


def name_of(part: Any) -> str:
    """Return the name of a function, or of the class of a part."""
    return str(getattr(part, "__qualname__", type(part).__qualname__))


def _described(part: Any) -> Any:
    """Return a part as a plain value: its class and the arguments, or the name of a function."""
    if not hasattr(part, "get_config"):
        return f"{part.__module__}.{name_of(part)}" if hasattr(part, "__module__") else name_of(part)
    return _with_arguments(f"{public_module(part)}.{type(part).__qualname__}", part.get_config())


def _with_arguments(class_path: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a class with its arguments, without `name`, which Keras numbers within a process."""
    arguments = {key: _plain(value) for key, value in config.items() if key != "name"}
    return {"class_path": class_path, "init_args": arguments}


def _plain(value: Any) -> Any:
    """Return a part of a configuration in a form that YAML and JSON can hold."""
    if isinstance(value, dict):
        if {"class_name", "config"} <= value.keys() and isinstance(value["config"], dict):
            return _with_arguments(f"{value.get('module')}.{value['class_name']}", value["config"])
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "get_config") or callable(value):
        return _described(value)
    return value if isinstance(value, bool | int | float | str | None) else str(value)
