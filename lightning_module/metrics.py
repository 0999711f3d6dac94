"""Mean loss and accuracy over an epoch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class LossAndAccuracy(Metric):
    """Mean loss and accuracy over all images of an epoch, on all devices together.

    One metric computes both, sums on the device and does not check its
    inputs, because two metrics of torchmetrics together take as long as a
    training step of a small network.
    """

    loss: Tensor
    correct: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, dtype in (("loss", torch.float64), ("correct", torch.int64), ("images", torch.int64)):
            self.add_state(name, torch.zeros((), dtype=dtype), dist_reduce_fx="sum")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: the mean loss of the batch, a scalar.
            logits: the network's outputs, (n, classes).
            labels: the classes, (n,) int64.
        """
        self.loss.add_(loss, alpha=len(labels))
        self.correct.add_((logits.argmax(1) == labels).sum())
        self.images.add_(len(labels))

    def compute(self) -> dict[str, Tensor]:
        """Return the means of `loss` and `accuracy` as float32 scalars. A NaN in any batch makes the loss NaN."""
        return {"loss": (self.loss / self.images).float(), "accuracy": (self.correct / self.images).float()}
