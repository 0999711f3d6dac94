"""The moving average of the weights, in the model whenever it is looked at."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Averaged(keras.callbacks.Callback):
    """Put the optimiser's average into the model for validation and for all that happens at an epoch's end.

    The weights in training come back when the next epoch begins; after the
    last one the average stays. Keras's SwapEMAWeights would do, but swaps by
    adding and subtracting, which rounds, and counts on knowing the last epoch,
    which a resumed run can't. Stands first among the callbacks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[np.ndarray] = []  # the weights in training, while the average is in the model

    def on_test_begin(self, logs: Any = None) -> None:
        self.show()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.show()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for variable, array in zip(self.model.trainable_variables, self.trained, strict=False):
            variable.assign(array)
        self.trained = []

    def show(self) -> None:
        """Put the average into the model, unless it is there."""
        if not self.trained:
            variables = self.model.trainable_variables
            averages = _optimizer(self.model)._model_variables_moving_average
            # Copies: on some backends a variable shares its memory with what it was read into, or was given.
            self.trained = [np.array(v) for v in variables]
            for variable, average in zip(variables, averages, strict=True):
                variable.assign(np.array(average))


def _optimizer(model: keras.Model) -> Any:
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)  # which mixed_float16 wraps
