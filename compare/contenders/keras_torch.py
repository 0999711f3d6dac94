"""Keras on its torch backend, on request."""

from __future__ import annotations

from . import keras


class Contender(keras.Contender):
    title = "Keras on torch"
    needs = ("keras", "torch")
    install = "pip install '.[keras,lightning]'"
    environment = {**keras.Contender.environment, "KERAS_BACKEND": "torch"}
    open_by = ""  # arrays are slower
    apart = True  # Keras multiplies matrices in float32 on torch, whatever floatx says: float64 agrees to 1e-6, by rmsprop to 1e-3
