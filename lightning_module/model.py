"""The network of a recipe as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from minigrad.recipes.schema import PLATEAU, Activation, Optimizer, Schedule
from minigrad.runs import weights as weights_file

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


class LitClassifier(LightningModule):
    """Linear layers with activations and dropout between them, from raw input to logits.

    The first arguments are the recipe's section `model`; the last three come from the data.

    Args:
        architecture: the kind of network: mlp.
        hidden: the sizes of the hidden layers.
        activation: what stands after each hidden layer.
        dropout: the probability of dropping a hidden unit in training.
        batch_norm: normalise each hidden layer over the batch.
        optimizer: the update rule.
        learning_rate: the step size at the start.
        momentum: of sgd.
        weight_decay: added to the gradient as weight_decay * weight; decoupled from it in adamw.
        schedule: how the learning rate moves.
        weights: a weights.safetensors to start from.
        input_shape: the shape of one image or vector.
        classes: the number of logits.
        input_scale: multiplies the input, 1/255 for uint8 pixels.

    Raises:
        UserError: the weights file doesn't fit.
    """

    def __init__(
        self,
        architecture: str = "mlp",
        hidden: Sequence[int] = (10,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        optimizer: Optimizer = "sgd",
        learning_rate: float = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        weights: str | None = None,
        input_shape: Sequence[int] = (28, 28),
        classes: int = 10,
        input_scale: float = 1 / 255,
    ) -> None:
        super().__init__()
        # Primitives only, so that checkpoints load with weights_only=True; a path to start from is
        # no property of the trained model.
        self.save_hyperparameters(ignore=["weights"])
        sizes = [math.prod(input_shape), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(sizes[-1], classes)
        self.input_scale = input_scale
        if weights is not None:
            self.load_weights(weights)

        accuracy: dict[str, Any] = {"num_classes": classes, "average": "micro", "validate_args": False}
        self.metrics = nn.ModuleDict()
        for stage in ("train", "val", "test"):
            self.metrics[f"{stage}_loss"] = MeanMetric(nan_strategy=math.nan)  # a NaN shall show, not be left out
            self.metrics[f"{stage}_accuracy"] = MulticlassAccuracy(**accuracy)

    def forward(self, images: Tensor) -> Tensor:
        """Raw images (n, *input_shape), uint8 or floating, to logits (n, classes)."""
        x = images.flatten(1).to(self.output.weight.dtype) * self.input_scale
        for layer in self.hidden:
            x = self.dropout(self.activation(layer(x)))
        return cast(Tensor, self.output(x))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self._measure("train", logits.detach(), loss.detach(), labels)
        return loss

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._evaluate("test", batch)

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cast(Tensor, self(batch[0]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        h: Any = self.hparams
        common = {"lr": h.learning_rate, "weight_decay": h.weight_decay}
        optimizer: torch.optim.Optimizer
        if h.optimizer == "sgd":
            optimizer = torch.optim.SGD(self.parameters(), momentum=h.momentum, **common)
        else:
            optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[h.optimizer](self.parameters(), **common)
        if h.schedule == "cosine":
            steps = int(self.trainer.estimated_stepping_batches)
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}
        if h.schedule == "reduce_on_plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, threshold_mode="abs", **PLATEAU)  # type: ignore[arg-type]
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}
        return optimizer

    def load_weights(self, path: str) -> None:
        """Take up a weights.safetensors.

        Raises:
            UserError: it doesn't fit this network.
        """
        shapes = {name: tuple(p.shape) for name, p in self.named_parameters()}
        found = weights_file.read_for(path, shapes, self.input_scale)
        self.load_state_dict({name: torch.from_numpy(a) for name, a in found.items()}, strict=False)

    def weights(self) -> dict[str, Any]:
        """The parameters as NumPy arrays, named and laid out as in weights.safetensors."""
        return {name: p.detach().cpu().numpy() for name, p in self.named_parameters()}

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        logits = self(images)
        self._measure(stage, logits, F.cross_entropy(logits, labels), labels)
        return cast(Tensor, logits)

    def _measure(self, stage: str, logits: Tensor, loss: Tensor, labels: Tensor) -> None:
        cast(MeanMetric, self.metrics[f"{stage}_loss"]).update(loss, len(labels))
        cast(MulticlassAccuracy, self.metrics[f"{stage}_accuracy"]).update(logits, labels)

    def _log_epoch(self, stage: str) -> None:
        """Have Lightning compute, log and reset a stage's metrics: once an epoch, since logging each step costs more than the step."""
        for name in (f"{stage}_loss", f"{stage}_accuracy"):
            self.log(name, cast(Metric, self.metrics[name]), on_step=False, on_epoch=True, prog_bar=stage == "val")
