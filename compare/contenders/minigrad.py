"""minigrad, the autograd engine of this project, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import devices
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs.weights import NetworkSpec

from .. import machine
from . import _numpy, base

if TYPE_CHECKING:
    from minigrad.parallel import DataParallel


class Contender(base.Contender):
    title = "minigrad"
    trains_by = "minigrad.training.train_epoch"
    program = "programs/with_minigrad"
    accepts_masks = True

    def load(self) -> None:
        import minigrad.classifier
        import minigrad.parallel
        import minigrad.training  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        from minigrad.classifier import Classifier

        self.recipe = recipe
        self.net = Classifier(
            recipe.model, data.input_shape, data.classes, data.input_scale, recipe.seed_everything, np.dtype(dtype)
        )
        self.net.load_state_dict(weights)
        self.devices = devices.fastest(NetworkSpec.of(recipe, data), machine.threads())

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
        next_mask, dropout = base.mask_source(masks), self.net.dropout
        dropout.forward = lambda x: x * next_mask(len(x)) if dropout.training else x  # type: ignore[method-assign]

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        # A recording is made on one device, so that masks and perturbations reach all images. That several devices
        # compute the same, up to rounding, is a test of minigrad.parallel.
        if self.devices == 1 or observer.every_step:
            self._fit(batches, observer)
        else:
            from minigrad.parallel import DataParallel

            model, image = self.recipe.model, batches.train.images[0]
            with DataParallel(self.net, model, image.shape, image.dtype, batches.batch_size, self.devices) as ranks:
                self._fit(batches, observer, ranks)

    def _fit(self, batches: base.Batches, observer: base.Observer, ranks: DataParallel | None = None) -> None:
        from minigrad.training import Schedule, build_optimizer, train_epoch

        optimizer = build_optimizer(self.net.parameters(), self.recipe.model)
        schedule = Schedule(self.recipe.model.schedule, optimizer, batches.steps)

        def gradients() -> base.Weights:
            return {name: p.grad.copy() for name, p in self.net.named_parameters() if p.grad is not None}

        def after_step(_: int, loss: float) -> None:
            observer.after_steps(1, lambda: loss, self.net.state_dict, gradients)

        for epoch in range(batches.epochs):
            (ranks or self.net).begin_epoch(epoch)
            order, shifts = batches.order(epoch), batches.shifts(epoch)
            train_epoch(self.net, optimizer, *batches.train, order, schedule, after_step, shifts, ranks)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.net.predict(images, base.PREDICT_BATCH)

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return _numpy.product(a, b)

    def library(self) -> base.Library:
        return _numpy.library()

    def describe(self) -> dict[str, Any]:
        parameters = sum(p.size for p in self.net.parameters())
        return {"version": f"NumPy {np.__version__}", "parameters": parameters} | devices.settings(self.devices)
