"""PyTorch in a bare loop: what Lightning costs shows beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import recipes
from minigrad.datasets import MAX_SHIFT, Dataset
from minigrad.recipes import ONE_CYCLE, Recipe

from . import base


class Contender(base.Contender):
    title = "torch"
    trains_by = "a bare loop"
    needs = ("torch",)
    install = "pip install '.[lightning]'"

    def load(self) -> None:
        import torch  # noqa: F401

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import torch
        from torch import nn

        model, sizes = recipe.model, recipes.plan(recipe.model, data.input_shape, data.classes)
        self.recipe, self.scale, self.dtype, self.image = recipe, data.input_scale, getattr(torch, dtype), sizes.image
        torch.manual_seed(recipe.seed_everything)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[model.activation]
        bias, norm, window = not model.batch_norm, model.batch_norm, model.kernel_size
        self.named: dict[str, nn.Module] = {}
        layers: list[nn.Module] = []

        def add(name: str, layer: nn.Module) -> None:
            self.named[name] = layer
            layers.append(layer)

        for i, (a, b) in enumerate(sizes.conv):
            add(f"conv.{i}", nn.Conv2d(a, b, window, padding=window // 2, bias=bias))
            if norm:
                add(f"conv_norm.{i}", nn.BatchNorm2d(b))
            layers += [nn.MaxPool2d(2), activation()]
        layers.append(nn.Flatten())
        for i, (a, b) in enumerate(sizes.hidden):
            add(f"hidden.{i}", nn.Linear(a, b, bias=bias))
            if norm:
                add(f"hidden_norm.{i}", nn.BatchNorm1d(b))
            layers += [activation(), *([nn.Dropout(model.dropout)] if model.dropout else [])]
        add("output", nn.Linear(*sizes.output))
        self.net = nn.Sequential(*layers).to(self.dtype)
        with torch.no_grad():
            for name, t in self._state().items():
                t.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))
        self.optimizer = self._optimizer()  # here, since the first one loads a second's worth of torch

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        import torch
        from torch.nn import functional as F  # noqa: N812

        images, labels = map(torch.from_numpy, batches.train)
        optimizer, scheduler = self.optimizer, self._scheduler(batches.steps)
        total, correct, seen = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0
        self.net.train()
        for epoch in range(batches.epochs):
            shifts = batches.shifts(epoch)
            for order in batches.order(epoch):
                indices = torch.from_numpy(order)
                # Quicker than labels[indices], by the time that a small network's forward pass takes.
                expected, batch = labels.index_select(0, indices), images.index_select(0, indices)
                if shifts is not None:
                    batch = _shifted(batch, torch.from_numpy(shifts[order]))
                logits = self.net(self._input(batch))
                loss = F.cross_entropy(logits, expected)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
                total += loss.detach() * len(order)
                correct += (logits.detach().argmax(1) == expected).sum()
                seen += len(order)
                watch.after(1, loss.item, self._weights, self._gradients)

    def predict(self, images: np.ndarray) -> np.ndarray:
        import torch

        self.net.eval()
        with torch.inference_mode():
            parts = [self.net(self._input(part)) for part in torch.from_numpy(images).split(base.PREDICTED_AT_ONCE)]
            return torch.cat(parts).numpy()

    def describe(self) -> dict[str, Any]:
        import torch

        return {"version": f"torch {torch.__version__}", "parameters": sum(p.numel() for p in self.net.parameters())}

    def _input(self, images: Any) -> Any:
        """Scaled pixels as the first layer takes them: (n, channels, height, width) in a cnn."""
        import torch

        x = images.to(self.dtype) * self.scale
        if "conv.0" not in self.named:
            return x
        channels, height, width = self.image
        x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        # Of a batch that lies channels last, torch's batch norm sums 100,000 numbers in a row, and loses four digits.
        return x.clone(memory_format=torch.contiguous_format)

    def _optimizer(self) -> Any:
        from torch import optim

        model = self.recipe.model
        options = {"lr": model.learning_rate, "weight_decay": model.weight_decay}
        if model.optimizer == "sgd":
            options["momentum"] = model.momentum
        kinds: dict[str, Any] = {
            "sgd": optim.SGD,
            "rmsprop": optim.RMSprop,
            "adam": optim.Adam,
            "adamw": optim.AdamW,
        }
        return kinds[model.optimizer](self.net.parameters(), **options)

    def _scheduler(self, steps: int) -> Any:
        from torch.optim import lr_scheduler

        model, one_cycle = self.recipe.model, dict[str, Any](ONE_CYCLE)
        if model.schedule == "cosine":
            return lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        if model.schedule == "one_cycle":
            one_cycle |= {"total_steps": max(steps, 2), "cycle_momentum": False}
            return lr_scheduler.OneCycleLR(self.optimizer, model.learning_rate, **one_cycle)
        return None

    def _state(self) -> dict[str, Any]:
        """Parameters and running statistics; torch counts a norm's batches too, which nobody asks for."""
        return {
            f"{name}.{part}": t
            for name, layer in self.named.items()
            for part, t in layer.state_dict().items()
            if part != "num_batches_tracked"
        }

    def _weights(self) -> base.Weights:
        return {name: t.numpy().copy() for name, t in self._state().items()}

    def _gradients(self) -> base.Weights:
        return {
            f"{name}.{part}": p.grad.numpy().copy()
            for name, layer in self.named.items()
            for part, p in layer.named_parameters()
            if p.grad is not None
        }


def _shifted(images: Any, shifts: Any) -> Any:
    """`datasets.shifted` in torch: (n, height, width, ...) by (n, 2) pixels down and right, zeros move in."""
    import torch

    height, width, m = images.shape[1], images.shape[2], MAX_SHIFT
    channels = (0, 0) * (images.ndim - 3)
    padded = torch.nn.functional.pad(images, (*channels, m, m, m, m))
    windows = padded.unfold(1, height, 1).unfold(2, width, 1)
    moved = windows[torch.arange(len(images)), m - shifts[:, 0], m - shifts[:, 1]]
    return moved.movedim(1, -1) if channels else moved
