"""What a run leaves in its folder, the same files as from the other two packages."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import Epoch, curves, folder, history, metrics, pictures, weights, write_json, write_text

from .data import ImageDataModule
from .loading import SeededOrder
from .model import LitClassifier
from .record import as_used, claim_events


class RunFolder(Checkpoint):
    """Write history.csv, weights.safetensors, curves.png, metrics.json with its pictures, and predictions.csv.

    A `Checkpoint` by class, so that Lightning calls it after the module has
    logged the epoch's metrics.

    Args:
        path: the run folder.
        recipe: what is trained; recipe.yaml and the weights file's metadata get it as it was used.
        beyond: settings of the training that no recipe has a key for.
    """

    def __init__(self, path: Path, recipe: Recipe, beyond: Mapping[str, Any] | None = None) -> None:
        self.path, self.recipe, self.beyond = path, recipe, dict(beyond or {})
        self.digest: str | None = None  # of the data
        self.past: list[Epoch] = []
        self.epochs: list[Epoch] = []
        self.began, self.trained, self.validated, self.ended = 0.0, False, False, False
        self.logits: list[torch.Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._complete_history(trainer.current_epoch)
        self.recipe = as_used(self.recipe, trainer, pl_module)  # a finder has found by now
        if trainer.is_global_zero:
            if isinstance(trainer.datamodule, ImageDataModule):  # type: ignore[attr-defined]
                self.digest = trainer.datamodule.dataset.digest  # type: ignore[attr-defined]
            write_text(self.path / folder.RECIPE, recipes.dump(self.recipe, extra=self.beyond))
        # Lightning shows a plateau scheduler the validation loss after it has written the checkpoint.
        if self.epochs and self.epochs[-1].val_loss is not None:
            for config in trainer.lr_scheduler_configs:
                if config.reduce_on_plateau:
                    config.scheduler.step(self.epochs[-1].val_loss)  # type: ignore[arg-type]
        # Nor does the checkpoint of the epoch at which a run stops early say that it was the last.
        for stopper in trainer.early_stopping_callbacks:
            if self.epochs and 0 < stopper.stopped_epoch == self.epochs[-1].epoch - 1:
                trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began, self.trained, self.validated = time.perf_counter(), False, False
        # Resumed without a limit of epochs, Lightning ends the last one once more, and then counts one too many.
        sampler = getattr(trainer.train_dataloader, "sampler", None)
        if isinstance(sampler, SeededOrder):
            sampler.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # A pass without steps is no epoch: StochasticWeightAveraging makes one for the batch norms' statistics.
        self.trained = not trainer.fit_loop._skip_backward
        # Dropout is drawn from the seed and the epoch alone, so that a resumed run drops the same units. At the
        # first batch, since the loader draws from the same generator when its epoch begins.
        if batch_idx == 0:
            words = [self.recipe.seed_everything, trainer.current_epoch, trainer.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.trained:
            return
        seen = {name: value.item() for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        epoch = Epoch(
            trainer.current_epoch + 1,
            seen["train_loss"],
            seen["train_accuracy"],
            seen.get("val_loss") if self.validated else None,
            seen.get("val_accuracy") if self.validated else None,
            rate,
            time.perf_counter() - self.began,
        )
        for loss in (epoch.train_loss, epoch.val_loss or 0.0):
            metrics.check_loss(loss, epoch.epoch, rate, self.recipe.model.weights)
        earlier = [e.val_loss for e in self.epochs if e.val_loss is not None]
        best = epoch.val_loss is not None and epoch.val_loss < min(earlier, default=math.inf)
        self.epochs.append(epoch)
        if trainer.is_global_zero:
            history.write(self.path / folder.HISTORY, self.epochs)
            if best or not self.stops_early:
                averages = [c._average_model for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
                self.write_weights(cast(LightningModule, averages[0].module) if averages and averages[0] else pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Resumed after its last epoch, a run begins nothing, and Lightning ends only what it began: averaged weights
        # would not be taken up, nor curves drawn.
        if self.epochs and not self.ended:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = True
        if trainer.is_global_zero and self.epochs:
            curves.draw(self.path / folder.CURVES, self.epochs, "PyTorch Lightning")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.logits.append(outputs.float().cpu())

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        test = trainer.datamodule.loaded.test  # type: ignore[attr-defined]
        logits = self._take_logits()
        if len(logits) == len(test.labels):  # not so under limit_test_batches
            weights_file = self.recipe.model.weights
            trained_at = self.recipe.model.learning_rate if self.epochs else None
            metrics.check_outputs(logits, self.recipe.data.path, weights=weights_file, learning_rate=trained_at)
            tested = metrics.test_metrics(logits, test.labels)
            epochs = {"epochs": len(self.epochs)} if self.epochs else {}  # `test` alone knows no epochs
            parameters = sum(p.numel() for p in pl_module.parameters())
            for path in pictures.draw(self.path, test.images, test.labels, logits):
                log_picture(trainer.loggers, path)
            for logger in trainer.loggers:
                claim_events(self.path, logger)  # a test after the training has a file of its own
            write_json(self.path / folder.METRICS, {**tested, "parameters": parameters, **epochs})
            print(f"{metrics.percent(tested)}, in {self.path}")

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.logits.append(outputs.float().cpu())

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logits, path = self._take_logits(), trainer.datamodule.path  # type: ignore[attr-defined]
        metrics.check_outputs(logits, str(path), weights=self.recipe.model.weights)
        names = trainer.datamodule.names  # type: ignore[attr-defined]
        folder.prepare(self.path, [folder.PREDICTIONS])
        metrics.write_predictions(self.path / folder.PREDICTIONS, logits, names and names[: len(logits)])
        print(f"{len(logits):,} predictions in {self.path / folder.PREDICTIONS}")

    def state_dict(self) -> dict[str, Any]:
        """The history travels in the checkpoint, so that a resumed run has both from the same moment."""
        epochs = [asdict(e) for e in self.epochs]
        return {"epochs": epochs, "data": self.digest, "recipe": self.recipe.as_dict(), "beyond": self.beyond}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [Epoch(**e) for e in state_dict["epochs"]]

    def _complete_history(self, done: int) -> None:
        """Take the epochs from `past`, the history of the run that continues, that a checkpoint does not know of.

        A ModelCheckpoint may save after validation, when the epoch is not in the history yet.
        """
        known = len(self.epochs)
        if known < done <= len(self.past) and self.past[:known] == self.epochs:
            self.epochs = self.past[:done]

    def _take_logits(self) -> np.ndarray:
        logits, self.logits = self.logits, []
        return torch.cat(logits).numpy()

    @property
    def stops_early(self) -> bool:
        return self.recipe.early_stopping.patience is not None

    def keep_weights(self, module: LitClassifier) -> None:
        """At the end of `fit`, give the module the weights that are kept, and write them.

        Those of the best epoch under early stopping, else the module's own: averaged, if some callback averages.
        """
        written = self.path / folder.WEIGHTS
        averaged = any(isinstance(c, StochasticWeightAveraging) for c in module.trainer.callbacks)  # type: ignore[attr-defined]
        if self.stops_early and not averaged and written.exists():
            module.load_weights(str(written))
        self.write_weights(module)

    def write_weights(self, module: LightningModule) -> None:
        """Write the module's parameters to weights.safetensors."""
        assert isinstance(module, LitClassifier)
        weights.write(self.path / folder.WEIGHTS, module.weights(), module.describe(self.recipe, self.beyond))


def log_picture(loggers: Sequence[Logger], path: Path) -> None:
    """Show a picture in TensorBoard, if the run logs for it."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")
