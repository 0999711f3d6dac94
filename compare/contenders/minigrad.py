"""minigrad, the autograd engine of this project, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

from . import _numpy, base


class Contender(base.Contender):
    title = "minigrad"
    trains_by = "minigrad.training.train_epoch"
    program = "programs/with_minigrad"
    accepts_masks = True

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

    def state(self) -> base.Weights:
        return self.net.state_dict()

    def trace(self, images: np.ndarray) -> base.Weights:
        from minigrad.tape import no_grad

        before, trace, net = self.net.state_dict(), base.Trace(), self.net
        layers = {f"{kind}.{i}": m for kind in base.LAYER_LISTS for i, m in enumerate(getattr(net, kind))}
        layers |= {"pool": net.pool, "activation": net.activation, "output": net.output}

        def traced(name: str, forward: Any) -> Any:
            def run(x: Any) -> Any:
                output = forward(x)
                trace.add(name, np.array(x), np.array(output))
                return output

            return run

        for name, layer in layers.items():
            layer.forward = traced(name, layer.forward)  # type: ignore[method-assign]
        with no_grad():
            logits = net.train()(images)
        for layer in layers.values():
            del layer.forward
        net.load_state_dict(before)
        return trace.outputs | {"output": logits.data}

    def use_masks(self, masks: Sequence[np.ndarray]) -> None:
        next_mask = base.mask_source(masks)
        self.net.dropout.forward = lambda x: x * next_mask(len(x))  # type: ignore[method-assign]

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        from minigrad.training import Schedule, build_optimizer, train_epoch

        optimizer = build_optimizer(self.net.parameters(), self.recipe.model)
        schedule = Schedule(self.recipe.model.schedule, optimizer, batches.steps)

        def gradients() -> base.Weights:
            return {name: p.grad.copy() for name, p in self.net.named_parameters() if p.grad is not None}

        def after_step(_: int, loss: float) -> None:
            observer.after_steps(1, lambda: loss, self.net.state_dict, gradients)

        for epoch in range(batches.epochs):
            self.net.begin_epoch(epoch)
            order, shifts = batches.order(epoch), batches.shifts(epoch)
            train_epoch(self.net, optimizer, *batches.train, order, schedule, after_step, shifts)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.net.predict(images, base.PREDICT_BATCH)

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return _numpy.product(a, b)

    def library(self) -> base.Library:
        return _numpy.library()

    def describe(self) -> dict[str, Any]:
        return {"version": f"NumPy {np.__version__}", "parameters": sum(p.size for p in self.net.parameters())}
