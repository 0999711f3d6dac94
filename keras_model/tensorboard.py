"""TensorBoard on any backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from minigrad.runs import Epoch
from minigrad.runs.tensorboard import Histograms, Scalars

from .model import get_weights


class TensorBoard(keras.callbacks.Callback):
    """Write the scalars of each epoch, and histograms of the weights at its end; Keras's own loads TensorFlow.

    Nothing stays open between epochs, so training may end in any way.

    Args:
        run: the run's folder, whose `tensorboard` gets `train`, `validation` and `weights`.
        epochs: the rows of `RunFolder`, which stands before this one and adds
            one at each epoch's end. Those that are there when training begins
            are of epochs that a resumed run has behind it.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, run: Path, epochs: list[Epoch]) -> None:
        super().__init__()
        self.epochs, self.scalars, self.histograms = epochs, Scalars(run), Histograms(run)

    def on_train_begin(self, logs: Any = None) -> None:
        self.scalars.start(self.epochs)
        self.histograms.start(self.epochs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.scalars.epoch(self.epochs[-1])
        self.histograms.epoch(self.epochs[-1], get_weights(self.model))
