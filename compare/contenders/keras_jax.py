"""Keras on its JAX backend. Runs on request."""

from __future__ import annotations

from . import keras


class Contender(keras.Contender):
    title = "Keras on JAX"
    needs = ("keras", "jax")
    install = "pip install '.[keras,jax]'"
    environment = {**keras.Contender.environment, "KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
    open_description = ""  # arrays, or more steps per execution, are not faster
    outside_verdict = True
