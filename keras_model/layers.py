"""Batch normalization with torch's running statistics."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_model")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization as in torch.

    Differences from `keras.layers.BatchNormalization`: the defaults are
    torch's; the moving variance averages the unbiased variance of a batch (sum
    of squares over n - 1, where Keras divides by n); float64 is kept, which
    Keras computes in float32 on JAX. With several devices, the statistics are
    those of the whole batch, as on one device.

    Args:
        momentum: the weight of the previous moving statistics, default 0.9. Torch's `momentum` is 1 minus this.
        epsilon: added to the variance, default 1e-5.
        **options: further arguments of `keras.layers.BatchNormalization`.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(momentum=momentum, epsilon=epsilon, **options)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # Half precision is too coarse for sums over a batch.
        half = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x = ops.cast(inputs, "float32") if half else inputs
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            mean, variance, n = self._batch_statistics(x)
            self.moving_mean.assign(self._moved(self.moving_mean, mean))
            self.moving_variance.assign(self._moved(self.moving_variance, variance * (n / (n - 1))))
        outputs = ops.batch_normalization(x, mean, variance, -1, self.beta, self.gamma, self.epsilon)
        return ops.cast(outputs, inputs.dtype)

    def _moved(self, average: Any, value: Any) -> Any:
        return self.momentum * average + (1 - self.momentum) * value

    @staticmethod
    def _batch_statistics(x: Any) -> tuple[Any, Any, Any]:
        """Return mean and biased variance per channel, and the number of values in a channel."""
        *others, _ = ops.shape(x)
        n = sum_over_replicas(ops.cast(math.prod(others), x.dtype))

        def total(x: Any) -> Any:
            # Per image first: TensorFlow adds sequentially, and a sum of 100,000 numbers would lose digits.
            within = list(range(1, len(others)))
            return sum_over_replicas(ops.sum(ops.sum(x, within) if within else x, 0))

        mean = total(x) / n
        # The gradient of the variance with respect to the mean is 0.
        return mean, total(ops.square(x - ops.stop_gradient(mean))) / n, n


def sum_over_replicas(x: Any) -> Any:
    """Return the sum of a tensor over the replicas of a TensorFlow strategy; on JAX a tensor spans the whole batch."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, x)
    return x
