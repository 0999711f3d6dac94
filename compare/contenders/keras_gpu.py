"""Keras on TensorFlow on the GPU."""

from __future__ import annotations

from typing import Any

from .. import machine
from ..timing.synchronized import SynchronizedObserver
from . import base, keras


class Contender(keras.Contender):
    title = "Keras on the GPU"
    open_description = "arrays shuffled by fit, one epoch per execution"
    environment = {"KERAS_BACKEND": "tensorflow"}
    device = "gpu"
    outside_verdict = True

    def load(self) -> None:
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            raise RuntimeError(f"TensorFlow {tf.__version__} finds no GPU; expected a build for CUDA and its libraries")
        tf.config.experimental.enable_tensor_float_32_execution(False)
        super().load()

    def _callback(self, steps: int, observer: base.Observer) -> Any:
        return super()._callback(steps, SynchronizedObserver(observer, steps, self.wait))

    def wait(self) -> None:
        """Wait until the device has done all queued work."""
        import tensorflow as tf

        tf.test.experimental.sync_devices()

    def describe(self) -> dict[str, Any]:
        return super().describe() | machine.PRECISION
