"""The network of a recipe as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from minigrad import recipes
from minigrad.recipes.schema import ONE_CYCLE, PLATEAU, Activation, Architecture, Optimizer, Schedule
from minigrad.runs import weights as weights_file

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class LitClassifier(LightningModule):
    """From raw input to logits: convolutions with 2x2 max pooling in a cnn, then linear layers.

    The first arguments are the recipe's section `model`; the last three come from the data.

    Args:
        architecture: the kind of network, mlp or cnn.
        channels: of a cnn, how many each convolution gives.
        kernel_size: of a cnn, the height and width of each convolution's window.
        hidden: the sizes of the hidden linear layers.
        activation: what stands after each convolution and each hidden layer.
        dropout: the probability of dropping a hidden unit in training.
        batch_norm: normalise each convolution and each hidden layer over the batch, before its activation.
        optimizer: the update rule.
        learning_rate: the step size at the start.
        momentum: of sgd.
        weight_decay: added to the gradient as weight_decay * weight; decoupled from it in adamw.
        schedule: how the learning rate moves.
        weights: a weights.safetensors to start from.
        input_shape: the shape of one vector or image, (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: multiplies the input, 1/255 for uint8 pixels.

    Raises:
        UserError: the input is no image for a cnn, or the weights file doesn't fit.
    """

    def __init__(
        self,
        architecture: Architecture = "mlp",
        channels: Sequence[int] = (8, 16),
        kernel_size: int = 5,
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
        model = recipes.Model(architecture, list(channels), kernel_size, list(hidden), batch_norm=batch_norm)
        sizes = recipes.plan(model, tuple(input_shape), classes)
        # Under batch norm a layer needs no bias: the norm has one.
        window: Any = {"kernel_size": kernel_size, "padding": kernel_size // 2, "bias": not batch_norm}
        norm2d, norm1d = (nn.BatchNorm2d, nn.BatchNorm1d) if batch_norm else (nn.Identity, nn.Identity)
        self.conv = nn.ModuleList(nn.Conv2d(a, b, **window) for a, b in sizes.conv)
        self.conv_norm = nn.ModuleList(norm2d(b) for _, b in sizes.conv)
        self.hidden = nn.ModuleList(nn.Linear(a, b, bias=not batch_norm) for a, b in sizes.hidden)
        self.hidden_norm = nn.ModuleList(norm1d(b) for _, b in sizes.hidden)
        self.output = nn.Linear(*sizes.output)
        self.pool, self.activation, self.dropout = nn.MaxPool2d(2), ACTIVATIONS[activation](), nn.Dropout(dropout)
        self.image, self.input_scale = sizes.image, input_scale
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
        if self.conv:
            channels, height, width = self.image
            x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
            # Of a batch that lies channels last, torch's batch norm sums 100,000 numbers in a row, and loses four digits.
            x = x.clone(memory_format=torch.contiguous_format)
            for layer, norm in zip(self.conv, self.conv_norm, strict=True):
                # Pooled first: a monotone activation commutes with the maximum, and has a quarter of the work left.
                x = self.activation(self.pool(norm(layer(x))))
            x = x.flatten(1)
        for layer, norm in zip(self.hidden, self.hidden_norm, strict=True):
            x = self.dropout(self.activation(norm(layer(x))))
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
        options: dict[str, Any] = {"lr": h.learning_rate, "weight_decay": h.weight_decay}
        if h.optimizer == "sgd":
            options["momentum"] = h.momentum
        optimizer = OPTIMIZERS[h.optimizer](self.parameters(), **options)
        if h.schedule == "constant":
            return optimizer
        schedules: Any = torch.optim.lr_scheduler
        if h.schedule == "reduce_on_plateau":
            plateau = schedules.ReduceLROnPlateau(optimizer, threshold_mode="abs", **PLATEAU)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}
        steps = int(self.trainer.estimated_stepping_batches)
        if h.schedule == "cosine":
            each_step = schedules.CosineAnnealingLR(optimizer, steps)
        else:
            options = {"total_steps": max(steps, 2), "cycle_momentum": False, **ONE_CYCLE}
            each_step = schedules.OneCycleLR(optimizer, h.learning_rate, **options)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": each_step, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A run may go on for longer than it was planned for: how long a schedule is, this run says.
        for state in checkpoint.get("lr_schedulers", ()):
            for length in ("T_max", "total_steps", "_schedule_phases"):
                state.pop(length, None)

    def load_weights(self, path: str) -> None:
        """Take up a weights.safetensors.

        Raises:
            UserError: it doesn't fit this network.
        """
        found = weights_file.read_for(path, {name: a.shape for name, a in self.weights().items()}, self.input_scale)
        self.load_state_dict({name: torch.from_numpy(a) for name, a in found.items()}, strict=False)

    def weights(self) -> dict[str, Any]:
        """Parameters and running statistics as NumPy arrays, named and laid out as in weights.safetensors."""
        # torch counts a norm's batches too, which nothing here asks for.
        state = {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}
        return {name: t.cpu().numpy() for name, t in state.items()}

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
