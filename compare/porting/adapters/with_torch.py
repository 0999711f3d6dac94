"""A model of PyTorch behind the interface of `Adapter`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from minigrad.runs import UserError

from ..model import Layout, Mode, Parameter
from . import torch_layers
from .base import Adapter, Arguments, Arrays, Run, Trace
from .layouts import Form, FormTracker, tensors_in, without_pixels

ROOT = "model"  # name of a model that is a single layer


def prepare(dtype: str) -> None:
    """Set the data type and the seed before the user's file is executed."""
    torch.set_default_dtype(getattr(torch, dtype))
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # it runs a transformer block without its modules


class TorchModel(Adapter):
    """A model of PyTorch; see `Adapter`.

    Raises:
        UserError: the model is no module.
    """

    framework = "torch"
    backend = "torch"

    def __init__(self, model: nn.Module, dtype: str, layout: Layout | None) -> None:
        super().__init__(dtype, layout)
        if not isinstance(model, nn.Module):
            raise UserError(f"the function returned {type(model).__name__}; expected a torch.nn.Module")
        self.model = model.to(getattr(torch, dtype))
        # Sequences of attention with batch_first=False are (length, n, d); `_find_batch_axes` determines in which layers.
        self.batch_axes: dict[str, int] = {}

    def input_shape(self) -> tuple[int, ...] | None:
        return None

    def vocabulary(self) -> int | None:
        first = next((module for _, module in self._layers()), None)
        return first.num_embeddings if isinstance(first, nn.Embedding) else None

    def image_layout(self, inputs: Sequence[np.ndarray]) -> Layout | None:
        images = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d)
        if any(x.ndim == 4 for x in inputs) or any(isinstance(module, images) for _, module in self._layers()):
            return self.layout or "channels_first"
        return None

    def parameters(self) -> list[Parameter]:
        return [
            Parameter(
                name, self._role(name), tuple(tensor.shape), isinstance(tensor, nn.Parameter) and tensor.requires_grad
            )
            for name, tensor in self._tensors().items()
        ]

    def trace(self, inputs: Sequence[np.ndarray], keep_inputs: bool) -> Trace:
        if not self.batch_axes and any(
            isinstance(module, nn.MultiheadAttention) and not module.batch_first for module in self.model.modules()
        ):
            self._find_batch_axes(inputs)
        trace = Trace(keep_inputs)
        tracker = self._tracker()
        parameters = self.parameters()
        tensors = [self._input(x) for x in inputs]

        def add(
            name: str, module: nn.Module, arguments: Arguments, arrays: list[np.ndarray], output: np.ndarray
        ) -> None:
            kind = torch_layers.kind(module)
            data_format: Layout | None = "channels_first" if kind in torch_layers.WITH_CHANNELS else None
            form = tracker.form(kind, [*(x.ndim for x in arrays), output.ndim], data_format)
            form = Form(form.channels_last, self.batch_axes.get(trace.next_name(name), 0))
            shapes = [x.shape for x in arrays]
            config = torch_layers.config(module, kind, shapes, output.shape)
            own = [p for p in parameters if p.name in self._names_of(name, module)]
            run = self._run(module, arguments.without_tensors(), form)
            arrays = [form.canonical(x) for x in arrays]
            trace.add(name, kind, config, own, arrays, without_pixels(kind, form.canonical(output)), run)

        with _observed(self._layers(), add), torch.no_grad():
            output = self._output(tensors)
        trace.arrays["output"] = tracker.form().canonical(_numpy(output))
        return trace

    def weights(self) -> Arrays:
        return {name: _numpy(tensor) for name, tensor in self._tensors().items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        tensors = self._tensors()
        for name, array in weights.items():
            if name not in tensors:
                raise UserError(f"weight {name!r}: not in the model; expected one of {', '.join(tensors)}")
            if tuple(tensors[name].shape) != array.shape:
                raise UserError(f"weight {name!r}: shape {array.shape}; expected {tuple(tensors[name].shape)}")
            with torch.no_grad():
                tensors[name].copy_(torch.from_numpy(np.array(array)))

    @contextmanager
    def in_mode(self, mode: Mode) -> Iterator[None]:
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()} if mode == "train" else {}
        rates = [(module, name, getattr(module, name)) for module, name in self._dropouts()] if mode == "train" else []
        self.model.train(mode == "train")
        try:
            for module, name, _ in rates:
                setattr(module, name, 0.0)
            yield
        finally:
            for module, name, rate in rates:
                setattr(module, name, rate)
            if before:
                self.model.load_state_dict(before)
            self.model.eval()

    def start_training(
        self, targets: np.ndarray, loss: str, optimizer: str, lr: float, settings: Mapping[str, Any]
    ) -> None:
        options = {name: value for name, value in settings.items() if name != "reduction"}
        if "betas" in options:
            options["betas"] = tuple(options["betas"])
        classes: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        try:
            self.optimizer = classes[optimizer](trainable, lr=lr, **options)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer {optimizer}: {error}") from error
        self.loss = self._loss(targets, loss, settings.get("reduction", "mean"))

    def gradients(self, inputs: Sequence[np.ndarray]) -> tuple[float, Arrays]:
        self.model.zero_grad()
        value = self.loss(self._output([self._input(x) for x in inputs]))
        value.backward()
        arrays = {
            name: _numpy(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)
            for name, tensor in self._tensors().items()
            if tensor.requires_grad
        }
        return value.item(), arrays

    def _loss(self, targets: np.ndarray, loss: str, reduction: str) -> Callable[[torch.Tensor], torch.Tensor]:
        if loss == "mse":
            values = self._input(targets)
            return lambda output: functional.mse_loss(output, values, reduction=reduction)
        labels = torch.from_numpy(targets.astype(np.int64)).reshape(-1)
        return lambda output: functional.cross_entropy(
            output.reshape(-1, output.shape[-1]), labels, reduction=reduction
        )

    def update(self) -> None:
        self.optimizer.step()

    def save(self, path: Path) -> Path:
        weights = self.model.state_dict()
        if path.suffix == ".safetensors":
            from safetensors.torch import save_model

            save_model(self.model, str(path))
            return path
        path = path if path.suffix in (".pt", ".pth") else path.with_name(f"{path.name}.pt")
        torch.save(weights, path)
        return path

    def _layers(self) -> list[tuple[str, nn.Module]]:
        """Return the modules that are layers: those without children, and those of a known kind."""
        known = (*torch_layers.KINDS, *torch_layers.ACTIVATIONS)
        modules = [
            (name, m) for name, m in self.model.named_modules() if isinstance(m, known) or not list(m.children())
        ]
        attentions = [name for name, m in modules if isinstance(m, nn.MultiheadAttention)]
        inside = tuple(f"{name}." if name else "" for name in attentions)
        return [(name or ROOT, m) for name, m in modules if name in attentions or not name.startswith(inside)]

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by name, also those that several modules share."""
        tensors: dict[str, torch.Tensor] = dict(self.model.named_parameters(remove_duplicate=False))
        tensors |= dict(self.model.named_buffers(remove_duplicate=False))
        order = [name for name in self.model.state_dict() if name in tensors]
        return {name: tensors[name] for name in order if tensors[name].is_floating_point()}

    def _role(self, parameter: str) -> str:
        module, _, role = parameter.rpartition(".")
        parent, _, child = module.rpartition(".")
        in_attention = child == "out_proj" and isinstance(self.model.get_submodule(parent), nn.MultiheadAttention)
        return f"out_proj.{role}" if in_attention else role

    def _names_of(self, layer: str, module: nn.Module) -> set[str]:
        prefix = "" if module is self.model else f"{layer}."
        return {prefix + name for name in module.state_dict()}

    def _dropouts(self) -> list[tuple[nn.Module, str]]:
        """Return the modules with a dropout rate, and the name of the attribute."""
        rates = [(m, "p") for m in self.model.modules() if isinstance(m, torch_layers.DROPOUTS)]
        recurrent = (nn.MultiheadAttention, nn.RNNBase)
        return [*rates, *((m, "dropout") for m in self.model.modules() if isinstance(m, recurrent))]

    def _tracker(self) -> FormTracker:
        return FormTracker(self.layout or "channels_first", "channels_first")

    def _input(self, array: np.ndarray) -> torch.Tensor:
        return _tensor(array, self._tracker().form(), self.dtype)

    def _output(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        outputs = tensors_in(self.model(*tensors), torch.is_tensor)
        if not outputs:
            raise UserError("the model returned no tensor; expected the outputs of a batch")
        return outputs[0]

    def _run(self, module: nn.Module, arguments: Arguments, form: Form) -> Run:
        kind = torch_layers.kind(module)

        def run(inputs: Sequence[np.ndarray], training: bool) -> np.ndarray:
            tensors = [_tensor(x, form, self.dtype) for x in inputs]
            args, kwargs = arguments.replace(tensors, training)
            with torch.no_grad():
                output = _numpy(tensors_in(module(*args, **kwargs), torch.is_tensor)[0])
            return without_pixels(kind, form.canonical(output))

        return run

    def _find_batch_axes(self, inputs: Sequence[np.ndarray]) -> None:
        """Determine the batch axis of each layer: its size changes with the number of examples."""
        sizes: list[dict[str, tuple[int, ...]]] = []
        for batch in (inputs, [np.concatenate([x, x[:1]]) for x in inputs]):
            trace = Trace()

            def add(
                name: str, module: Any, arguments: Any, arrays: Any, output: np.ndarray, trace: Trace = trace
            ) -> None:
                trace.add(name, "", {}, (), (), output, lambda inputs, training: inputs[0])

            with _observed(self._layers(), add), torch.no_grad():
                self._output([self._input(x) for x in batch])
            sizes.append({layer.name: layer.output for layer in trace.layers})
        for name, shape in sizes[0].items():
            other = sizes[1].get(name, shape)
            self.batch_axes[name] = int(
                len(shape) > 1 and len(other) > 1 and shape[0] == other[0] and shape[1] != other[1]
            )


Add = Callable[[str, nn.Module, Arguments, list[np.ndarray], np.ndarray], None]


@contextmanager
def _observed(layers: Sequence[tuple[str, nn.Module]], add: Add) -> Iterator[None]:
    """Call `add` at the end of each call of a layer, with copies of its inputs and its output.

    Copies, since a layer with `inplace=True` overwrites its input.
    """
    started: dict[str, tuple[Arguments, list[np.ndarray]]] = {}

    def before(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            kind = torch_layers.kind(module)
            arguments = Arguments(inspect.signature(module.forward), args, kwargs, kind, torch.is_tensor)
            started[name] = arguments, [_numpy(x) for x in arguments.inputs]

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if tensors := tensors_in(output, torch.is_tensor):
                add(name, module, *started.pop(name), _numpy(tensors[0]))

        return hook

    hooks = [module.register_forward_pre_hook(before(name), with_kwargs=True) for name, module in layers]
    hooks += [module.register_forward_hook(after(name)) for name, module in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _tensor(array: np.ndarray, form: Form, dtype: str) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(form.native(array), order="C"))
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy())


def adapt(model: Any, dtype: str, layout: Layout | None) -> TorchModel:
    """Return the adapter of a model that the user's function has returned."""
    return TorchModel(model, dtype, layout)
