"""PyTorch Lightning on the GPU."""

from __future__ import annotations

from typing import Any

from .. import machine
from ..timing.synchronized import SynchronizedObserver
from . import base, lightning, torch_gpu


class Contender(lightning.Contender):
    title = "Lightning on the GPU"
    open_description = "Trainer(barebones=True), batches indexed from tensors on the GPU"
    environment = {}
    device, torch_device = "gpu", "cuda"
    outside_verdict = True  # as in torch_gpu

    def load(self) -> None:
        torch_gpu.start()
        super().load()

    def _fit(self, batches: base.Batches, observer: base.Observer, data: Any, **options: Any) -> None:
        super()._fit(
            batches, SynchronizedObserver(observer, batches.steps // batches.epochs, self.wait), data, **options
        )

    def wait(self) -> None:
        """Wait until the device has done all queued work."""
        torch_gpu.wait()

    def describe(self) -> dict[str, Any]:
        return super().describe() | machine.PRECISION
