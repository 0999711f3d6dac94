"""Keras on TensorFlow on the GPU."""

from __future__ import annotations

from typing import Any

from .. import machine as devices
from ..timing.synchronized import Queued
from . import base, keras


class Contender(keras.Contender):
    title = "Keras on the GPU"
    open_by = "arrays shuffled by fit, an epoch in one execution"
    environment = {"KERAS_BACKEND": "tensorflow"}
    device = "gpu"
    apart = True

    def load(self) -> None:
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            raise RuntimeError(f"TensorFlow {tf.__version__} finds no GPU; expected a build for CUDA and its libraries")
        tf.config.experimental.enable_tensor_float_32_execution(False)
        super().load()

    def _watcher(self, steps: int, watch: base.Watch) -> Any:
        return super()._watcher(steps, Queued(watch, steps, self.wait))

    def wait(self) -> None:
        """Until the device has done what it was given."""
        import tensorflow as tf

        tf.test.experimental.sync_devices()

    def describe(self) -> dict[str, Any]:
        return super().describe() | devices.PRECISION
