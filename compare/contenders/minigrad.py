"""The package's own autograd in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import base


class Contender(base.Contender):
    title = "minigrad"
    trains_by = "minigrad.training.train_epoch"

    def load(self) -> None:
        import minigrad.classifier
        import minigrad.training  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        from minigrad.classifier import Classifier

        self.recipe = recipe
        self.net = Classifier(
            recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, np.dtype(dtype)
        )
        self.net.load_state_dict(weights)

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        from minigrad.training import Schedule, build_optimizer, train_epoch

        optimizer = build_optimizer(self.net.parameters(), self.recipe.model)
        schedule = Schedule(self.recipe.model.schedule, optimizer, batches.steps)

        def gradients() -> base.Weights:
            return {name: p.grad.copy() for name, p in self.net.named_parameters() if p.grad is not None}

        def after_step(_: int, loss: float) -> None:
            watch.after(1, lambda: loss, self.net.state_dict, gradients)

        for epoch in range(batches.epochs):
            self.net.begin_epoch(epoch)
            order, shifts = batches.order(epoch), batches.shifts(epoch)
            train_epoch(self.net, optimizer, *batches.train, order, schedule, after_step, shifts)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.net.predict(images, base.PREDICTED_AT_ONCE)

    def describe(self) -> dict[str, Any]:
        return {"version": f"NumPy {np.__version__}", "parameters": sum(p.size for p in self.net.parameters())}
