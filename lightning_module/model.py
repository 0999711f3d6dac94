"""The network of a recipe as a LightningModule."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the customary name)

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.recipes.schema import Activation, Architecture, Optimizer, Schedule
from minigrad.runs import NetworkSpec, UserError
from minigrad.runs import weights as weights_file
from minigrad.runs.weights import Weights

from . import metrics, optimizers, own_classes, restore, within_epoch
from .metrics import LossAndAccuracy
from .network import Network

Batch = tuple[Tensor, Tensor]
BATCHES = 16  # that the training metric adds at once, since it takes almost as long for one
# The arguments that describe the data rather than the network.
FROM_DATA = ("input_shape", "classes", "input_scale", "class_names", "mnist_like")


class LitClassifier(LightningModule):
    """A recipe's network with its loss, optimizer and metrics.

    The first arguments are the keys of the recipe's section `model`; the last three are properties of the data.

    Args:
        architecture: mlp: linear layers with activations between them. cnn: convolutions, each with 2x2 max pooling,
            before those layers.
        channels: the output channels of each convolution of a cnn.
        kernel_size: the height and width of each convolution's kernel, an odd number.
        hidden: the number of units in each hidden linear layer.
        activation: the activation after each convolution and each hidden layer.
        dropout: the probability of dropping a hidden unit in training, at least 0 and below 1.
        batch_norm: normalize each convolution and each hidden layer over the batch, before its activation.
        optimizer: the update rule; all packages use PyTorch's formula.
        learning_rate: the learning rate; with one_cycle, its maximum.
        momentum: the momentum of sgd.
        weight_decay: the weight decay; added to the gradient as weight_decay * weight, or decoupled from it in adamw.
        schedule: constant: the learning rate does not change. cosine: it falls to 0 along a half cosine. one_cycle: it
            rises to learning_rate in the first 30 % of the steps, then falls. reduce_on_plateau: it is divided by 10
            whenever the validation loss has not fallen by 0.0001 for 3 epochs.
        weights: a weights.safetensors file to start from; null starts from random weights.
        input_shape: the shape of one input: (features,), (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: the factor by which the network multiplies its input: 1/255 for uint8 pixels, 1 for floats.
        class_names: the name of each class; empty if the classes only have numbers.
        mnist_like: whether the training images are light on dark and centered by mass, as in MNIST; None if not known.

    Raises:
        UserError: an argument is invalid, the input of a cnn is not an image, or the weights file does not fit the network.

    A subclass may override `build_network`, `loss` and `configure_optimizers`. Its `__init__` passes the arguments above on as
    keywords; further arguments of it are hyperparameters too, and must be numbers, texts or lists of them.

    Example:
        module = LitClassifier(hidden=[128], optimizer="adam", learning_rate=0.001)
        Trainer(max_epochs=10, use_distributed_sampler=False).fit(module, ImageDataModule("mnist"))
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
        class_names: Sequence[str] = (),
        mnist_like: bool | None = None,
    ) -> None:
        super().__init__()
        # Primitives only, so that checkpoints load with weights_only=True. The path of the initial weights is not a
        # property of the trained model.
        self.save_hyperparameters(ignore=["weights"])
        own_classes.check_arguments("model", self.hparams)
        if type(self).forward is not LitClassifier.forward:  # the steps call the network
            raise UserError(
                f"forward: {type(self).__name__} overrides it; expected a method build_network(self) instead"
            )
        self.net = self.build_network()
        self.example_input_array = (torch.zeros(1, *input_shape),)  # from which the summary computes sizes and FLOPs
        # ModuleDict rejects the key "train", which is a method of its own.
        self.metrics = nn.ModuleDict({f"{stage}_": LossAndAccuracy() for stage in ("train", "val", "test")})
        self._batches: list[metrics.Batch] = []  # that the training metric does not contain yet
        self._resumed: dict[str, Any] = {}  # of a checkpoint within an epoch, until the training starts
        if weights is not None:
            self.load_weights(weights)

    @classmethod
    def from_recipe(cls, recipe: Recipe, data: Dataset) -> LitClassifier:
        """Return the module for a recipe and its data.

        Args:
            recipe: its section `model` gives the hyperparameters.
            data: gives the shape and the scale of the input, and the number of classes.

        Raises:
            UserError: as for the class.
        """
        return cls(**arguments(recipe, data))

    def build_network(self) -> nn.Module:
        """Build the network, `self.net`, from the hyperparameters in `self.hparams`.

        Returns:
            A module that computes logits (n, classes) from raw images (n, *input_shape). uint8 images are not scaled yet:
            see `network.Scale`.
        """
        hparams: Any = self.hparams
        return Network(self.recipe().model, tuple(hparams.input_shape), hparams.classes, hparams.input_scale)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch, for training, validation and test.

        Args:
            logits: (n, classes) floats.
            labels: (n,) int64.

        Returns:
            The mean over the batch, a scalar. The default is cross-entropy in nats.
        """
        return F.cross_entropy(logits, labels)

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning assigns the name of each hook before and after the call, about 40 times per step. `nn.Module` would
        # look for a parameter, a module and a buffer of that name first.
        if (value is None or type(value) is str) and name in self.__dict__:
            self.__dict__[name] = value
        else:
            if name == "loss":  # the method would be called all the same
                raise UserError(
                    f"loss: {type(self).__name__} assigns a {type(value).__name__} to it; expected a method loss(self, logits,"
                    " labels)"
                )
            super().__setattr__(name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (n, classes) from raw images (n, *input_shape), uint8 or floating point."""
        return cast(Tensor, self.net(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = self.loss(logits, labels)
        self._batches.append((loss.detach(), logits.detach(), labels))
        if len(self._batches) == BATCHES:
            self._update_train_metric()
        return loss

    # Lightning reads it in each step, and Python takes longer to derive it than to read it here.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._evaluate("test", batch)

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> Tensor:
        """Compute the logits of a batch: images, or a tuple or list whose first part is images."""
        return cast(Tensor, self.net(batch if isinstance(batch, Tensor) else batch[0]))

    def on_fit_start(self) -> None:
        own_classes.check_module(self)

    def on_train_start(self) -> None:
        resumed, self._resumed = self._resumed, {}
        within_epoch.restore(self, resumed)

    def on_train_epoch_start(self) -> None:
        self.train_metric.reset()  # Lightning does not call this hook if it continues within an epoch

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout depends on the seed and the step only, so that a resumed run drops the same units.
        trainer = self.trainer
        seed = getattr(trainer.datamodule, "seed", None)  # type: ignore[attr-defined]
        if isinstance(seed, int):
            within_epoch.seed_step(self.device, seed, trainer.current_epoch, trainer.global_rank, batch_idx)

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        within_epoch.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint.get(within_epoch.KEY, {})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        parameters, steps = self.net.parameters(), lambda: int(self.trainer.estimated_stepping_batches)
        return optimizers.configure(self.hparams, parameters, steps)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:  # `optimizer.zero_grad` takes several times as long
            for parameter in group["params"]:
                parameter.grad = None

    def load_weights(self, path: str) -> None:
        """Load a weights.safetensors.

        Raises:
            UserError: the file cannot be read, or does not fit this network.
        """
        shapes = {name: array.shape for name, array in self.weights().items()}
        restore.set_weights(self.net, weights_file.load_for(path, self.spec(self.recipe()), shapes))

    def weights(self) -> Weights:
        """Return parameters and running statistics as NumPy arrays, named and laid out as in weights.safetensors."""
        return restore.to_arrays(self.net.state_dict())

    def spec(self, recipe: Recipe, extra: Mapping[str, Any] | None = None) -> NetworkSpec:
        """Return the specification of the network, for its weights file.

        Args:
            recipe: the recipe that the network was trained with.
            extra: settings of the training for which a recipe has no keys.
        """
        hparams: Any = self.hparams
        names, mnist_like = tuple(hparams.get("class_names", ())), hparams.get("mnist_like")
        shape, classes, scale = tuple(hparams.input_shape), hparams.classes, hparams.input_scale
        return NetworkSpec(recipe, shape, classes, scale, extra or {}, names, mnist_like)

    def recipe(self) -> Recipe:
        """Return a recipe whose section `model` has the hyperparameters; its other sections have their defaults."""
        hparams: Any = self.hparams
        values = {name: getattr(hparams, name) for name in vars(recipes.Model()) if name in hparams}
        values |= {name: list(values[name]) for name in ("channels", "hidden")}
        return Recipe(model=recipes.Model(**values))

    @property
    def train_metric(self) -> LossAndAccuracy:
        """The metric of the training images of the current epoch so far."""
        self._update_train_metric()
        return self._metric("train")

    def _update_train_metric(self) -> None:
        if self._batches:
            self._metric("train").update(*self._batches)
            self._batches.clear()

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        self._metric(stage).update((self.loss(logits, labels), logits, labels))
        return cast(Tensor, logits)

    def _metric(self, stage: str) -> LossAndAccuracy:
        return cast(LossAndAccuracy, self.metrics[f"{stage}_"])

    def _log_epoch(self, stage: str) -> None:
        """Log the means of a stage, once per epoch, because logging each step would take longer than the step.

        Nothing is logged if a subclass has steps of its own, which do not update the metric.
        """
        metric = self.train_metric if stage == "train" else self._metric(stage)
        self.log_dict({f"{stage}_{name}": value for name, value in metric.compute().items()}, prog_bar=stage == "val")
        metric.reset()


def arguments(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """Return the arguments of `LitClassifier`, or of a subclass, for a recipe and its data."""
    return {**vars(recipe.model), **{name: getattr(data, name) for name in FROM_DATA}}
