"""PyTorch with a plain training loop on the GPU. All images are in the GPU's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import machine
from ..timing.synchronized import SynchronizedObserver
from . import base, torch


class Contender(torch.Contender):
    title = "torch on the GPU"
    environment = {}
    program = ""  # the program does not move its tensors to a GPU
    device, torch_device = "gpu", "cuda"
    outside_verdict = True  # on a GPU, the order of sums is not deterministic

    def load(self) -> None:
        start()
        super().load()

    def _fit(self, batches: base.Batches, observer: base.Observer, epoch_batches: Callable[[int], Any]) -> None:
        super()._fit(batches, SynchronizedObserver(observer, batches.steps // batches.epochs, self.wait), epoch_batches)

    def wait(self) -> None:
        """Wait until the device has done all queued work."""
        wait()

    def describe(self) -> dict[str, Any]:
        return super().describe() | machine.PRECISION


def start() -> None:
    """Import torch, and switch TF32 off.

    Raises:
        RuntimeError: torch finds no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no GPU; expected a build for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def wait() -> None:
    """Wait until torch's device has done all queued work."""
    import torch

    torch.cuda.synchronize()
