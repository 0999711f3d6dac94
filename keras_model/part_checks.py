"""Checks of the user's own parts, before anything is trained with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from minigrad.runs import UserError, foreign

from .options import on_one_line
from .parts import Parts, is_stock, name_of

# Keras's own classes and functions that compare integer labels with logits, in lower case and without underscores.
COMPARING = {
    "loss": ("sparsecategoricalcrossentropy",),
    "metrics": (
        *("sparsecategoricalaccuracy", "sparsecategoricalcrossentropy", "sparsetopkcategoricalaccuracy"),
        *("iou", "meaniou"),
    ),
}
# Keras's classes that only call a function, and the attributes that contain it.
WRAPPERS = {"LossFunctionWrapper": "fn", "MeanMetricWrapper": "_fn"}


def checked(optimizer: Any, loss: Any, metrics: Any, callbacks: Any, devices: int) -> Parts:
    """Return the parts that a user passed to `fit`, with an instance in place of each name.

    Args:
        optimizer: a Keras optimizer, or None.
        loss: a Keras loss, its name, a function of labels and logits, or None.
        metrics: a list of Keras metrics or their names.
        callbacks: a list of Keras callbacks.
        devices: the number of devices that train together.

    Raises:
        UserError: a part is of another type, or cannot be used for this training.
    """
    metrics = _list_of("metrics", metrics, keras.metrics.Metric | str, "Keras metrics or their names")
    if devices > 1 and (optimizer is not None or metrics):
        raise UserError(
            f"devices: {devices} with {'an optimizer' if optimizer is not None else 'metrics'} of your own; expected 1, since"
            " the variables of such a part are not on all devices"
        )
    if optimizer is not None:
        _check_optimizer(optimizer)
    if isinstance(loss, str):
        loss = _by_name("loss", loss, keras.losses, keras.losses.Loss)
    elif isinstance(loss, type) or not (loss is None or callable(loss)):
        expected = "an instance" if isinstance(loss, type) else "a Keras loss"
        raise UserError(f"loss: {_shown(loss)}; expected {expected}, its name, or a function of labels and logits")
    measured = [
        _by_name("metrics", m, keras.metrics, keras.metrics.Metric) if isinstance(m, str) else m for m in metrics
    ]
    names = ["loss", "accuracy"]
    for metric in measured:
        if metric.name in names:
            raise UserError(f"metrics: two metrics have the name {metric.name}; expected another name")
        names.append(metric.name)
    for option, part in (("loss", loss), *(("metrics", metric) for metric in measured)):
        if part is not None:
            _check_comparison(option, part)
    return Parts(
        optimizer, loss, measured, _list_of("callbacks", callbacks, keras.callbacks.Callback, "Keras callbacks")
    )


def _list_of(option: str, given: Any, base: Any, words: str) -> list[Any]:
    """Return the given parts if they are a list of instances."""
    if not isinstance(given, list | tuple):
        raise UserError(f"{option}: {_shown(given)}; expected a list of {words}")
    for part in given:
        if not isinstance(part, base):
            expected = "an instance of it" if isinstance(part, type) else words
            raise UserError(f"{option}: {_shown(part)}; expected {expected}")
    return list(given)


def _shown(value: Any) -> str:
    """Return a value for a message, without an address in memory."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, str | int | float | dict | list | tuple | set):
        return on_one_line(value)
    if hasattr(value, "__qualname__"):
        return f"the function {value.__qualname__}"
    return f"an object of the class {type(value).__name__}"


def _check_optimizer(optimizer: Any) -> None:
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(f"optimizer: {_shown(optimizer)}; expected an instance of keras.optimizers.Optimizer")
    name = type(optimizer).__name__
    if optimizer.built:
        raise UserError(f"optimizer: this {name} already belongs to a network; expected a new one")
    if getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        raise UserError(f"optimizer: {name} has use_ema=True; expected False, and ema in the options of fit")
    try:
        type(optimizer).from_config(optimizer.get_config())
    except Exception as error:
        raise UserError(
            f"optimizer: {name} cannot be built from its configuration ({foreign.reason_of(error)}), as model.keras needs it;"
            " expected a class that Keras can save"
        ) from error


def _by_name(option: str, name: str, module: Any, base: type[Any]) -> Any:
    """Return an instance of the class in a module of Keras with this name, which may be in snake case; it gets logits."""
    for attribute, cls in vars(module).items():
        is_class = isinstance(cls, type) and issubclass(cls, base) and cls is not base
        if is_class and attribute.lower() == name.replace("_", "").lower():
            logits = {"from_logits": True} if "from_logits" in inspect.signature(cls).parameters else {}
            try:
                return cls(**logits)
            except TypeError as error:
                raise UserError(f"{option}: {name} needs arguments; expected an instance of {attribute}") from error
    raise UserError(f"{option}: {name}; expected an instance, or the name of a class in {module.__name__}")


def _check_comparison(option: str, part: Any) -> None:
    """Check that a loss or a metric does not expect one-hot labels or probabilities.

    Of Keras's own, some accept integer labels and logits, but compute something else for them.
    """
    if not isinstance(part, keras.losses.Loss | keras.metrics.Metric):
        _check_function(option, part)
        return
    config, name = part.get_config(), type(part).__name__
    if is_stock(part) and name in WRAPPERS and "from_logits" not in config:
        _check_function(option, getattr(part, WRAPPERS[name], None))
        return
    if is_stock(part) and name not in WRAPPERS:
        _check_kind(option, name)
    if config.get("from_logits") is False:
        raise UserError(f"{option}: {name} has from_logits=False; expected True, since the network returns logits")


def _check_function(option: str, function: Any) -> None:
    name = name_of(function)
    if str(getattr(function, "__module__", "")).partition(".")[0] == "keras":
        _check_kind(option, name)
    try:
        parameter = inspect.signature(function).parameters.get("from_logits")
    except (TypeError, ValueError):  # a function of C has no signature
        return
    if parameter is not None and parameter.default is False:
        raise UserError(
            f"{option}: {name} has from_logits=False by default; expected True, since the network returns logits"
        )


def _check_kind(option: str, name: str) -> None:
    """Check that a class or a function of Keras, given by its name, is one of `COMPARING`."""
    if name.replace("_", "").lower() in COMPARING[option]:
        return
    module, kind, example = (
        (keras.losses, "loss", "SparseCategoricalCrossentropy")
        if option == "loss"
        else (keras.metrics, "metric", "SparseCategoricalAccuracy")
    )
    similar = (f"Sparse{name}", f"sparse_{name}", name.removeprefix("OneHot"))
    counterpart = next((n for n in similar if n != name and hasattr(module, n)), None)
    expected = counterpart or f"a {kind} that does, such as {example}"
    if counterpart is not None and name.startswith("OneHot"):
        expected += " with sparse_y_pred=False"
    raise UserError(f"{option}: {name} does not compare integer labels with logits; expected {expected}")


def try_parts(parts: Parts, classes: int) -> None:
    """Check that the loss and the metrics accept labels and logits, and that the loss returns a number per image.

    Args:
        parts: the parts; the state of the metrics is reset.
        classes: the number of logits.

    Raises:
        UserError: a part fails, or the loss returns something else.
    """
    images = classes + 1
    labels, random = np.arange(images) % classes, np.random.default_rng(0)
    batches = [random.standard_normal((images, classes), np.float32) for _ in range(2)]
    if parts.loss is not None:
        # Keras converts the labels for a loss.
        results = [_result("loss", parts.loss, labels.astype(np.float32), logits) for logits in batches]
        _check_results(name_of(parts.loss), results, images)
    for metric in parts.metrics:
        _result("metrics", metric, labels, batches[0])
        metric.reset_state()


def _result(option: str, part: Callable[[Any, Any], Any], labels: np.ndarray, logits: np.ndarray) -> Any:
    try:
        return part(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(logits))
    except Exception as error:
        raise UserError(
            f"{option}: {name_of(part)} fails for labels of shape {labels.shape} as {labels.dtype} and logits of shape"
            f" {logits.shape} ({foreign.reason_of(error)}); expected one that accepts them"
        ) from error


def _check_results(name: str, results: list[Any], images: int) -> None:
    """Check what a loss returned for different logits."""
    expected = "expected one number per image, which depends on the logits"
    values = []
    for result in results:
        if isinstance(result, bool | str | list | tuple | dict | None):
            raise UserError(f"loss: {name} returns {_shown(result)}; {expected}")
        try:
            dtype = keras.backend.standardize_dtype(getattr(result, "dtype", type(result)))
            value = np.asarray(keras.ops.convert_to_numpy(result))
        except Exception as error:
            raise UserError(f"loss: {name} returns {_shown(result)}; {expected}") from error
        if "float" not in dtype:
            raise UserError(f"loss: {name} returns {dtype}; {expected}")
        if value.shape not in ((), (images,)):
            raise UserError(f"loss: {name} returns shape {value.shape} for {images} images; {expected}")
        values.append(value.astype(np.float64))
    if not np.isfinite(values).all():
        raise UserError(f"loss: {name} returns NaN or infinity; {expected}")
    if np.array_equal(values[0], values[1]):
        raise UserError(f"loss: {name} returns the same for different logits; {expected}")
