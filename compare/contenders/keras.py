"""Keras on TensorFlow: the package's compiled model through `fit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import base


class Contender(base.Contender):
    title = "Keras"
    trains_by = "Model.fit"
    needs = ("keras", "tensorflow")
    install = "pip install '.[keras]'"
    environment = {"KERAS_BACKEND": "tensorflow"}

    def load(self) -> None:
        from keras_model.quiet import one_framework

        one_framework()
        import keras_model.model  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import keras

        from keras_model.model import build_model, set_weights

        keras.utils.clear_session()
        keras.config.set_floatx(dtype)
        keras.utils.set_random_seed(recipe.seed_everything)
        self.recipe = recipe
        model = replace(recipe.model, weights=None)
        self.net = build_model(model, data.input_shape, data.classes, data.input_scale)
        set_weights(self.net, weights)

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        import keras

        from keras_model.data import CurrentEpoch, training_data
        from keras_model.model import compile_model, get_weights

        net = self.net
        steps = batches.steps // batches.epochs
        each = {"steps_per_execution": 1} if watch.every_step else {}
        compile_model(net, self.recipe.model, steps, batches.epochs, **each)
        gradients = _keep_gradients(net) if watch.every_step else dict

        class Watcher(keras.callbacks.Callback):
            done = 0

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.done = 0

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                if watch.every_step:
                    self.model.reset_metrics()  # so that the loss is this step's, not a running mean

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if watch.every_step and hasattr(self.model, "jax_state_sync"):
                    self.model.jax_state_sync()  # on JAX the variables are stale until asked for
                last = min(batch, steps - 1)
                new, self.done = last + 1 - self.done, last + 1
                watch.after(new, lambda: float(logs["loss"]), lambda: get_weights(net), gradients)

        current = CurrentEpoch()
        shifts: Any = None if batches.augment == "none" else batches.shifts
        data = training_data(batches.train, batches.order, current, shifts)
        net.fit(data, epochs=batches.epochs, verbose=0, shuffle=False, callbacks=[current, Watcher()])

    def predict(self, images: np.ndarray) -> np.ndarray:
        if len(images) == 1:
            return np.asarray(self.net.predict_on_batch(images))
        return np.asarray(self.net.predict(images, batch_size=base.PREDICTED_AT_ONCE, verbose=0))

    def describe(self) -> dict[str, Any]:
        import importlib.metadata

        import keras

        from keras_model.model import count_parameters

        backend = keras.backend.backend()
        version = f"Keras {keras.__version__}, {backend} {importlib.metadata.version(backend)}"
        return {"version": version, "parameters": count_parameters(self.net)}


def _keep_gradients(net: Any) -> Any:
    """Have the optimiser leave each step's gradients where they can be read; returns the reader.

    The slots are variables of the optimiser's own, so that they live inside
    the compiled step on every backend.
    """
    import keras

    from keras_model.model import named_variables, to_torch

    optimizer, variables = net.optimizer, net.trainable_variables
    optimizer.build(variables)
    slots = [optimizer.add_variable_from_reference(v, name="gradient") for v in variables]
    apply = optimizer.apply

    def keep_then_apply(grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        for slot, gradient in zip(slots, grads, strict=True):
            slot.assign(gradient)
        return apply(grads, trainable_variables)

    optimizer.apply = keep_then_apply

    def read() -> base.Weights:
        kept = {id(v): keras.ops.convert_to_numpy(s) for v, s in zip(variables, slots, strict=True)}
        return {name: to_torch(kept[id(v)]) for name, v in named_variables(net).items() if v.trainable}

    return read
