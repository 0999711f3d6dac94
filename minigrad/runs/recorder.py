"""Writes the files of a training run, for all three packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import calibration, curves, folder, history, metrics, weights
from .errors import printable
from .files import write_json, write_text
from .history import Epoch
from .weights import NetworkSpec, Weights


@dataclass(frozen=True)
class TrainingResult:
    """The result of the `fit` function of each package.

    Attributes:
        history: the training and validation metrics of every epoch.
        metrics: the content of metrics.json, such as `test_accuracy`.
        out: the run folder.
    """

    history: list[Epoch]
    metrics: dict[str, Any]
    out: Path


class RunRecorder:
    """Writes recipe.yaml, history.csv, weights.safetensors, curves.png, metrics.json and reliability.png of one run.

    Each package calls it from its own training loop or callback. Files are
    written completely or not at all.

    Args:
        out: the run folder, which the caller has claimed.
        spec: the network and the recipe that it is trained with.
        title: the title of curves.png.
        epochs: the epochs of the run that is continued.

    Attributes:
        history: all epochs so far.
    """

    def __init__(self, out: Path, spec: NetworkSpec, title: str, epochs: Iterable[Epoch] = ()) -> None:
        self.out, self.spec, self.title = out, spec, title
        self.history: list[Epoch] = list(epochs)

    @property
    def optimizer(self) -> str:
        """The class of the optimizer that replaces the recipe's; empty if there is none."""
        own = self.spec.extra.get("optimizer") or {}
        return str(own.get("class_path", "")).rpartition(".")[2]

    def write_recipe(self, keys: dict[str, Any] | None = None) -> None:
        """Write recipe.yaml.

        Args:
            keys: further settings, which the package that writes them accepts as keys of the same file; None writes
                the specification's extra settings, and the file is then not accepted as a recipe.
        """
        from ..recipes import dump  # here, since it imports a parser of command lines

        extra = self.spec.extra if keys is None else None
        write_text(self.out / folder.RECIPE, dump(self.spec.recipe, keys, extra))

    def check_loss(self, loss: float, epoch: int) -> None:
        """Raise a `UserError` if the loss of `epoch` (counted from 1) is NaN or infinite."""
        model = self.spec.recipe.model
        metrics.check_loss(loss, epoch, model.learning_rate, model.weights, optimizer=self.optimizer)

    def add_epoch(self, epoch: Epoch, read_weights: Callable[[], Weights], *, write: bool = True) -> None:
        """Append an epoch to history.csv, and write weights.safetensors.

        Under early stopping the weights file keeps those of the best epoch,
        which is determined by the recipe's `early_stopping.monitor`.

        Args:
            epoch: the epoch that has ended.
            read_weights: returns the network's weights; it is called only if they are written.
            write: False keeps the epoch but writes no file, for the other processes of a distributed training.

        Raises:
            UserError: a loss is NaN or infinite.
        """
        for loss in (epoch.train_loss, epoch.val_loss):
            if loss is not None:
                self.check_loss(loss, epoch.epoch)
        stopping = self.spec.recipe.early_stopping
        value, *earlier = (getattr(e, stopping.monitor) for e in (epoch, *self.history))
        is_best = value is not None and all(v is None or stopping.is_better(value, v) for v in earlier)
        self.history.append(epoch)
        if write:
            history.write(self.out / folder.HISTORY, self.history)
            if is_best or stopping.patience is None:
                self.write_weights(read_weights())

    def write_weights(self, arrays: Weights) -> None:
        """Write weights.safetensors."""
        weights.write(self.out / folder.WEIGHTS, arrays, self.spec.metadata())

    def finish(self, arrays: Weights) -> None:
        """Write the files of a training that has ended: all epochs, the weights that are kept, and the curves.

        Args:
            arrays: the weights that are kept: those of the best epoch under early stopping, else the last ones.
        """
        history.write(self.out / folder.HISTORY, self.history)
        self.write_weights(arrays)
        self.draw_curves()

    def draw_curves(self) -> None:
        """Draw curves.png, if there is an epoch to draw."""
        if self.history:
            curves.draw(self.out / folder.CURVES, self.history, self.title)

    def test(self, logits: np.ndarray, labels: np.ndarray, parameters: int) -> TrainingResult:
        """Write metrics.json and reliability.png, and print the test accuracy.

        Args:
            logits: the trained network's outputs for the test images, (n, classes).
            labels: their labels, (n,) integers.
            parameters: the number of trained parameters.

        Raises:
            UserError: an output is NaN or infinite.
        """
        recipe = self.spec.recipe
        trained = {"learning_rate": recipe.model.learning_rate, "optimizer": self.optimizer} if self.history else {}
        metrics.check_outputs(logits, recipe.data.path, weights=recipe.model.weights, **trained)  # type: ignore[arg-type]
        counts = {"parameters": parameters, "epochs": len(self.history)}
        written = write_metrics(self.out, logits, labels, self.spec.class_names, **counts)
        return TrainingResult(self.history, written, self.out)


def write_metrics(
    out: Path, logits: np.ndarray, labels: np.ndarray, class_names: Sequence[str] = (), **counts: int
) -> dict[str, Any]:
    """Write metrics.json and reliability.png into `out`, print the test accuracy, and return the metrics.

    Args:
        out: a run folder.
        logits: outputs for the test images, (n, classes), all finite.
        labels: their labels, (n,) integers.
        class_names: the name of each class; empty if the classes only have numbers. With names, the accuracy of each class
            is written too.
        counts: further numbers for the file.
    """
    measured = {**metrics.test_metrics(logits, labels), **counts}
    if class_names:
        measured["test_accuracy_by_class"] = metrics.accuracy_by_class(logits, labels, class_names)
    bins = calibration.reliability(logits, labels)
    measured["test_ece"] = calibration.expected_calibration_error(bins)
    measured["test_calibration"] = [b._asdict() for b in bins]
    calibration.draw(out / folder.RELIABILITY, bins)
    write_json(out / folder.METRICS, measured)  # the last file: it marks the run as finished
    print(f"{metrics.test_accuracy_text(measured)}, in {printable(out)}")
    return measured
