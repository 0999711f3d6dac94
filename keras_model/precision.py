"""The precision of a network, independent of the user's keras.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """A context in which Keras builds, trains and evaluates networks with a dtype policy.

    It sets both settings on which dtypes depend, the global policy and
    `floatx`, and restores them at the end.

    Args:
        name: float32 or float64, or a mixed policy, whose weights, inputs, losses and metrics are float32.
    """
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64" if name == "float64" else "float32")
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
