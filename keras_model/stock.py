"""Copies of a trained network in Keras's own classes, which load in a program that doesn't have this package.

The optimizers, the schedule and the batch normalization of this package matter
only during training. In inference, Keras's own layers compute the same.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from . import optimizers
from .parts import Parts


def stock_copy(
    net: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    parts: Parts = Parts(),  # noqa: B008 (it is frozen)
) -> keras.Model:
    """Copy a network into Keras's own classes, compiled for evaluation and further training.

    In inference the outputs are the same. In training the update rules are
    Keras's: those of `stock_optimizer`, and a moving variance that averages
    the sum of squares over n, where this package's averages that over n - 1.

    Args:
        net: a network that `build_model` built; its dtype policies are kept.
        optimizer: an optimizer that `build_optimizer` built, or the user's; its settings are copied.
        parts: the user's loss, which replaces the cross-entropy, and further metrics. Default none.

    Returns:
        A network with the same layers, weights and dropout seeds, compiled
        with cross-entropy from logits and accuracy. A user's part of a class
        of its own stays what it is.
    """
    stock = with_stock_layers(net)
    loss = parts.loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stock.compile(stock_optimizer(optimizer), loss, metrics=["accuracy", *parts.metrics])
    # Without its variables, Keras would warn at loading that the file has no optimizer state.
    stock.optimizer.build(stock.trainable_variables)
    compile_config = stock.get_compile_config
    stock.get_compile_config = lambda: portable(compile_config())
    copy_weights(net, stock)
    return stock


def copy_weights(net: keras.Model, stock: keras.Model) -> None:
    """Copy the weights, the moving statistics and the dropout seeds of `net` into its stock copy."""
    for source, target in zip(net.variables, stock.variables, strict=True):
        target.assign(ops.convert_to_numpy(source))


def with_stock_layers(net: keras.Model, dtype: str | None = None) -> keras.Model:
    """Build the network again with layers of Keras's own classes only; it is untrained and not compiled.

    Args:
        net: a network that `build_model` built.
        dtype: the dtype policy of all layers after the input, such as float16; None (default) keeps those of `net`.
    """
    config = net.get_config()
    for layer in config["layers"]:
        if dtype is not None and layer["class_name"] != "InputLayer":
            layer["config"]["dtype"] = dtype
        if layer["class_name"] == "BatchNormalization":
            layer |= {"module": "keras.layers", "registered_name": None}
    return keras.Model.from_config(config)


def stock_optimizer(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Build Keras's own optimizer with the settings of one of this package's.

    The settings are carried over by name, and the update rule is Keras's own:
    its weight decay is always decoupled, its momentum includes the learning
    rate, its RMSprop adds epsilon under the root, and its Adam adds epsilon
    before the bias correction. The state (momentum, moments, averaged weights,
    number of steps) is not carried over.

    Args:
        optimizer: an optimizer that `build_optimizer` built, a user's, or Keras's loss-scale wrapper around one.

    Returns:
        An optimizer with the learning rate `constant_rate`, in a new wrapper if there was one. A user's optimizer keeps
        its class and its schedule.
    """
    inner = unwrapped(optimizer)
    config = inner.get_config()
    if is_own(inner):
        config |= {"learning_rate": constant_rate(optimizer), "weight_decay": config.pop("decay")}
        stock = getattr(keras.optimizers, type(inner).__name__).from_config(config)
    else:
        stock = type(inner).from_config(config)
    # Keras doesn't save a wrapper that `compile` added.
    return stock if inner is optimizer else keras.optimizers.LossScaleOptimizer(stock)


def is_own(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether an optimizer is one of this package's."""
    return type(optimizer).__module__ == optimizers.__name__


def constant_rate(optimizer: keras.optimizers.Optimizer) -> float | None:
    """Return a constant learning rate for further training: the current rate, or the highest of a schedule.

    None if the optimizer is a user's that has a schedule.
    """
    inner = unwrapped(optimizer)
    rate = inner.get_config()["learning_rate"]
    if not isinstance(rate, dict):
        return float(rate)
    return max(high for _, high in rate["config"]["points"]) if is_own(inner) else None


def portable(compile_config: dict[str, Any]) -> dict[str, Any]:
    """Make a model's compile configuration independent of the backend that saves it.

    Keras saves the optimizer class of the torch backend, which fails on
    another backend, and whether this backend compiles the step with XLA.

    Args:
        compile_config: the result of the model's `get_compile_config()`.

    Returns:
        The configuration as every backend would save it.
    """
    optimizer = compile_config["optimizer"]
    inner = optimizer["config"].get("inner_optimizer", optimizer)
    if inner["module"].partition(".")[0] == "keras":
        inner |= {"module": "keras.optimizers", "registered_name": None}
    return {**compile_config, "jit_compile": "auto"}


def unwrapped(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer inside a `keras.optimizers.LossScaleOptimizer`, which `compile` adds for mixed_float16."""
    return getattr(optimizer, "inner_optimizer", optimizer)
