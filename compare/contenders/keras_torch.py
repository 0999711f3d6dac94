"""Keras on its torch backend, on request."""

from __future__ import annotations

from . import keras


class Contender(keras.Contender):
    title = "Keras on torch"
    needs = ("keras", "torch")
    install = "pip install '.[keras,lightning]'"
    environment = {"KERAS_BACKEND": "torch"}
    apart = True  # its mean-reduced loss comes back in float32, so float64 agrees to 2e-7 only
