"""PyTorch with a plain training loop. The difference from `lightning` is the cost of Lightning."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minigrad import recipes
from minigrad.datasets import Dataset
from minigrad.recipes import ONE_CYCLE, Recipe

from . import base

# Optimizers whose fused implementation is faster, by torch device. On a CPU, fused plain SGD is slower.
FUSED = {"cpu": ("adam", "adamw"), "cuda": ("sgd", "adam", "adamw")}


class Contender(base.Contender):
    title = "torch"
    trains_by = "a plain training loop"
    default_description = "a DataLoader over a TensorDataset, which collates single images"
    program = "programs/with_torch"
    torch_device = "cpu"
    accepts_masks = True
    needs = ("torch",)
    install = "pip install '.[lightning]'"

    @classmethod
    def open_changes(cls, recipe: Recipe) -> str:
        changes = ["a fused optimizer"] if recipe.model.optimizer in FUSED[cls.torch_device] else []
        changes += ["channels-last memory format"] if recipe.model.architecture == "cnn" else []
        return f"{', '.join(changes)}; no torch.compile, since compiling costs more than it saves" if changes else ""

    @classmethod
    def default_changes(cls, recipe: Recipe) -> str:
        return cls.default_description if recipe.data.augment == "none" else ""

    def load(self) -> None:
        import torch

        import lightning_module.network  # noqa: F401

        # The first step of the first optimizer imports modules for about a second.
        weight = torch.zeros(1, requires_grad=True)
        weight.sum().backward()
        torch.optim.SGD([weight]).step()

    def build(self, recipe: Recipe, data: Dataset, weights: base.Weights, dtype: str) -> None:
        import torch
        from torch import nn

        model, sizes = recipe.model, recipes.sizes(recipe.model, data.input_shape, data.classes)
        self.recipe, self.scale, self.dtype, self.image = recipe, data.input_scale, getattr(torch, dtype), sizes.image
        torch.manual_seed(recipe.seed_everything)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[model.activation]
        bias, norm, kernel = not model.batch_norm, model.batch_norm, model.kernel_size
        self.named: dict[str, nn.Module] = {}
        layers: list[nn.Module] = []

        def add(name: str, layer: nn.Module) -> None:
            self.named[name] = layer
            layers.append(layer)

        for i, (a, b) in enumerate(sizes.conv):
            add(f"conv.{i}", nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=bias))
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
        self.net, self.layout = nn.Sequential(*layers).to(self.torch_device, self.dtype), torch.contiguous_format
        with torch.no_grad():
            for name, t in self._state().items():
                t.copy_(torch.from_numpy(np.ascontiguousarray(weights[name])))
        self.optimizer = self._optimizer()

    def state(self) -> base.Weights:
        return self._weights()

    def trace(self, images: np.ndarray) -> base.Weights:
        import torch

        before, trace = {name: t.clone() for name, t in self._state().items()}, base.Trace()
        names = {layer: name for name, layer in self.named.items()}
        x = self._input(torch.from_numpy(images).to(before["output.weight"].device))
        with torch.no_grad():
            for layer in self.net.train():
                kind = "pool" if isinstance(layer, torch.nn.MaxPool2d) else "activation"
                layer_input, x = x, layer(x)
                if not isinstance(layer, torch.nn.Flatten | torch.nn.Dropout):
                    flat = layer_input.flatten(1) if layer_input.ndim < 4 else layer_input
                    trace.add(names.get(layer, kind), flat, x)
            for name, t in self._state().items():
                t.copy_(before[name])
        return {name: t.cpu().numpy().copy() for name, t in (trace.outputs | {"output": x}).items()}

    def use_masks(self, masks: Sequence[np.ndarray]) -> None:
        set_masks(self.net, masks)

    def fit(self, batches: base.Batches, observer: base.Observer) -> None:
        import torch

        from lightning_module.network import shifted

        images, labels = (torch.from_numpy(part).to(self.torch_device) for part in batches.train)

        def epoch_batches(epoch: int) -> Iterable[Any]:
            order = torch.from_numpy(np.concatenate(batches.order(epoch))).to(self.torch_device)
            shifts = batches.shifts(epoch)
            moves = None if shifts is None else torch.from_numpy(shifts).to(self.torch_device)
            for indices in order.split(batches.batch_size):
                # labels[indices] would be slower by about the duration of a small network's forward pass.
                batch = images.index_select(0, indices)
                if moves is not None:
                    batch = shifted(batch, moves.index_select(0, indices))
                yield batch, labels.index_select(0, indices)

        self._fit(batches, observer, epoch_batches)

    def _fit(self, batches: base.Batches, observer: base.Observer, epoch_batches: Callable[[int], Any]) -> None:
        """Train on the images and labels that `epoch_batches` returns for an epoch, counted from 0."""
        import torch
        from torch.nn import functional as F  # noqa: N812

        optimizer, scheduler = self.optimizer, self._scheduler(batches.steps)
        total = torch.zeros((), device=self.torch_device)
        correct, seen = torch.zeros((), dtype=torch.int64, device=self.torch_device), 0
        self.net.train()
        for epoch in range(batches.epochs):
            for images, labels in epoch_batches(epoch):
                logits = self.net(self._input(images))
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if scheduler is not None:
                    scheduler.step()
                total += loss.detach() * len(labels)
                correct += (logits.detach().argmax(1) == labels).sum()
                seen += len(labels)
                observer.after_steps(1, loss.item, self._weights, self._gradients)

    def fit_open(self, batches: base.Batches, observer: base.Observer) -> None:
        import torch

        if self.recipe.model.optimizer in FUSED[self.torch_device]:
            self.optimizer = self._optimizer(fused=True)
        self.layout = torch.channels_last
        self.net.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.fit(batches, observer)

    def fit_default(self, batches: base.Batches, observer: base.Observer) -> None:
        if batches.augment != "none":  # a TensorDataset cannot shift images
            return self.fit(batches, observer)
        loader = default_loader(batches)
        return self._fit(
            batches, observer, lambda _: ((x.to(self.torch_device), y.to(self.torch_device)) for x, y in loader)
        )

    def predict(self, images: np.ndarray) -> np.ndarray:
        import torch

        self.net.eval()
        with torch.inference_mode():
            parts = torch.from_numpy(images).to(self.torch_device).split(base.PREDICT_BATCH)
            return torch.cat([self.net(self._input(part)) for part in parts]).cpu().numpy()

    def save(self, folder: Path) -> Path:
        import torch

        path = folder / "model.pt"
        torch.save(self.net.state_dict(), path)
        return path

    def product(self, a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
        return product(a, b, self.torch_device)

    def library(self) -> base.Library:
        return library(self.torch_device)

    def describe(self) -> dict[str, Any]:
        import torch

        return {"version": f"torch {torch.__version__}", "parameters": sum(p.numel() for p in self.net.parameters())}

    def _input(self, images: Any) -> Any:
        """Return the input of the first layer: scaled pixels, (n, channels, height, width) in a CNN."""
        x = images.to(self.dtype) * self.scale
        if "conv.0" not in self.named:
            return x
        channels, height, width = self.image
        x = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        # With channels last, torch's batch norm sums 100,000 numbers one after another, and loses four digits.
        return x.clone(memory_format=self.layout)

    def _optimizer(self, **options: Any) -> Any:
        from torch import optim

        model = self.recipe.model
        options |= {"lr": model.learning_rate, "weight_decay": model.weight_decay}
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
        """Return parameters and running statistics, without torch's count of batches."""
        return {
            f"{name}.{part}": t
            for name, layer in self.named.items()
            for part, t in layer.state_dict().items()
            if part != "num_batches_tracked"
        }

    def _weights(self) -> base.Weights:
        return {name: t.cpu().numpy().copy() for name, t in self._state().items()}

    def _gradients(self) -> base.Weights:
        return {
            f"{name}.{part}": p.grad.cpu().numpy().copy()
            for name, layer in self.named.items()
            for part, p in layer.named_parameters()
            if p.grad is not None
        }


def set_masks(net: Any, masks: Sequence[np.ndarray]) -> None:
    """Make each dropout layer of the network multiply by the next mask when it trains; in evaluation it does nothing."""
    import torch

    next_mask = base.mask_source(masks)

    def masked(layer: torch.nn.Dropout) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: x * torch.from_numpy(next_mask(len(x))).to(x) if layer.training else x

    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.forward = masked(module)  # type: ignore[assignment, method-assign]


def default_loader(batches: base.Batches) -> Any:
    """Return a `DataLoader` with default settings, which shuffles, over a `TensorDataset` of the training images."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    images, labels = (torch.from_numpy(part) for part in batches.train)
    return DataLoader(TensorDataset(images, labels), batch_size=batches.batch_size, shuffle=True)


def product(a: np.ndarray, b: np.ndarray, device: str) -> Callable[[], object]:
    """Return a function that multiplies two matrices on a torch device; see `Contender.product`."""
    import torch

    x, y = (torch.tensor(matrix, device=device) for matrix in (a, b))
    if device == "cpu":
        return lambda: torch.mm(x, y)

    def multiply() -> object:
        result = torch.mm(x, y)
        torch.cuda.synchronize()
        return result

    return multiply


def library(device: str) -> base.Library:
    """Return the library that multiplies matrices on a torch device; see `Contender.library`."""
    import torch

    if device != "cpu":
        return {"library": f"cuBLAS of CUDA {torch.version.cuda}", "kernel": None, "threads": None}
    config = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", config)
    blas = re.search(r"BLAS_INFO=(\w+)", config)
    name = f"oneMKL {mkl[1]}" if mkl else f"{blas[1] if blas else 'the BLAS'} of torch {torch.__version__}"
    return {"library": name, "kernel": _mkl_kernel() if mkl else None, "threads": torch.get_num_threads()}


def _mkl_kernel() -> str | None:
    """Return the instruction set that oneMKL uses, or None if it does not name one.

    `torch.backends.cpu.get_cpu_capability` is that of torch's own kernels. oneMKL can use another one on the same processor,
    and names it only in its verbose output.
    """
    import torch

    with tempfile.TemporaryFile() as file:
        stdout = os.dup(1)  # oneMKL writes to the file descriptor
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
                torch.mm(torch.ones(64, 64), torch.ones(64, 64))
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        file.seek(0)
        named = re.search(r"\b(?:AVX|SSE)[\w.-]*", file.read().decode(errors="replace"))
    return named[0] if named else None
