"""Mean loss and accuracy over an epoch."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

Batch = tuple[Tensor, Tensor, Tensor]  # the mean loss, the logits and the labels


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

    def update(self, *batches: Batch) -> None:
        """Add batches.

        Args:
            batches: of each batch the mean loss, a scalar; the network's outputs, (n, classes); and the classes, (n,) int64.
        """
        losses, logits, labels = zip(*batches, strict=True)
        for loss, part in zip(losses, labels, strict=True):
            self.loss.add_(loss, alpha=len(part))
        expected = torch.cat(labels)
        self.correct.add_((torch.cat(logits).argmax(1) == expected).sum())
        self.images.add_(len(expected))

    def sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of this process so far: loss, correct answers and images. They are the metric's own tensors."""
        return self.loss, self.correct, self.images

    def compute(self) -> dict[str, Tensor]:
        """Return the means of `loss` and `accuracy` as float32 scalars; nothing without images.

        A NaN in any batch makes the loss NaN.
        """
        if not self.images:
            return {}
        return {"loss": (self.loss / self.images).float(), "accuracy": (self.correct / self.images).float()}
