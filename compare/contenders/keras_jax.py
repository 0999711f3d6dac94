"""Keras on its JAX backend, on request."""

from __future__ import annotations

from . import keras


class Contender(keras.Contender):
    title = "Keras on JAX"
    needs = ("keras", "jax")
    install = "pip install '.[keras,jax]'"
    environment = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    apart = True
