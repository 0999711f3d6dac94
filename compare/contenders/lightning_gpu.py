"""PyTorch Lightning on the GPU."""

from __future__ import annotations

from typing import Any

from .. import machine as devices
from ..timing.synchronized import Queued
from . import base, lightning, torch_gpu


class Contender(lightning.Contender):
    title = "Lightning on the GPU"
    open_by = "Trainer(barebones=True), batches cut from tensors on the GPU"
    environment = {}
    device, where = "gpu", "cuda"
    apart = True  # as torch's

    def load(self) -> None:
        torch_gpu.start()
        super().load()

    def _fit(self, batches: base.Batches, watch: base.Watch, data: Any, **options: Any) -> None:
        super()._fit(batches, Queued(watch, batches.steps // batches.epochs, self.wait), data, **options)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        torch_gpu.wait()

    def describe(self) -> dict[str, Any]:
        return super().describe() | devices.PRECISION
