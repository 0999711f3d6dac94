"""NumPy with back-propagation written by hand. The difference from `minigrad` is the cost of autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import _numpy, base


class Contender(base.Contender):
    title = "by hand"
    trains_by = "minigrad.by_hand.step"
    program = "programs/by_hand"

    @classmethod
    def unsupported(cls, recipe: Recipe) -> str | None:
        model = recipe.model
        conditions = (
            ("an mlp", model.architecture == "mlp"),
            ("one hidden layer", len(model.hidden) == 1),
            ("relu", model.activation == "relu"),
            ("no dropout", not model.dropout),
            ("no batch norm", not model.batch_norm),
            (
                "sgd at a constant rate",
                model.optimizer == "sgd" and model.schedule in ("constant", "reduce_on_plateau"),
            ),
            ("no momentum or decay", not model.momentum and not model.weight_decay),
            ("no augmentation", recipe.data.augment == "none"),
        )
        missed = [condition for condition, is_met in conditions if not is_met]
        return f"requires {', '.join(missed)}" if missed else None

    def load(self) -> None:
        import minigrad.by_hand  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        self.lr, self.scale, self.dtype = recipe.model.learning_rate, data.input_scale, np.dtype(dtype)
        # Fortran order as in minigrad, since BLAS is faster with it here.
        self.weights = {name: np.array(w, self.dtype, order="F") for name, w in weights.items()}

    def state(self) -> base.Weights:
        return self._copy()

    def trace(self, images: np.ndarray) -> base.Weights:
        from minigrad import by_hand

        x = self._scaled(images)
        a1, z2 = by_hand.forward(self.weights, x)
        return {"scaled": x, "hidden.0 activation": a1, "output": z2}

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        from minigrad import by_hand

        images, labels = batches.train
        total, correct, seen = 0.0, 0, 0
        for epoch in range(batches.epochs):
            for indices in batches.order(epoch):
                expected = labels[indices]
                loss, gradients, z2 = by_hand.step(
                    self.weights, self._scaled(images.take(indices, axis=0)), expected, self.lr
                )
                hits = int((z2.argmax(axis=1) == expected).sum())
                total, correct, seen = total + loss * len(indices), correct + hits, seen + len(indices)
                observer.after_steps(1, lambda v=loss: v, self._copy, lambda v=gradients: v)  # type: ignore[misc]

    def predict(self, images: np.ndarray) -> np.ndarray:
        from minigrad import by_hand

        size = base.PREDICT_BATCH
        parts = [self._scaled(images[start : start + size]) for start in range(0, len(images), size)]
        return np.concatenate([by_hand.forward(self.weights, part)[1] for part in parts])

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return _numpy.product(a, b)

    def library(self) -> base.Library:
        return _numpy.library()

    def describe(self) -> dict[str, Any]:
        return {"version": f"NumPy {np.__version__}", "parameters": sum(w.size for w in self.weights.values())}

    def _scaled(self, images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1).astype(self.dtype)
        x *= self.scale
        return x

    def _copy(self) -> base.Weights:
        return {name: w.copy() for name, w in self.weights.items()}
