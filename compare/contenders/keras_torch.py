"""Keras on its torch backend. Runs on request."""

from __future__ import annotations

from . import base, keras


class Contender(keras.Contender):
    title = "Keras on torch"
    needs = ("keras", "torch")
    install = "pip install '.[keras,lightning]'"
    environment = {**keras.Contender.environment, "KERAS_BACKEND": "torch"}
    open_description = ""  # arrays are slower
    steps_per_call = 1
    # On torch, Keras multiplies matrices in float32 for every floatx: float64 agrees to 1e-6, with RMSprop to 1e-3.
    outside_verdict = True

    def fit_open(self, batches: base.Batches, observer: base.Observer) -> None:
        self.fit(batches, observer)  # on torch, Keras supports one step per execution only
