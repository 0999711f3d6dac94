"""PyTorch in a bare loop on the GPU, all images in its memory."""

from __future__ import annotations

from typing import Any

from .. import machine as devices
from ..timing.synchronized import Queued
from . import base, torch


class Contender(torch.Contender):
    title = "torch on the GPU"
    environment = {}
    device, where = "gpu", "cuda"
    apart = True  # its sums come in no fixed order

    def load(self) -> None:
        start()

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        super().fit(batches, Queued(watch, batches.steps // batches.epochs, self.wait))

    def wait(self) -> None:
        """Until the device has done what it was given."""
        wait()

    def describe(self) -> dict[str, Any]:
        return super().describe() | devices.PRECISION


def start() -> None:
    """Import torch, with TF32 off.

    Raises:
        RuntimeError: it sees no GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no GPU; expected a build for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def wait() -> None:
    """Until torch's device has done what it was given."""
    import torch

    torch.cuda.synchronize()
