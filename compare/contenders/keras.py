"""Keras on TensorFlow: `keras_model`'s compiled model, trained by `fit`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import base
from . import jax as jax_contender
from . import torch as torch_contender


class Contender(base.Contender):
    title = "Keras"
    trains_by = "Model.fit"
    open_description = (
        "arrays shuffled by fit, one epoch per execution; no XLA, since compiling costs more than it saves"
    )
    default_description = "fit on arrays with default settings: one step per execution, progress bar"
    program = "programs/with_keras"
    accepts_masks = True
    steps_per_call = 128  # keras_model's largest steps_per_execution
    needs = ("keras", "tensorflow")
    install = "pip install '.[keras]'"
    environment = {**base.Contender.environment, "KERAS_BACKEND": "tensorflow"}

    @classmethod
    def default_changes(cls, recipe: Recipe) -> str:
        return cls.default_description if recipe.data.augment == "none" else ""

    def load(self) -> None:
        from keras_model.startup import use_one_framework

        use_one_framework()
        import keras

        import keras_model.data
        import keras_model.model  # noqa: F401

        # Starts the backend, and imports what it needs for the first computation.
        keras.ops.convert_to_numpy(keras.ops.matmul(np.eye(2), np.eye(2)))

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import keras

        from keras_model.model import build_model, set_weights

        keras.utils.clear_session()
        keras.config.set_floatx(dtype)  # that of the loss and the metrics
        keras.utils.set_random_seed(recipe.seed_everything)
        self.recipe = recipe
        model = replace(recipe.model, weights=None)
        self.net = build_model(model, data.input_shape, data.classes, data.input_scale, dtype)
        set_weights(self.net, weights)

    def state(self) -> base.Weights:
        from keras_model.model import get_weights

        return {name: w.copy() for name, w in get_weights(self.net).items()}

    def trace(self, images: np.ndarray) -> base.Weights:
        import keras

        net, before = self.net, self.net.get_weights()
        layers = {name: layer for layer in net.layers if (name := _shared_name(layer.name))}
        first = net.get_layer("channels" if "conv.0" in layers else "flatten")
        outputs = keras.Model(net.input, [first.output, *(layer.output for layer in layers.values())])(
            images, training=True
        )
        net.set_weights(before)  # includes the moving statistics of batch norm
        scaled, *arrays = [_channels_first(keras.ops.convert_to_numpy(x)) for x in outputs]
        return {"scaled": scaled} | dict(zip(layers, arrays, strict=True))

    def use_masks(self, masks: Sequence[np.ndarray]) -> None:
        import keras

        from keras_model.model import get_weights, set_weights

        remaining, weights = iter(masks), get_weights(self.net)

        def clone(layer: Any) -> Any:
            if isinstance(layer, keras.layers.Dropout):
                return _masked_dropout(next(remaining), layer.name)
            return layer.__class__.from_config(layer.get_config())

        self.net = keras.models.clone_model(self.net, clone_function=clone)
        set_weights(self.net, weights)

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        from keras_model.data import CurrentEpoch, training_data
        from keras_model.model import compile_model

        steps, current = batches.steps // batches.epochs, CurrentEpoch()
        options: dict[str, Any] = {"steps_per_execution": 1} if observer.every_step else {}
        compile_model(self.net, self.recipe.model, steps, batches.epochs, **options)
        shifts: Any = None if batches.augment == "none" else batches.shifts
        data = training_data(batches.train, batches.order, current, shifts)
        callbacks = [current, self._callback(steps, observer)]
        self.net.fit(data, epochs=batches.epochs, verbose=0, shuffle=False, callbacks=callbacks)

    def fit_open(self, batches: base.Batches, observer: base.Observer) -> None:
        from keras_model.data import CurrentEpoch, training_data
        from keras_model.model import compile_model

        steps, current = batches.steps // batches.epochs, CurrentEpoch()
        compile_model(self.net, self.recipe.model, steps, batches.epochs, steps_per_execution=steps)
        options: dict[str, Any] = {"epochs": batches.epochs, "verbose": 0}
        options["callbacks"] = [current, self._callback(steps, observer)]
        if batches.augment == "none":
            self.net.fit(*batches.train, batch_size=batches.batch_size, **options)
        else:  # Keras has no layer that shifts images by whole pixels
            shifts: Any = batches.shifts
            data = training_data(batches.train, batches.order, current, shifts)
            self.net.fit(data, shuffle=False, **options)

    def fit_default(self, batches: base.Batches, observer: base.Observer) -> None:
        import keras

        from keras_model.optimizers import build_optimizer

        if batches.augment != "none":  # Keras has no layer that shifts images by whole pixels
            return self.fit(batches, observer)
        steps, loss = batches.steps // batches.epochs, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.net.compile(build_optimizer(self.recipe.model, batches.steps), loss, metrics=["accuracy"])
        options: dict[str, Any] = {"batch_size": batches.batch_size, "epochs": batches.epochs}
        self.net.fit(*batches.train, callbacks=[self._callback(steps, observer)], **options)
        return None

    def _callback(self, steps: int, observer: base.Observer) -> Any:
        """Return a callback that calls `observer`.

        Args:
            steps: number of steps per epoch.
            observer: observes the training.
        """
        import keras

        state, gradients = self.state, _keep_gradients(self.net) if observer.every_step else dict

        class ObserverCallback(keras.callbacks.Callback):
            done = 0

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.done = 0

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                if observer.every_step:
                    self.model.reset_metrics()  # so that `loss` is that of this step and not a running mean

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                last = min(batch, steps - 1)
                # On JAX, variables must be synchronized, and steps are only queued until a value is read.
                if hasattr(self.model, "jax_state_sync") and (
                    observer.every_step or not self.done or last == steps - 1
                ):
                    self.model.jax_state_sync()
                    np.asarray(self.model.optimizer.iterations)
                new, self.done = last + 1 - self.done, last + 1
                observer.after_steps(new, lambda: float(logs["loss"]), state, gradients)

        return ObserverCallback()

    def predict(self, images: np.ndarray) -> np.ndarray:
        if len(images) <= base.PREDICT_BATCH:  # `predict` has an overhead of about 60 ms
            return np.asarray(self.net.predict_on_batch(images))
        return np.asarray(self.net.predict(images, batch_size=base.PREDICT_BATCH, verbose=0))

    def save(self, folder: Path) -> Path:
        path = folder / "model.keras"
        self.net.save(path)
        return path

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        import keras

        backend = keras.backend.backend()
        if backend == "torch":
            return torch_contender.product(a, b, "cpu")
        return jax_contender.product(a, b) if backend == "jax" else _tensorflow_product(a, b, self.device)

    def library(self) -> base.Library:
        import keras

        backend = keras.backend.backend()
        if backend == "torch":
            return torch_contender.library("cpu")
        return jax_contender.library() if backend == "jax" else _tensorflow_library(self.device)

    def describe(self) -> dict[str, Any]:
        import importlib.metadata

        import keras

        from keras_model.model import count_parameters

        backend = keras.backend.backend()
        version = f"Keras {keras.__version__}, {backend} {importlib.metadata.version(backend)}"
        return {"version": version, "parameters": count_parameters(self.net)}


def _tensorflow_product(a: np.ndarray, b: np.ndarray, device: str) -> Callable[[], object]:
    """Return a function that multiplies two matrices eagerly, since a call of a compiled function has more overhead."""
    import tensorflow as tf

    x, y = tf.constant(a), tf.constant(b)
    if device == "cpu":
        return lambda: tf.linalg.matmul(x, y)

    def multiply() -> object:
        result = tf.linalg.matmul(x, y)
        tf.test.experimental.sync_devices()  # a GPU has only queued the product
        return result

    return multiply


def _tensorflow_library(device: str) -> base.Library:
    import tensorflow as tf

    if device == "gpu":
        version = tf.sysconfig.get_build_info().get("cuda_version")
        return {"library": f"cuBLAS of CUDA {version}", "kernel": None, "threads": None}
    # TensorFlow does not report which of the two computes a product. Its number of threads is 0 if it chose it itself.
    threads = tf.config.threading.get_intra_op_parallelism_threads() or None
    return {"library": f"Eigen or oneDNN in TensorFlow {tf.__version__}", "kernel": None, "threads": threads}


def _shared_name(layer: str) -> str:
    """Return the name of a layer's output in `trace`; empty if other frameworks have no such layer."""
    kind, number = re.fullmatch(r"(.*?)_?(\d*)", layer).groups()  # type: ignore[union-attr]
    if kind in (*base.LAYER_LISTS, "output"):
        return f"{kind}.{number}".rstrip(".")
    if kind == "pool":
        return f"conv.{number} pooled"
    return f"{kind.removesuffix('_activation')}.{number} activation" if kind.endswith("_activation") else ""


def _channels_first(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def _masked_dropout(mask: np.ndarray, name: str) -> Any:
    """Return a layer that multiplies the batch of each training step by the next mask.

    Args:
        mask: (steps, batch, units).
        name: of the layer.
    """
    import keras

    class MaskedDropout(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name=name)
            # A variable, so that it is incremented inside the compiled step on every backend.
            self.step = self.add_weight(name="step", initializer="zeros", dtype="int32", trainable=False)

        def call(self, x: Any, training: bool | None = None) -> Any:
            if not training:
                return x
            masks = keras.ops.take(keras.ops.convert_to_tensor(mask, x.dtype), self.step, axis=0)
            self.step.assign(self.step + 1)
            return x * masks[: keras.ops.shape(x)[0]]

    return MaskedDropout()


def _keep_gradients(net: Any) -> Any:
    """Make the optimizer keep each step's gradients, and return a function that reads them.

    They are kept in variables of the optimizer, which are updated inside the
    compiled step on every backend.
    """
    import keras

    from keras_model.model import named_variables, to_torch

    optimizer, variables = net.optimizer, net.trainable_variables
    optimizer.build(variables)
    slots = [optimizer.add_variable_from_reference(v, name="gradient") for v in variables]
    apply = optimizer.apply

    def keep_and_apply(grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        for slot, gradient in zip(slots, grads, strict=True):
            slot.assign(gradient)
        return apply(grads, trainable_variables)

    optimizer.apply = keep_and_apply

    def read() -> base.Weights:
        arrays = {id(v): keras.ops.convert_to_numpy(s) for v, s in zip(variables, slots, strict=True)}
        return {name: to_torch(arrays[id(v)]) for name, v in named_variables(net).items() if v.trainable}

    return read
