"""Adds the calls of a Keras model's layers to a trace, and runs one layer alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from minigrad.runs import UserError

from . import keras_layers
from .base import Arguments, Run, Trace
from .layouts import Form, FormTracker, tensors_in, without_pixels


class Observed:
    """A context in which the calls of a layer are added to a trace.

    Replaces `layer.call` and `layer.activation` on the instance. If the layer
    has an activation function inside, the output of the layer is the
    activation's input, and the activation is a layer of its own.
    """

    def __init__(self, name: str, layer: Any, trace: Trace, tracker: FormTracker, dtype: str) -> None:
        self.name, self.layer, self.trace, self.tracker, self.dtype = name, layer, trace, tracker, dtype
        self.kind = keras_layers.kind(layer)
        self.call, self.activation = layer.call, keras_layers.activation_of(layer)
        self.signature = inspect.signature(self.call)

    def __enter__(self) -> None:
        self.is_running = False
        self.layer.call = self._call
        self.stack = ExitStack()
        if self.activation is not None:
            function = self.activation.call if isinstance(self.activation, keras.Layer) else self.activation
            self.stack.enter_context(_replaced_activation(self.layer, functools.partial(self._activate, function)))

    def __exit__(self, *_: object) -> None:
        del self.layer.call
        self.stack.close()

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        self.arguments = Arguments(self.signature, args, kwargs, self.kind, keras.ops.is_tensor)
        self.inputs = [numpy_of(x) for x in self.arguments.inputs]
        self.is_running = True
        outputs = self.call(*args, **kwargs)
        if self.is_running:
            self._add(outputs)
        return outputs

    def _activate(self, function: Any, x: Any) -> Any:
        if not self.is_running:  # several layers share an activation layer
            return function(x)
        form = self._add(x)
        output = function(x)
        array, dimensions = numpy_of(output), len(x.shape)
        config = keras_layers.activation_config(function, form, dimensions)
        run = _run_function(function, form, self.dtype)
        inputs = [form.canonical(numpy_of(x))]
        self.trace.add(f"{self.name}.activation", "activation", config, (), inputs, form.canonical(array), run)
        return output

    def _add(self, outputs: Any) -> Form:
        """Add the call to the trace, and return the form of its output."""
        self.is_running = False
        output = numpy_of(first_tensor(outputs))
        dimensions = [*(x.ndim for x in self.inputs), output.ndim]
        form = self.tracker.form(self.kind, dimensions, keras_layers.data_format(self.layer, dimensions[0]))
        arrays = [form.canonical(x) for x in self.inputs]
        with _replaced_call(self.layer, self.call):
            config = keras_layers.config(self.layer, self.kind, [x.shape for x in arrays], form, output.ndim)
        parameters = [weight.parameter for weight in keras_layers.weights_of(self.name, self.layer)]
        run = _run_layer(self.layer, self.kind, self.arguments.without_tensors(), form, self.dtype)
        output = without_pixels(self.kind, form.canonical(output))
        self.trace.add(self.name, self.kind, config, parameters, arrays, output, run)
        return form


@contextmanager
def _replaced_call(layer: Any, call: Any) -> Iterator[None]:
    """A context in which a layer runs another function."""
    before = vars(layer).get("call")
    layer.call = call
    try:
        yield
    finally:
        if before is None:
            del layer.call
        else:
            layer.call = before


@contextmanager
def _replaced_activation(layer: Any, function: Any) -> Iterator[None]:
    """A context in which the activation inside a layer is another function."""
    before = layer.activation
    if isinstance(before, keras.Layer):  # PyTorch does not accept a function in its place
        with _replaced_call(before, function):
            yield
        return
    layer.activation = function
    try:
        yield
    finally:
        layer.activation = before


def _run_layer(layer: Any, kind: str, arguments: Arguments, form: Form, dtype: str) -> Run:
    """Return a function that runs a layer alone, without the activation inside."""

    def run(inputs: Sequence[np.ndarray], training: bool) -> np.ndarray:
        args, kwargs = arguments.replace([to_native(x, form, dtype) for x in inputs], training)
        with ExitStack() as stack:
            if keras_layers.activation_of(layer) is not None:
                stack.enter_context(_replaced_activation(layer, keras.activations.linear))
            outputs = layer(*args, **kwargs)
        return without_pixels(kind, form.canonical(numpy_of(first_tensor(outputs))))

    return run


def _run_function(function: Any, form: Form, dtype: str) -> Run:
    """Return a function that runs an activation function."""
    return lambda inputs, training: form.canonical(numpy_of(function(to_native(inputs[0], form, dtype))))


def to_native(array: np.ndarray, form: Form, dtype: str) -> Any:
    """Return an array in PyTorch's layout as a tensor with the axes of a layer."""
    array = np.ascontiguousarray(form.native(array))
    return keras.ops.convert_to_tensor(array.astype(dtype) if array.dtype.kind == "f" else array)


def first_tensor(outputs: Any) -> Any:
    """Return the first tensor of a layer's or a model's outputs. Raises UserError if there is none."""
    tensors = tensors_in(outputs, keras.ops.is_tensor)
    if not tensors:
        raise UserError("the model returned no tensor; expected the outputs of a batch")
    return tensors[0]


def numpy_of(tensor: Any) -> np.ndarray:
    """Return a copy of a tensor or variable as an array."""
    return np.array(keras.ops.convert_to_numpy(tensor))
