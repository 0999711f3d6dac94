"""A run for TensorBoard, written with TensorBoard's own classes and no framework."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import manifest
from .errors import UserError
from .history import Epoch

PREFIX = "events.out.tfevents."
BUCKETS = 30  # as in Keras's own histograms
FOLDER = "tensorboard"  # in a run's folder


class Events:
    """Writes events to a file in each subfolder; each is whole on disk at once, and nothing stays open.

    Args:
        run: the run's folder. Its subfolder `tensorboard` gets the files, and its manifest lists them.

    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, run: Path) -> None:
        # Where this module is, TensorBoard doesn't load all of TensorFlow.
        sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ModuleNotFoundError as error:
            raise UserError(
                "--tensorboard: true, but TensorBoard is not installed; expected pip install tensorboard first"
            ) from error
        self.run, self.folder, self.files = run, run / FOLDER, dict[str, Path]()
        self._record: Any = RecordWriter
        self._event, self._summary = event_pb2, summary_pb2

    def _begin(self, part: str, step: int) -> None:
        """Start a file in the subfolder `part`: what TensorBoard finds there of `step` and later, it forgets."""
        folder = self.folder / part
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which have the second first.
        taken = [int(s) for p in folder.glob(f"{PREFIX}*") if (s := p.name.split(".")[3]).isdecimal()]
        self.files[part] = folder / f"{PREFIX}{max([int(time.time()), *(s + 1 for s in taken)]):010d}"
        manifest.add(self.run, [self.files[part].relative_to(self.run).as_posix()])
        self._append(part, file_version="brain.Event:2")
        self._append(part, step=step, session_log=self._event.SessionLog(status=self._event.SessionLog.START))

    def _append(self, part: str, wall_time: float | None = None, **content: Any) -> None:
        event = self._event.Event(wall_time=time.time() if wall_time is None else wall_time, **content)
        with self.files[part].open("ab") as file:
            self._record(file).write(event.SerializeToString())


class Scalars(Events):
    """Writes what `history.csv` has, an epoch at a time, under the folders, tags and steps of Keras's own callback.

    So runs of both lie on one chart: `train` and `validation` with
    `epoch_loss` and `epoch_accuracy`, `train` with `epoch_learning_rate`,
    epochs from 0. Nothing is touched before `start`.
    """

    def start(self, past: list[Epoch]) -> None:
        """Begin with the epochs that are kept: what an earlier start wrote goes, so that none stands there twice."""
        self.files.clear()
        owned = manifest.owned(self.run)
        for part in ("train", "validation"):
            for path in (self.folder / part).glob(f"{PREFIX}*"):
                if path.relative_to(self.run).as_posix() in owned:
                    path.unlink()
        began = time.time() - sum(e.seconds for e in past)
        for e in past:
            began += e.seconds
            self._write(e, began)

    def epoch(self, e: Epoch) -> None:
        """Write one more epoch."""
        self._write(e, time.time())

    def _write(self, e: Epoch, when: float) -> None:
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
            self._append(part, when, step=e.epoch - 1, summary=self._summary.Summary(value=scalars))


class Histograms(Events):
    """Writes how the numbers of each weight are spread, an epoch at a time, to `weights`; epochs from 0.

    Nothing is touched before `start`.
    """

    def start(self, past: list[Epoch]) -> None:
        """Go on after the epochs that are kept: an epoch that was written but not kept is hidden.

        Those that are kept have the histograms that an earlier start wrote, if it did.
        """
        self._begin("weights", len(past))

    def epoch(self, e: Epoch, weights: Mapping[str, np.ndarray]) -> None:
        """Write one more epoch: a histogram for each name, of all numbers in its array, whatever the shape."""
        # TensorBoard's older kind, which is torch's too: at a new start some readers forget nothing of the newer.
        values = [self._summary.Summary.Value(tag=name, histo=self._count(array)) for name, array in weights.items()]
        self._append("weights", step=e.epoch - 1, summary=self._summary.Summary(value=values))

    def _count(self, array: np.ndarray) -> Any:
        x = np.asarray(array, np.float64).ravel()
        x = x[np.abs(x) <= np.finfo(np.float32).max]  # TensorBoard draws float32, and neither NaN nor infinity
        low, high = (x.min(), x.max()) if len(x) else (0.0, 0.0)
        # Where all numbers are equal so are the limits, and the last bucket has them.
        limits = np.linspace(low, high, BUCKETS + 1)
        counts, _ = np.histogram(x, limits)
        return self._summary.HistogramProto(
            min=low, max=high, num=len(x), sum=x.sum(), sum_squares=x @ x, bucket_limit=limits[1:], bucket=counts
        )
