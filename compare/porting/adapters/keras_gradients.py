"""The loss and the gradients of a Keras model, by the automatic differentiation of each backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

LossOf = Callable[[Any], Any]  # the outputs of the model -> the loss
# The positional arguments of the model -> the loss, and the gradient of each of `model.trainable_variables`.
LossAndGradients = Callable[[Sequence[Any]], tuple[Any, list[Any]]]


def differentiate(model: Any, loss: LossOf) -> LossAndGradients:
    """Return a function that runs the model in training mode, and computes the loss and the gradients.

    Args:
        model: the model, which is built.
        loss: computes the loss from the outputs.
    """
    backends = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    return backends[keras.backend.backend()](model, loss)


def to_numpy(gradient: Any) -> np.ndarray:
    """Return a gradient as an array; that of an embedding in TensorFlow holds only the rows that were read."""
    return np.array(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(gradient, sparse=False)))


def _tensorflow(model: Any, loss: LossOf) -> LossAndGradients:
    import tensorflow as tf

    def compute(inputs: Sequence[Any]) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            value = loss(model(*inputs, training=True))
        variables = [v.value for v in model.trainable_variables]
        return value, tape.gradient(value, variables, unconnected_gradients="zero")

    return compute


def _jax(model: Any, loss: LossOf) -> LossAndGradients:
    import jax

    def loss_and_buffers(trainable: list[Any], buffers: list[Any], inputs: Sequence[Any]) -> tuple[Any, Any]:
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        with keras.StatelessScope(list(zip(variables, [*trainable, *buffers], strict=True))) as scope:
            value = loss(model(*inputs, training=True))
        updated = [scope.get_current_value(v) for v in model.non_trainable_variables]
        return value, updated

    compiled = jax.jit(jax.value_and_grad(loss_and_buffers, has_aux=True))  # op by op, it would be compiled op by op

    def compute(inputs: Sequence[Any]) -> tuple[Any, list[Any]]:
        buffers = model.non_trainable_variables
        trainable = [v.value for v in model.trainable_variables]
        (value, updated), gradients = compiled(trainable, [v.value for v in buffers], list(inputs))
        for variable, array in zip(buffers, updated, strict=True):
            variable.assign(array)
        return value, gradients

    return compute


def _torch(model: Any, loss: LossOf) -> LossAndGradients:
    import torch

    def compute(inputs: Sequence[Any]) -> tuple[Any, list[Any]]:
        tensors = [v.value for v in model.trainable_variables]
        for tensor in tensors:
            tensor.grad = None
        value = loss(model(*inputs, training=True))
        if tensors:
            value.backward()
        return value.detach(), [torch.zeros_like(t) if t.grad is None else t.grad for t in tensors]

    return compute
