"""Conventions that differ by design between frameworks: their effect on the numbers, so that it does not count as a difference.

The running variance of batch norm is unbiased in PyTorch and biased in Keras,
and its momentum differs by default. Adam adds its epsilon to another term: in
PyTorch to sqrt(v / (1 - beta2^t)), in Keras to sqrt(v) before the correction,
and the epsilons differ by default. Keras also computes beta^t in the data type
of the weights: in float32, 1 - beta2 is 0.00099999 and the first step 6.7e-6
smaller than in PyTorch, which computes the corrections in float64. Each
function here computes what a convention predicts. The comparison subtracts the
predicted effect; what remains is a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .model import Dtype, Framework, Layer

BETAS = (0.9, 0.999)  # the default of both frameworks
EPSILONS: dict[Framework, float] = {"torch": 1e-8, "keras": 1e-7}


def batch_norm_differs(left: Layer, right: Layer) -> bool:
    """Return whether the buffers of two batch norms follow different conventions."""
    keys = ("momentum", "unbiased")
    known = all(isinstance(layer.config.get("momentum"), float) for layer in (left, right))
    return (
        left.kind == right.kind == "batch_norm"
        and known
        and any(left.config.get(key) != right.config.get(key) for key in keys)
    )


def describe_batch_norms(pairs: Sequence[tuple[Layer, Layer]]) -> list[str]:
    """Describe the conventions of batch norms that differ, one sentence per combination of conventions."""

    def words(layer: Layer) -> str:
        return f"momentum {layer.config['momentum']:g} and {'unbiased' if layer.config.get('unbiased') else 'biased'}"

    layers: dict[str, list[str]] = {}
    for left, right in pairs:
        sentence = f"{words(left)} running variance on the left, {words(right)} on the right"
        layers.setdefault(sentence, []).append(f"`{left.name}`")
    return [
        f"Batch norm by convention: {sentence}, in {names[0]}"
        + (f" and {len(names) - 1} more" if names[1:] else "")
        + ". The buffers differ by exactly this."
        for sentence, names in layers.items()
    ]


def running_buffer(
    role: str, left: Layer, right: Layer, count: int, before: tuple[np.ndarray, np.ndarray], after: np.ndarray
) -> np.ndarray:
    """Return the buffer that the right convention predicts for the batch that the left buffer has seen.

    Args:
        role: "running_mean" or "running_var".
        left, right: the layers.
        count: number of values per channel in the batch.
        before: the left and the right buffer before the step.
        after: the left buffer after the step.
    """
    momenta = [float(layer.config["momentum"]) for layer in (left, right)]
    batch = (after - (1 - momenta[0]) * before[0]) / momenta[0]
    if role == "running_var" and count > 1:
        factors = [count / (count - 1) if layer.config.get("unbiased") else 1.0 for layer in (left, right)]
        batch = batch * factors[1] / factors[0]
    return (1 - momenta[1]) * before[1] + momenta[1] * batch


def adam_differs(left: Framework, right: Framework) -> bool:
    """Return whether the default Adam of two frameworks follows different conventions."""
    return left != right


ADAM_NOTE = (
    "Adam by convention: the epsilon is 1e-08 in PyTorch and 1e-07 in Keras, and Keras adds it before the correction of the"
    " bias, which it computes in the data type of the weights. The weights differ by exactly this; the losses and gradients of"
    " later steps were compared at the left weights."
)


def adam_update(
    framework: Framework, gradients: Mapping[int, np.ndarray], step: int, learning_rate: float, dtype: Dtype = "float64"
) -> np.ndarray:
    """Return the change of a weight in one step of the default Adam.

    Args:
        framework: whose convention.
        gradients: the gradients of the weight by step, from 1.
        step: the step.
        learning_rate: the learning rate.
        dtype: the data type of the weights.
    """
    first, second = (
        sum((1 - beta) * beta ** (step - k) * gradients[k] ** power for k in range(1, step + 1))
        for beta, power in zip(BETAS, (1, 2), strict=True)
    )
    corrections = [_keras_correction(beta, step, dtype) if framework == "keras" else 1 - beta**step for beta in BETAS]
    mean, variance = first / corrections[0], corrections[1]
    epsilon = EPSILONS[framework]
    if framework == "keras":
        return np.asarray(-learning_rate * mean * np.sqrt(variance) / (np.sqrt(second) + epsilon))
    return np.asarray(-learning_rate * mean / (np.sqrt(second / variance) + epsilon))


def _keras_correction(beta: float, step: int, dtype: Dtype) -> float:
    """Return 1 - beta^step as Keras computes it, from a beta and a power that are rounded to the data type."""
    rounded = np.dtype(dtype).type
    return 1 - float(rounded(float(rounded(beta)) ** step))
