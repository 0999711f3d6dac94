"""SIGTERM during a Trainer's work."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from minigrad.runs import signals


class OwnSignals(Callback):
    """Handles SIGTERM as the command does, instead of as Lightning does.

    When the Trainer starts, Lightning replaces the handler by its own, which
    waits for the other ranks in the middle of whatever they do, and ends with
    exit status 0. SIGUSR1, with which SLURM asks for a requeue, remains Lightning's.
    """

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.reinstall()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.reinstall()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.reinstall()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.reinstall()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.reinstall()
