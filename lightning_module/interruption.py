"""SIGTERM during a Trainer's work."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback

from minigrad.runs import signals


class OwnSignals(Callback):
    """Handles SIGTERM as the command does, instead of as Lightning does.

    When the Trainer starts, Lightning replaces the handler by its own, which
    waits for the other ranks in the middle of whatever they do, and ends with
    exit status 0. SIGUSR1, with which SLURM asks for a requeue, remains Lightning's.
    """

    def on_sanity_check_start(self, *_: Any) -> None:
        signals.reinstall()

    on_validation_start = on_test_start = on_predict_start = on_train_start = on_sanity_check_start
