"""A model of Keras behind the interface of `Adapter`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad.runs import UserError

from ..model import Layout, Mode, Parameter
from . import keras_layers
from .base import Adapter, Arrays, Trace
from .keras_gradients import LossOf, differentiate, to_numpy
from .keras_layers import Weight
from .keras_trace import Observed, first_tensor, numpy_of, to_native
from .layouts import FEATURES_LAST, FormTracker

BACKENDS = ("tensorflow", "jax", "torch")
RATES = ("rate", "dropout", "recurrent_dropout", "stddev")


def prepare(dtype: str) -> None:
    """Set the data type and the seed before the user's file is executed.

    Raises:
        UserError: the backend cannot train.
    """
    if (backend := keras.backend.backend()) not in BACKENDS:
        raise UserError(f"KERAS_BACKEND: {backend}; expected {', '.join(BACKENDS)}")
    keras.config.disable_traceback_filtering()  # which adds lines to the message of each exception
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    if dtype == "float64" and backend == "tensorflow":
        _keep_constants()
    elif dtype == "float64":
        _keep_float64()
    keras.utils.set_random_seed(0)


def _keep_float64() -> None:
    """Let Keras compute in float64 on JAX and PyTorch.

    On these backends, operations such as `matmul` and batch normalization
    convert float64 to float32. Keras has no public setting for this.
    """
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def _keep_constants() -> None:
    """Replace the activations of TensorFlow that round their constants to float32 in float64 as well."""
    import tensorflow as tf

    def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
        x = tf.convert_to_tensor(features)
        if approximate:
            return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))

    def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
        x = tf.convert_to_tensor(features)
        return tf.where(x > 0, x, alpha * x)

    tf.nn.gelu, tf.nn.leaky_relu = gelu, leaky_relu


class KerasModel(Adapter):
    """A model of Keras on TensorFlow, JAX or PyTorch; see `Adapter`.

    Raises:
        UserError: the model is no Keras model, or computes in another data type.
    """

    framework = "keras"

    def __init__(self, model: Any, dtype: str, layout: Layout | None) -> None:
        super().__init__(dtype, layout)
        if not isinstance(model, keras.Layer):
            raise UserError(f"the function returned {type(model).__name__}; expected a keras.Model")
        self.model, self.backend = model, keras.backend.backend()
        self._prepare_layers()

    def input_shape(self) -> tuple[int, ...] | None:
        tensors = getattr(self.model, "inputs", None) or []
        if len(tensors) != 1 or None in (shape := tuple(tensors[0].shape)[1:]):
            return None
        return self._tracker().form().canonical(np.empty((0, *shape))).shape[1:]

    def vocabulary(self) -> int | None:
        first = next((layer for _, layer in self._layers()), None)
        return first.input_dim if isinstance(first, keras.layers.Embedding) else None

    def image_layout(self, inputs: Sequence[np.ndarray]) -> Layout | None:
        if any(x.ndim == 4 for x in inputs) or self._format_of_images() is not None:
            return self._layout()
        return None

    def parameters(self) -> list[Parameter]:
        return [weight.parameter for weight in self._weights()]

    def trace(self, inputs: Sequence[np.ndarray], keep_inputs: bool) -> Trace:
        tracker, trace = self._tracker(), Trace(keep_inputs)
        tensors = [to_native(x, tracker.form(), self.dtype) for x in inputs]
        self._call(tensors)  # builds the layers
        self._prepare_layers()
        with ExitStack() as stack:
            for name, layer in self._layers():
                stack.enter_context(Observed(name, layer, trace, tracker, self.dtype))
            output = self._call(tensors)
        trace.arrays["output"] = tracker.form().canonical(numpy_of(output))
        return trace

    def weights(self) -> Arrays:
        return {w.parameter.name: w.pack([numpy_of(v) for v in w.variables]) for w in self._weights()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        known = {weight.parameter.name: weight for weight in self._weights()}
        for name, array in weights.items():
            if name not in known:
                raise UserError(f"weight {name!r}: not in the model; expected one of {', '.join(known)}")
            if array.shape != known[name].parameter.shape:
                raise UserError(f"weight {name!r}: shape {array.shape}; expected {known[name].parameter.shape}")
            for variable, part in zip(known[name].variables, known[name].unpack(array), strict=True):
                variable.assign(np.ascontiguousarray(part, dtype=self.dtype))

    @contextmanager
    def in_mode(self, mode: Mode) -> Iterator[None]:
        self.training = mode == "train"
        before = [numpy_of(v) for v in self.model.variables] if self.training else []
        rates = self._rates() if self.training else []
        try:
            for layer, name, _ in rates:
                setattr(layer, name, 0.0)
            yield
        finally:
            for layer, name, rate in rates:
                setattr(layer, name, rate)
            for variable, array in zip(self.model.variables, before, strict=False):
                variable.assign(array)
            self.training = False

    def start_training(
        self, targets: np.ndarray, loss: str, optimizer: str, lr: float, settings: Mapping[str, Any]
    ) -> None:
        options = {name: value for name, value in settings.items() if name != "reduction"}
        if "eps" in options:
            options["epsilon"] = options.pop("eps")
        if "betas" in options:
            options["beta_1"], options["beta_2"] = options.pop("betas")
        classes = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
        try:
            self.optimizer = classes[optimizer](learning_rate=lr, **options)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer {optimizer}: {error}") from error
        _keep_settings(self.optimizer, self.dtype)
        self.optimizer.build(self.model.trainable_variables)
        self.compute = differentiate(self.model, self._loss(targets, loss, settings.get("reduction", "mean")))

    def gradients(self, inputs: Sequence[np.ndarray]) -> tuple[float, Arrays]:
        form = self._tracker().form()
        value, self.last_gradients = self.compute(self._positional([to_native(x, form, self.dtype) for x in inputs]))
        variables = self.model.trainable_variables
        arrays = {id(v): to_numpy(g) for v, g in zip(variables, self.last_gradients, strict=True)}
        return float(numpy_of(value)), {
            w.parameter.name: w.pack([arrays[id(v)] for v in w.variables])
            for w in self._weights()
            if all(id(v) in arrays for v in w.variables)
        }

    def _loss(self, targets: np.ndarray, loss: str, reduction: str) -> LossOf:
        options = {"reduction": {"mean": "sum_over_batch_size"}.get(reduction, reduction)}
        if loss == "mse":
            native = self._tracker().form().native(targets.astype(self.dtype))
            function: Any = keras.losses.MeanSquaredError(**options)
        else:
            native = targets.astype(np.int32)
            function = keras.losses.SparseCategoricalCrossentropy(from_logits=True, **options)
        # A copy, because on TensorFlow Keras takes the logits from an output of softmax instead of its values.
        return lambda outputs: function(native, keras.ops.copy(first_tensor(outputs)))

    def update(self) -> None:
        if self.backend == "torch":
            import torch

            with torch.no_grad():
                self.optimizer.apply(self.last_gradients, self.model.trainable_variables)
        else:
            self.optimizer.apply(self.last_gradients, self.model.trainable_variables)

    def save(self, path: Path) -> Path:
        if path.suffix == ".keras":
            self.model.save(path)
            return path
        path = path if path.name.endswith(".weights.h5") else path.with_name(f"{path.name}.weights.h5")
        self.model.save_weights(path)
        return path

    def _layers(self) -> list[tuple[str, Any]]:
        """Return the layers that are not made of others, each once, with unique names."""
        layers: dict[str, Any] = {}
        known: set[int] = set()
        for name, layer in keras_layers.leaves(self.model):
            if id(layer) not in known:
                known.add(id(layer))
                number = sum(1 for other in layers if other == name or other.startswith(f"{name}~"))
                layers[f"{name}~{number + 1}" if number else name] = layer
        return list(layers.items())

    def _weights(self) -> list[Weight]:
        weights = [weight for name, layer in self._layers() for weight in keras_layers.weights_of(name, layer)]
        in_layers = {id(v) for weight in weights for v in weight.variables}
        others = [keras_layers.other_weight(v) for v in self.model.weights if id(v) not in in_layers]
        return [*weights, *others]

    def _rates(self) -> list[tuple[Any, str, Any]]:
        """Return the layers with a dropout rate, the name of the attribute, and its value."""
        rates = [(layer, name, vars(layer).get(name)) for layer in self._all_layers() for name in RATES]
        return [(layer, name, rate) for layer, name, rate in rates if isinstance(rate, (int, float))]

    def _all_layers(self) -> list[Any]:
        """Return the model, its layers, and those inside them."""
        layers, waiting = dict[int, Any](), [self.model]
        while waiting:
            layer = waiting.pop()
            if id(layer) not in layers:
                layers[id(layer)] = layer
                waiting += keras_layers.children(layer)
        return list(layers.values())

    def _format_of_images(self) -> Layout | None:
        layers = (layer for _, layer in self._layers() if not isinstance(layer, keras.layers.BatchNormalization))
        images = (
            layer for layer in layers if type(layer).__name__.endswith("2D") or keras_layers.kind(layer) == "conv2d"
        )
        return next((f for layer in images if (f := keras_layers.data_format(layer, 4)) is not None), None)

    def _layout(self) -> Layout:
        """Return the layout of images: that of the first layer that needs to know it, else from the model's input."""
        if (layout := self.layout or self._format_of_images()) is not None:
            return layout
        for tensor in getattr(self.model, "inputs", None) or []:
            shape = tuple(tensor.shape)
            if len(shape) == 4 and (shape[1] in (1, 3)) != (shape[3] in (1, 3)):
                return "channels_first" if shape[1] in (1, 3) else "channels_last"
        return keras.config.image_data_format()

    def _tracker(self) -> FormTracker:
        sequences: Layout = "channels_first"  # as (n, length, d), unless the first layers are for channels
        for _, layer in self._layers():
            if keras_layers.kind(layer) in FEATURES_LAST:
                break
            if (layout := keras_layers.data_format(layer, 3)) is not None:
                sequences = layout
                break
        return FormTracker(self._layout(), sequences)

    def _positional(self, tensors: list[Any]) -> list[Any]:
        """Return the arguments of the model; a functional model takes several inputs as a list."""
        return [tensors] if len(getattr(self.model, "inputs", None) or []) > 1 else tensors

    def _call(self, tensors: list[Any]) -> Any:
        return first_tensor(self.model(*self._positional(tensors), training=self.training))

    def _prepare_layers(self) -> None:
        """Keep the settings of the layers in float64, and check that they compute in the data type of this side.

        Raises:
            UserError: a layer or an input has another data type.
        """
        for layer in self._all_layers():
            _keep_settings(layer, self.dtype)
        for name, layer in self._layers():
            if layer.compute_dtype.startswith(("float", "bfloat")) and layer.compute_dtype != self.dtype:
                raise UserError(
                    f"layer {name!r}: computes in {layer.compute_dtype}; expected {self.dtype}, "
                    "so that the file must not set the data type of a layer"
                )
        for tensor in getattr(self.model, "inputs", None) or []:
            if tensor.dtype.startswith("float") and tensor.dtype != self.dtype:
                raise UserError(f"input {tensor.name!r}: has data type {tensor.dtype}; expected {self.dtype}")


def _keep_settings(owner: Any, dtype: str) -> None:
    """Make the numbers among a layer's or an optimizer's attributes NumPy scalars.

    TensorFlow keeps them in float64, while it converts a Python float to float32 first.
    """
    if dtype == "float64" and keras.backend.backend() == "tensorflow":
        for name, value in list(vars(owner).items()):
            if type(value) is float:
                setattr(owner, name, np.float64(value))
            elif (
                isinstance(owner, keras.layers.Rescaling)
                and isinstance(value, (list, tuple))
                and name in ("scale", "offset")
            ):
                setattr(owner, name, np.asarray(value, dtype=np.float64))


def adapt(model: Any, dtype: str, layout: Layout | None) -> KerasModel:
    """Return the adapter of a model that the user's function has returned."""
    return KerasModel(model, dtype, layout)
