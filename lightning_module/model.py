"""The network of a recipe as a LightningModule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (everybody's name for it)

from minigrad import recipes
from minigrad.recipes.schema import Activation, Architecture, Optimizer, Schedule
from minigrad.runs import weights as weights_file

from . import optimizers
from .network import Network
from .tally import Tally

Batch = tuple[Tensor, Tensor]


class LitClassifier(LightningModule):
    """A recipe's network, how it is trained, and what is measured.

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
        model = recipes.Model(
            architecture, list(channels), kernel_size, list(hidden), activation, dropout, batch_norm=batch_norm
        )
        self.net = Network(model, tuple(input_shape), classes, input_scale)
        self.tallies = nn.ModuleDict({f"{stage}_": Tally() for stage in ("train", "val", "test")})
        if weights is not None:
            self.load_weights(weights)

    def forward(self, images: Tensor) -> Tensor:
        """Raw images (n, *input_shape), uint8 or floating, to logits (n, classes)."""
        return cast(Tensor, self.net(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels)
        self._tally("train").update(loss.detach(), logits.detach(), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._evaluate("test", batch)

    def predict_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        return cast(Tensor, self.net(batch[0]))

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        parameters, steps = self.net.parameters(), lambda: int(self.trainer.estimated_stepping_batches)
        return optimizers.configure(self.hparams, parameters, steps)

    def load_weights(self, path: str) -> None:
        """Take up a weights.safetensors.

        Raises:
            UserError: it doesn't fit this network.
        """
        h: Any = self.hparams
        known = {name: getattr(h, name) for name in vars(recipes.Model()) if name in h}
        recipe = recipes.Recipe(model=recipes.Model(**known))
        spec = weights_file.NetworkSpec(recipe, tuple(h.input_shape), h.classes, h.input_scale)
        found = weights_file.load_for(path, spec)
        self.net.load_state_dict({name: torch.from_numpy(a) for name, a in found.items()}, strict=False)

    def weights(self) -> dict[str, Any]:
        """Parameters and running statistics as NumPy arrays, named and laid out as in weights.safetensors."""
        # torch counts a norm's batches too, which nothing here asks for.
        state = {name: t for name, t in self.net.state_dict().items() if not name.endswith("num_batches_tracked")}
        # NumPy knows no bfloat16.
        return {name: (t if t.dtype.itemsize > 2 else t.float()).cpu().numpy() for name, t in state.items()}

    def describe(self, recipe: recipes.Recipe, beyond: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The metadata of its weights file.

        Args:
            recipe: what it was trained by.
            beyond: settings of the training that no recipe has a key for.
        """
        h: Any = self.hparams
        return weights_file.NetworkSpec(recipe, tuple(h.input_shape), h.classes, h.input_scale, beyond or {}).metadata()

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        self._tally(stage).update(F.cross_entropy(logits, labels), logits, labels)
        return cast(Tensor, logits)

    def _tally(self, stage: str) -> Tally:
        return cast(Tally, self.tallies[f"{stage}_"])

    def _log_epoch(self, stage: str) -> None:
        """Log a stage's means: once an epoch, since logging each step costs more than the step."""
        tally = self._tally(stage)
        self.log_dict({f"{stage}_{name}": value for name, value in tally.compute().items()}, prog_bar=stage == "val")
        tally.reset()
