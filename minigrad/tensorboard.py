"""A run's curves for TensorBoard, written with TensorBoard's own classes and no framework."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any

from .runs import Epoch, UserError


class Scalars:
    """Writes what `history.csv` has, an epoch at a time, under the folders, tags and steps of Keras's own callback.

    So runs of both lie on one chart: `train` and `validation` with
    `epoch_loss` and `epoch_accuracy`, `train` with `epoch_learning_rate`,
    epochs from 0. Nothing is touched before `start`.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        # Where this module is, TensorBoard doesn't load all of TensorFlow.
        sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer import event_file_writer
        except ModuleNotFoundError as error:
            raise UserError(
                "--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first"
            ) from error
        self.folder, self.writers = folder, dict[str, Any]()
        self._writer: Any = event_file_writer.EventFileWriter
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary

    def start(self, past: list[Epoch]) -> None:
        """Begin with the epochs that are kept: what an earlier start wrote goes, so that none stands there twice."""
        for path in self.folder.glob("*/events.out.tfevents.*"):
            path.unlink()
        began = time.time() - sum(e.seconds for e in past)
        for e in past:
            began += e.seconds
            self._write(e, began)

    def epoch(self, e: Epoch) -> None:
        """Write one more epoch."""
        self._write(e, time.time())

    def __enter__(self) -> Scalars:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers.values():
            writer.close()

    def _write(self, e: Epoch, when: float) -> None:
        parts: dict[str, dict[str, float | None]] = {
            "train": {"loss": e.train_loss, "accuracy": e.train_accuracy, "learning_rate": e.learning_rate},
            "validation": {"loss": e.val_loss, "accuracy": e.val_accuracy} if e.val_loss is not None else {},
        }
        for part, values in parts.items():
            if not values:
                continue
            if part not in self.writers:
                self.writers[part] = self._writer(str(self.folder / part))
            scalars = [self._summary.Value(tag=f"epoch_{name}", simple_value=v) for name, v in values.items()]
            self.writers[part].add_event(
                self._event(wall_time=when, step=e.epoch - 1, summary=self._summary(value=scalars))
            )
            self.writers[part].flush()
