"""PyTorch Lightning: the package's LitClassifier and ImageDataModule through the Trainer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import base


class Contender(base.Contender):
    title = "Lightning"
    trains_by = "Trainer.fit"
    needs = ("lightning", "torch", "torchmetrics")
    install = "pip install '.[lightning]'"

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

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        import logging
        import warnings

        from lightning.pytorch import Callback, Trainer

        from lightning_module.data import ImageDataModule

        class Watcher(Callback):
            gradients: base.Weights = {}

            def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
                if watch.wants_gradients():
                    self.gradients = {name: p.grad.numpy().copy() for name, p in module.net.named_parameters()}

            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
                watch.after(1, outputs["loss"].item, lambda: _copies(module.weights()), lambda: self.gradients)

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")
        module = ImageDataModule("", batches.batch_size, validation_size=0, augment=batches.augment, seed=batches.seed)
        module.dataset = self.data  # loaded once, for all
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=batches.epochs,
            precision="64-true" if self.double else "32-true",
            use_distributed_sampler=False,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Watcher()],
        )
        trainer.fit(self.module, module)

    def predict(self, images: np.ndarray) -> np.ndarray:
        import torch

        self.module.eval()
        with torch.inference_mode():
            parts = [self.module(part) for part in torch.from_numpy(images).split(base.PREDICTED_AT_ONCE)]
            return torch.cat(parts).numpy()

    def describe(self) -> dict[str, Any]:
        import lightning
        import torch

        return {
            "version": f"Lightning {lightning.__version__}, torch {torch.__version__}",
            "parameters": sum(p.numel() for p in self.module.parameters()),
        }


def _copies(weights: base.Weights) -> base.Weights:
    return {name: w.copy() for name, w in weights.items()}
