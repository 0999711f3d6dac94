"""What a run leaves in its folder, the same files as from the other two packages."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from minigrad.recipes import Recipe
from minigrad.runs import Epoch, curves, folder, history, metrics, weights, write_json

from .model import LitClassifier


class RunFolder(Checkpoint):
    """Write history.csv, weights.safetensors, curves.png, metrics.json and predictions.csv.

    A `Checkpoint` by class, so that Lightning calls it after the module has
    logged the epoch's metrics.

    Args:
        path: the run folder.
        recipe: goes into the weights file's metadata.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        self.epochs: list[Epoch] = []
        self.began = 0.0
        self.logits: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seen = {name: value.item() for name, value in trainer.callback_metrics.items()}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        epoch = Epoch(
            trainer.current_epoch + 1,
            seen["train_loss"],
            seen["train_accuracy"],
            seen.get("val_loss"),
            seen.get("val_accuracy"),
            rate,
            time.perf_counter() - self.began,
        )
        for loss in (epoch.train_loss, epoch.val_loss or 0.0):
            metrics.refuse_divergence(loss, epoch.epoch, rate)
        best = all(e.val_loss is None or epoch.val_loss is None or epoch.val_loss < e.val_loss for e in self.epochs)
        self.epochs.append(epoch)
        if trainer.is_global_zero:
            history.write(self.path / folder.HISTORY, self.epochs)
            if best or self.recipe.early_stopping.patience is None:
                self._write_weights(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.epochs:
            curves.draw(self.path / folder.CURVES, self.epochs, "PyTorch Lightning")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.logits.append(outputs.float().cpu())

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        labels = trainer.datamodule.dataset.test.labels  # type: ignore[attr-defined]
        logits = self._take_logits()
        # Several ranks have a share each; `test` says to use one device.
        if trainer.world_size == 1 and len(logits) == len(labels):
            tested = metrics.test_metrics(logits, labels)
            epochs = {"epochs": len(self.epochs)} if self.epochs else {}  # `test` alone knows no epochs
            parameters = sum(p.numel() for p in pl_module.parameters())
            write_json(self.path / folder.METRICS, {**tested, "parameters": parameters, **epochs})
            print(f"{metrics.percent(tested)}, in {self.path}")

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.logits.append(outputs.float().cpu())

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logits = self._take_logits()
        if trainer.world_size == 1:
            metrics.write_predictions(self.path / folder.PREDICTIONS, logits)
            print(f"{len(logits):,} predictions in {self.path / folder.PREDICTIONS}")

    def state_dict(self) -> dict[str, Any]:
        """The history travels in the checkpoint, so that a resumed run has both from the same moment."""
        return {"epochs": [asdict(e) for e in self.epochs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = [Epoch(**e) for e in state_dict["epochs"]]

    def _take_logits(self) -> np.ndarray:
        logits, self.logits = self.logits, []
        return torch.cat(logits).numpy()

    def _write_weights(self, module: LightningModule) -> None:
        assert isinstance(module, LitClassifier)
        h: Any = module.hparams
        described = weights.describe(self.recipe.as_dict(), tuple(h.input_shape), h.classes, h.input_scale)
        weights.write(self.path / folder.WEIGHTS, module.weights(), described)
