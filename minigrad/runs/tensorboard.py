"""Writes a run for TensorBoard with TensorBoard's own classes, without loading a framework."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import manifest
from .errors import need_tensorboard
from .files import writing
from .history import Epoch

PREFIX = "events.out.tfevents."
BUCKETS = 30  # as in Keras's histograms
FOLDER = "tensorboard"  # in the run folder


def keep_tensorflow_out() -> None:
    """Prevent TensorBoard from importing TensorFlow, if that is installed.

    TensorBoard uses its own replacement of TensorFlow if a module `tensorboard.compat.notf` exists.
    """
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))


class Events:
    """Base class that appends events to one file per subfolder.

    Each event is written completely before the method returns, and no file stays open.

    Args:
        run: the run folder. The files are written to its subfolder `tensorboard` and listed in its manifest.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        need_tensorboard()
        keep_tensorflow_out()
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.run, self.folder, self.files = run, run / FOLDER, dict[str, Path]()
        self._record_writer: Any = RecordWriter
        self._event, self._summary = event_pb2, summary_pb2

    def _begin(self, part: str, step: int) -> None:
        """Start a file in the subfolder `part`; TensorBoard then discards earlier events of `step` and later steps."""
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which start with the time in seconds.
        seconds = [int(s) for p in folder.glob(f"{PREFIX}*") if (s := p.name.split(".")[3]).isdecimal()]
        self.files[part] = folder / f"{PREFIX}{max([int(time.time()), *(s + 1 for s in seconds)]):010d}"
        manifest.add(self.run, [self.files[part].relative_to(self.run).as_posix()])
        self._append(part, file_version="brain.Event:2")
        self._append(part, step=step, session_log=self._event.SessionLog(status=self._event.SessionLog.START))

    def _append(self, part: str, wall_time: float | None = None, **content: Any) -> None:
        event = self._event.Event(wall_time=time.time() if wall_time is None else wall_time, **content)
        with writing(self.files[part]), self.files[part].open("ab") as file:
            self._record_writer(file).write(event.SerializeToString())


class Scalars(Events):
    """Writes the metrics of `history.csv`, one epoch at a time.

    The folders, tags and steps are those of Keras's TensorBoard callback, so
    that runs of all packages appear in the same charts: `epoch_loss` and
    `epoch_accuracy` in `train` and `validation`, `epoch_learning_rate` in
    `train`, epochs from 0. No file is changed before `start` is called.
    """

    def start(self, past: list[Epoch]) -> None:
        """Delete the files that this run wrote earlier, and write the past epochs again.

        Args:
            past: the epochs before the first one to train; empty for a new run.
        """
        self.files.clear()
        owned = manifest.owned(self.run)
        for part in ("train", "validation"):
            for path in (self.folder / part).glob(f"{PREFIX}*"):
                if path.relative_to(self.run).as_posix() in owned:
                    path.unlink()
        wall_time = time.time() - sum(epoch.seconds for epoch in past)
        for epoch in past:
            wall_time += epoch.seconds
            self._write(epoch, wall_time)

    def epoch(self, e: Epoch) -> None:
        """Write the metrics of an epoch that has ended."""
        self._write(e, time.time())

    def _write(self, e: Epoch, wall_time: float) -> None:
        parts: dict[str, dict[str, float | None]] = {
            "train": {"loss": e.train_loss, "accuracy": e.train_accuracy, "learning_rate": e.learning_rate},
            "validation": {"loss": e.val_loss, "accuracy": e.val_accuracy} if e.val_loss is not None else {},
        }
        for part, values in parts.items():
            if not values:
                continue
            if part not in self.files:
                self._begin(part, 0)
            scalars = [self._summary.Summary.Value(tag=f"epoch_{name}", simple_value=v) for name, v in values.items()]
            self._append(part, wall_time, step=e.epoch - 1, summary=self._summary.Summary(value=scalars))


class Histograms(Events):
    """Writes a histogram of each weight to the subfolder `weights`, one epoch at a time, epochs from 0.

    No file is changed before `start` is called.
    """

    def start(self, past: list[Epoch]) -> None:
        """Continue after the past epochs, whose histograms stay as they are, and hide those of later epochs.

        Args:
            past: the epochs before the first one to train; empty for a new run.
        """
        self._begin("weights", len(past))

    def epoch(self, e: Epoch, weights: Mapping[str, np.ndarray]) -> None:
        """Write the histograms of an epoch that has ended.

        Args:
            e: the epoch.
            weights: arrays of any shape by the name of the weight.
        """
        # This older kind of histogram is also written by torch. After a restart, some readers would not discard
        # earlier events of the newer kind.
        values = [self._summary.Summary.Value(tag=name, histo=self._count(array)) for name, array in weights.items()]
        self._append("weights", step=e.epoch - 1, summary=self._summary.Summary(value=values))

    def _count(self, array: np.ndarray) -> Any:
        x = np.asarray(array, np.float64).ravel()
        x = x[np.abs(x) <= np.finfo(np.float32).max]  # TensorBoard can only draw finite float32 values
        low, high = (x.min(), x.max()) if len(x) else (0.0, 0.0)
        # If all values are equal, so are the limits, and the last bucket contains all values.
        limits = np.linspace(low, high, BUCKETS + 1)
        counts, _ = np.histogram(x, limits)
        return self._summary.HistogramProto(
            min=low, max=high, num=len(x), sum=x.sum(), sum_squares=x @ x, bucket_limit=limits[1:], bucket=counts
        )
