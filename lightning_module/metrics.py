"""Mean loss and accuracy of an epoch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Tally(Metric):
    """Loss and accuracy over all images that were seen, on all devices together.

    One metric for both, which adds up on the device and validates nothing:
    torchmetrics' own two cost as much as the training step of a small network.
    """

    loss: Tensor
    correct: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, dtype in (("loss", torch.float64), ("correct", torch.int64), ("seen", torch.int64)):
            self.add_state(name, torch.zeros((), dtype=dtype), dist_reduce_fx="sum")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss (), its logits (n, classes) and labels (n,)."""
        self.loss.add_(loss, alpha=len(labels))
        self.correct.add_((logits.argmax(1) == labels).sum())
        self.seen.add_(len(labels))

    def compute(self) -> dict[str, Tensor]:
        """The means so far; a NaN shows."""
        return {"loss": (self.loss / self.seen).float(), "accuracy": (self.correct / self.seen).float()}
