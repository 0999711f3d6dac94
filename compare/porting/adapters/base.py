"""What both frameworks' adapters share: the trace of a forward pass, one layer run alone, and the training loop."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import UserError

from ..model import Framework, Layer, Layout, Mode, Parameter, Structure
from .layouts import tensors_in

Arrays = dict[str, np.ndarray]
ATTENTION_INPUTS = ("query", "key", "value")
# PyTorch's names of the optimizers' settings.
SETTINGS = ("momentum", "dampening", "nesterov", "betas", "eps", "weight_decay", "amsgrad", "reduction")


class Arguments:
    """The arguments of one call of a layer, whose inputs can be replaced by others.

    Masks and the flag `training` are not inputs and stay as they are. The
    inputs of attention are the query, the key and the value.

    Args:
        signature: of the layer's function.
        args, kwargs: of the call.
        kind: of the layer.
        is_tensor: whether a value is a tensor of the framework.
    """

    def __init__(
        self,
        signature: inspect.Signature,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        kind: str,
        is_tensor: Callable[[Any], bool],
    ) -> None:
        self.bound, self.is_tensor = signature.bind(*args, **kwargs), is_tensor
        arguments = self.bound.arguments
        if kind == "attention":
            if arguments.get("key") is None:  # in Keras the key is the value by default
                arguments["key"] = arguments["value"]
            self.names: list[str] = list(ATTENTION_INPUTS)
        else:
            self.names = [name for name in arguments if "mask" not in name and name != "training"]

    @property
    def inputs(self) -> list[Any]:
        """The tensors that are inputs of the layer."""
        return tensors_in([self.bound.arguments[name] for name in self.names], self.is_tensor)

    def replace(self, inputs: Sequence[Any], training: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return `args` and `kwargs` with other inputs.

        Raises:
            ValueError: another number of inputs.
        """
        if len(inputs) != len(self.inputs):
            raise ValueError(f"{len(inputs)} inputs; the layer takes {len(self.inputs)}")
        remaining = iter(inputs)
        arguments = dict(self.bound.arguments)
        for name in self.names:
            arguments[name] = self._replace(arguments[name], remaining)
        if arguments.get("training") is not None:
            arguments["training"] = training
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self.bound.signature.parameters.items():
            if name not in arguments:
                continue
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                args += arguments[name]
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                kwargs |= arguments[name]
            elif name in self.names and not kwargs:
                args.append(arguments[name])
            else:  # in Keras, only tensors can be positional arguments
                kwargs[name] = arguments[name]
        return tuple(args), kwargs

    def without_tensors(self) -> Arguments:
        """Return itself, with inputs that hold no data, so that a trace does not keep the activations in memory."""
        remaining = iter([_Empty()] * len(self.inputs))
        for name in self.names:
            self.bound.arguments[name] = self._replace(self.bound.arguments[name], remaining)
        is_tensor = self.is_tensor
        self.is_tensor = lambda value: isinstance(value, _Empty) or is_tensor(value)
        return self

    def _replace(self, structure: Any, remaining: Any) -> Any:
        if self.is_tensor(structure):
            return next(remaining)
        if isinstance(structure, dict):
            return {key: self._replace(value, remaining) for key, value in structure.items()}
        if isinstance(structure, (list, tuple)):
            return type(structure)([self._replace(value, remaining) for value in structure])
        return structure


class _Empty:
    """Takes the position of an input."""


Run = Callable[[Sequence[np.ndarray], bool], np.ndarray]  # inputs, training -> output


@dataclass
class Trace:
    """The calls of the layers of a model in one forward pass.

    Attributes:
        keep_inputs: whether to keep the inputs of the layers beside their outputs.
        layers: in the order of their calls.
        arrays: `output LAYER` and `input LAYER i`, in PyTorch's layout.
        runs: functions that run one layer alone, by the layer's name.
    """

    keep_inputs: bool = False
    layers: list[Layer] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def next_name(self, layer: str) -> str:
        """Return the name of a layer's next call."""
        count = self.calls[layer] + 1
        return layer if count == 1 else f"{layer}#{count}"

    def add(
        self,
        layer: str,
        kind: str,
        config: dict[str, Any],
        parameters: Sequence[Parameter],
        inputs: Sequence[np.ndarray],
        output: np.ndarray,
        run: Run,
    ) -> None:
        """Add a call, with the arrays in PyTorch's layout."""
        name = self.next_name(layer)
        self.calls[layer] += 1
        shapes = tuple(x.shape for x in inputs)
        own = tuple(parameters) if self.calls[layer] == 1 else ()
        self.layers.append(Layer(name, kind, config, own, shapes, output.shape))
        self.runs[name] = run
        self.arrays[f"output {name}"] = np.ascontiguousarray(output)
        if self.keep_inputs:
            self.arrays |= {f"input {name} {i}": np.ascontiguousarray(x) for i, x in enumerate(inputs)}


class Adapter(ABC):
    """A model of one framework, described and run in the terms of PyTorch.

    `describe` comes first, since it also builds a model that takes its shapes
    from its first input.

    Args:
        dtype: "float64" or "float32".
        layout: the layout of the images that the model takes; None to infer it.
    """

    framework: Framework
    backend: str

    def __init__(self, dtype: str, layout: Layout | None) -> None:
        self.dtype, self.layout = dtype, layout
        self.runs: dict[str, Run] = {}

    @abstractmethod
    def input_shape(self) -> tuple[int, ...] | None:
        """Return the shape of the input without the batch, in PyTorch's layout; None if the model does not define it."""

    @abstractmethod
    def vocabulary(self) -> int | None:
        """Return the number of embeddings if the model begins with an embedding, so that it takes integers; else None."""

    @abstractmethod
    def image_layout(self, inputs: Sequence[np.ndarray]) -> Layout | None:
        """Return the layout of the model's images; None if it has no images."""

    @abstractmethod
    def parameters(self) -> list[Parameter]:
        """Return all parameters and buffers of the model."""

    @abstractmethod
    def trace(self, inputs: Sequence[np.ndarray], keep_inputs: bool) -> Trace:
        """Run the model in the mode that is set. The trace also has the array `output`, the output of the model."""

    @abstractmethod
    def weights(self) -> Arrays:
        """Return all parameters and buffers by name, in PyTorch's layout."""

    @abstractmethod
    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set parameters and buffers by name, in PyTorch's layout."""

    @abstractmethod
    def in_mode(self, mode: Mode) -> AbstractContextManager[None]:
        """Set the mode. In the context "train", dropout is off; buffers and weights are restored at its end."""

    @abstractmethod
    def start_training(
        self, targets: np.ndarray, loss: str, optimizer: str, lr: float, settings: Mapping[str, Any]
    ) -> None:
        """Create the optimizer and the loss. The settings have PyTorch's names, see `SETTINGS`."""

    @abstractmethod
    def gradients(self, inputs: Sequence[np.ndarray]) -> tuple[float, Arrays]:
        """Return the loss, and the gradients by name, in PyTorch's layout."""

    @abstractmethod
    def update(self) -> None:
        """Let the optimizer update the weights with the last gradients."""

    @abstractmethod
    def save(self, path: Path) -> Path:
        """Save the weights in the framework's format, and return the file."""

    def describe(self, inputs: Sequence[np.ndarray]) -> Structure:
        """Return the structure of the model, from one forward pass in evaluation mode."""
        layout = self.image_layout(inputs)
        with self.in_mode("eval"):
            trace = self.trace(inputs, keep_inputs=False)
        self.runs = trace.runs
        in_layers = {p.name for layer in trace.layers for p in layer.parameters}
        others = tuple(p for p in self.parameters() if p.name not in in_layers)
        return Structure(self.framework, self.backend, layout, tuple(trace.layers), others)

    def record(self, inputs: Sequence[np.ndarray], mode: Mode, keep_inputs: bool) -> Arrays:
        """Return the outputs of all layers, and `output`, that of the model."""
        with self.in_mode(mode):
            return self.trace(inputs, keep_inputs).arrays

    def single(self, layer: str, inputs: Sequence[np.ndarray], mode: Mode) -> np.ndarray:
        """Return the output of one layer for these inputs.

        Raises:
            UserError: the model has no such layer, or it takes another number of inputs.
        """
        if layer not in self.runs:
            raise UserError(f"layer {layer!r}: not in the model; expected one of {', '.join(self.runs)}")
        try:
            with self.in_mode(mode):
                return self.runs[layer](inputs, mode == "train")
        except ValueError as error:
            shapes = ", ".join(str(np.shape(x)) for x in inputs)
            raise UserError(f"layer {layer!r}: cannot be run on inputs of shape {shapes}: {error}") from error

    def train(
        self,
        inputs: Sequence[np.ndarray],
        targets: np.ndarray,
        loss: str,
        optimizer: str,
        lr: float,
        steps: int,
        settings: Mapping[str, Any],
    ) -> Arrays:
        """Train on one batch without dropout; the weights and buffers are restored afterwards.

        Returns:
            `loss K` and `gradient NAME K` of each step K from 1, and `weight NAME K` after it; with `steps` 0, the
            loss and the gradients of step 1 only.
        """
        check_settings(loss, optimizer, settings)
        arrays: Arrays = {}
        with self.in_mode("train"):
            self.start_training(targets, loss, optimizer, lr, settings)
            for k in range(1, max(1, steps) + 1):
                value, gradients = self.gradients(inputs)
                arrays[f"loss {k}"] = np.array(value)
                arrays |= {f"gradient {name} {k}": g for name, g in gradients.items()}
                if steps:
                    self.update()
                    arrays |= {f"weight {name} {k}": w for name, w in self.weights().items()}
        return arrays


def check_settings(loss: str, optimizer: str, settings: Mapping[str, Any]) -> None:
    """Check the settings of a training.

    Raises:
        UserError: an unknown loss, optimizer or setting.
    """
    if loss not in ("cross_entropy", "mse"):
        raise UserError(f"loss: {loss}; expected cross_entropy or mse")
    if optimizer not in ("sgd", "adam", "adamw"):
        raise UserError(f"optimizer: {optimizer}; expected sgd, adam or adamw")
    for name in settings:
        if name not in SETTINGS:
            raise UserError(f"optimizer setting: {name}; expected one of {', '.join(SETTINGS)}")
