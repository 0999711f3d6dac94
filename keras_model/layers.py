"""Batch normalisation as torch has it."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_model")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's own with torch's settings and torch's moving variance: of n values in a channel it takes up the sum
    of squares over n - 1, where Keras's takes the one over n. And float64 stays, where Keras's is float32 on JAX.

    On several devices the batch is the whole one, as on one device.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **options)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # Half precision is too coarse for sums over a batch.
        half = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x = ops.cast(inputs, "float32") if half else inputs
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            *others, _ = ops.shape(x)
            n = over_replicas(ops.cast(math.prod(others), x.dtype))

            def total(x: Any) -> Any:
                # Image by image first: TensorFlow adds one after another, and 100,000 numbers in a row lose digits.
                within = list(range(1, len(others)))
                return over_replicas(ops.sum(ops.sum(x, within) if within else x, 0))

            mean = total(x) / n
            variance = total(ops.square(x - ops.stop_gradient(mean))) / n  # whose slope in the mean is 0
            for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance * (n / (n - 1)))):
                moving.assign(self.momentum * moving + (1 - self.momentum) * seen)
        found = ops.batch_normalization(x, mean, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(found, inputs.dtype)


def over_replicas(x: Any) -> Any:
    """The sum over TensorFlow's replicas; JAX sees the whole batch anyhow."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, x)
    return x
