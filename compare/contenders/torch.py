"""PyTorch in a bare loop: what Lightning costs shows beside it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from minigrad.datasets import Dataset
from minigrad.recipes import Recipe

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

        self.recipe, self.scale, self.dtype = recipe, data.input_scale, getattr(torch, dtype)
        torch.manual_seed(recipe.seed_everything)
        model = recipe.model
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[model.activation]
        layers: list[nn.Module] = []
        self.linears: dict[str, nn.Linear] = {}
        for i, (a, b) in enumerate(pairwise([math.prod(data.input_shape), *model.hidden])):
            self.linears[f"hidden.{i}"] = nn.Linear(a, b, dtype=self.dtype)
            layers += [
                self.linears[f"hidden.{i}"],
                activation(),
                *([nn.Dropout(model.dropout)] if model.dropout else []),
            ]
        self.linears["output"] = nn.Linear(model.hidden[-1], data.classes, dtype=self.dtype)
        self.net = nn.Sequential(nn.Flatten(), *layers, self.linears["output"])
        with torch.no_grad():
            for name, p in self._named().items():
                p.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))
        self.optimizer = self._optimizer()  # here, since the first one loads a second's worth of torch

    def fit(self, batches: base.Batches, watch: base.Watch) -> None:
        import torch
        from torch.nn import functional as F  # noqa: N812

        images, labels = map(torch.from_numpy, batches.train)
        optimizer = self.optimizer
        cosine = self.recipe.model.schedule == "cosine"
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches.steps) if cosine else None
        total, correct, seen = torch.zeros(()), torch.zeros((), dtype=torch.int64), 0
        self.net.train()
        for epoch in range(batches.epochs):
            for order in batches.order(epoch):
                indices = torch.from_numpy(order)
                expected = labels[indices]
                logits = self.net(images[indices].to(self.dtype) * self.scale)
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
            return self.net(torch.from_numpy(images).to(self.dtype) * self.scale).numpy()  # type: ignore[no-any-return]

    def describe(self) -> dict[str, Any]:
        import torch

        return {"version": f"torch {torch.__version__}", "parameters": sum(p.numel() for p in self.net.parameters())}

    def _optimizer(self) -> Any:
        from torch import optim

        model = self.recipe.model
        options = {"lr": model.learning_rate, "weight_decay": model.weight_decay}
        if model.optimizer == "sgd":
            options["momentum"] = model.momentum
        kinds: dict[str, Any] = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}
        return kinds[model.optimizer](self.net.parameters(), **options)

    def _named(self) -> dict[str, Any]:
        return {
            f"{name}.{part}": getattr(layer, part)
            for name, layer in self.linears.items()
            for part in ("weight", "bias")
        }

    def _weights(self) -> base.Weights:
        return {name: p.detach().numpy().copy() for name, p in self._named().items()}

    def _gradients(self) -> base.Weights:
        return {name: p.grad.numpy().copy() for name, p in self._named().items()}
