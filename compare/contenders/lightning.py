"""PyTorch Lightning: `lightning_module`'s LitClassifier and ImageDataModule, trained by the Trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs.tensorboard import keep_tensorflow_out

from . import base
from .torch import FUSED, default_loader, library, product, set_masks


class Contender(base.Contender):
    title = "Lightning"
    trains_by = "Trainer.fit"
    open_description = "Trainer(barebones=True), batches indexed from tensors without a DataLoader"
    default_description = (
        "a DataLoader over a TensorDataset; the Trainer's default progress bar, summary, logger and checkpoints"
    )
    program = "programs/with_lightning"
    torch_device = "cpu"
    accepts_masks = True
    needs = ("lightning", "torch", "torchmetrics")
    install = "pip install '.[lightning]'"

    @classmethod
    def open_changes(cls, recipe: Recipe) -> str:
        return cls.open_description + (
            ", a fused optimizer" if recipe.model.optimizer in FUSED[cls.torch_device] else ""
        )

    @classmethod
    def default_changes(cls, recipe: Recipe) -> str:
        return cls.default_description if recipe.data.augment == "none" else ""

    def load(self) -> None:
        import lightning.pytorch  # noqa: F401

        import lightning_module.data
        import lightning_module.model  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import torch
        from lightning.pytorch import seed_everything

        from lightning_module.model import LitClassifier

        seed_everything(recipe.seed_everything, workers=True, verbose=False)
        self.recipe, self.data, self.double = recipe, data, dtype == "float64"
        options = asdict(recipe.model) | {"weights": None}
        self.module = LitClassifier(
            **options, input_shape=data.input_shape, classes=data.classes, input_scale=data.input_scale
        )
        self.module.to(getattr(torch, dtype))
        state = {name: torch.from_numpy(np.ascontiguousarray(w)) for name, w in weights.items()}
        self.module.net.load_state_dict(state, strict=False)

    def state(self) -> base.Weights:
        return _copies(self.module.weights())

    def trace(self, images: np.ndarray) -> base.Weights:
        import torch

        net, trace = self.module.net.train(), base.Trace()
        before = {name: t.clone() for name, t in net.state_dict().items()}

        def hook(name: str) -> Any:
            return lambda _, inputs, output: trace.add(name, inputs[0], output)

        named = [(name, m) for name, m in net.named_modules() if name and not len(list(m.children()))]
        skipped = (torch.nn.Identity, torch.nn.Dropout)
        hooks = [m.register_forward_hook(hook(name)) for name, m in named if not isinstance(m, skipped)]
        with torch.no_grad():
            logits = net(torch.from_numpy(images).to(self.module.device))
        for handle in hooks:
            handle.remove()
        net.load_state_dict(before)
        return {name: t.cpu().numpy().copy() for name, t in (trace.outputs | {"output": logits}).items()}

    def use_masks(self, masks: Sequence[np.ndarray]) -> None:
        set_masks(self.module.net, masks)

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        from lightning_module.data import ImageDataModule

        data = ImageDataModule("", batches.batch_size, validation_size=0, augment=batches.augment, seed=batches.seed)
        data.dataset = self.data  # already loaded
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        options = dict.fromkeys(quiet, False)
        self._fit(batches, observer, data, use_distributed_sampler=False, limit_val_batches=0, **options)

    def fit_open(self, batches: base.Batches, observer: base.Observer) -> None:
        if self.recipe.model.optimizer in FUSED[self.torch_device]:
            self.module.configure_optimizers = self._fused  # type: ignore[method-assign]
        self._fit(batches, observer, Tensors(batches, self.torch_device), barebones=True)

    def fit_default(self, batches: base.Batches, observer: base.Observer) -> None:
        if batches.augment != "none":  # a TensorDataset cannot shift images
            return self.fit(batches, observer)
        keep_tensorflow_out()  # the default logger is TensorBoard if that is installed
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            return self._fit(batches, observer, default_loader(batches), default_root_dir=folder)

    def _fused(self) -> Any:
        """Return what the module configures, with a fused optimizer."""
        config: Any = type(self.module).configure_optimizers(self.module)
        optimizer = config["optimizer"] if isinstance(config, dict) else config
        for group in optimizer.param_groups:
            group["fused"] = True
        return config

    def _fit(self, batches: base.Batches, observer: base.Observer, data: Any, **options: Any) -> None:
        import logging
        import warnings

        from lightning.pytorch import Callback, Trainer

        class ObserverCallback(Callback):
            gradients: base.Weights = {}

            def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
                if observer.wants_gradients():
                    self.gradients = {name: p.grad.cpu().numpy().copy() for name, p in module.net.named_parameters()}

            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
                observer.after_steps(1, outputs["loss"].item, lambda: _copies(module.weights()), lambda: self.gradients)

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        self.trainer = Trainer(
            accelerator=self.device,
            devices=1,
            max_epochs=batches.epochs,
            precision="64-true" if self.double else "32-true",
            callbacks=[ObserverCallback()],
            **options,
        )
        self.trainer.fit(self.module, data)

    def predict(self, images: np.ndarray) -> np.ndarray:
        import torch

        self.module.eval().to(self.torch_device)
        with torch.inference_mode():
            parts = torch.from_numpy(images).to(self.torch_device).split(base.PREDICT_BATCH)
            return torch.cat([self.module(part) for part in parts]).cpu().numpy()

    def save(self, folder: Path) -> Path:
        path = folder / "model.ckpt"
        self.trainer.save_checkpoint(path)
        return path

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return product(a, b, self.torch_device)

    def library(self) -> base.Library:
        return library(self.torch_device)

    def describe(self) -> dict[str, Any]:
        import lightning
        import torch

        return {
            "version": f"Lightning {lightning.__version__}, torch {torch.__version__}",
            "parameters": sum(p.numel() for p in self.module.parameters()),
        }


def _copies(weights: base.Weights) -> base.Weights:
    return {name: w.copy() for name, w in weights.items()}


class Tensors:
    """Iterates over batches indexed from tensors on the device, in another order each epoch."""

    def __init__(self, batches: base.Batches, device: str) -> None:
        import torch

        self.images, self.labels = (torch.from_numpy(part).to(device) for part in batches.train)
        self.batches, self.device, self.epoch = batches, device, 0

    def __len__(self) -> int:
        return self.batches.steps // self.batches.epochs

    def __iter__(self) -> Iterator[Any]:
        import torch

        from lightning_module.network import shifted

        shifts = self.batches.shifts(self.epoch)
        self.epoch += 1
        moves = None if shifts is None else torch.from_numpy(shifts).to(self.device)
        for order in torch.randperm(len(self.labels), device=self.device).split(self.batches.batch_size):
            images = self.images.index_select(0, order)
            yield images if moves is None else shifted(images, moves.index_select(0, order)), self.labels[order]
