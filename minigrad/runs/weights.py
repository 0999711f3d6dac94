"""`weights.safetensors`: the one weights file that all three packages read and write.

The layout is torch's: a linear weight is (out, in), a convolution's (out, in,
height, width). The names do not change when dropout is added:
`conv.0.weight`, `hidden.0.weight`, `hidden.0.bias`, `hidden_norm.0.weight`,
`output.weight`, `output.bias`. The metadata describe the network. Nothing is
pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UserError
from .files import expand, whole_file

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..recipes import Recipe

Weights = dict[str, np.ndarray]

KEY = "minigrad"  # of the metadata
SCALES = {"1": 1.0, "1/255": 1 / 255}  # as the metadata write them


@dataclass(frozen=True)
class NetworkSpec:
    """The specification of a network: its recipe, and the data that it accepts.

    Attributes:
        recipe: the recipe that the network is trained with.
        input_shape: the shape of one input: (features,), (height, width) or (height, width, channels).
        classes: the number of logits.
        input_scale: the factor by which the network multiplies its input: 1/255 for uint8 pixels, 1 for floats.
        extra: settings of the training for which a recipe has no keys.
        class_names: the name of each class; empty if the classes only have numbers.
        mnist_like: whether the training images are light on dark and centered by mass, as in MNIST; None if the weights
            file is of an earlier version, which does not say it.
    """

    recipe: Recipe
    input_shape: tuple[int, ...]
    classes: int
    input_scale: float
    extra: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    mnist_like: bool | None = None

    @classmethod
    def of(cls, recipe: Recipe, data: Dataset, extra: Mapping[str, Any] | None = None) -> NetworkSpec:
        """Return the specification of a network that is trained on `data`."""
        return cls(
            recipe,
            data.input_shape,
            data.classes,
            data.input_scale,
            extra or {},
            data.class_names,
            data.mnist_like,
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array in the weights file, by name."""
        from ..recipes import sizes  # here, since it imports a parser of command lines

        return sizes(self.recipe.model, self.input_shape, self.classes).shapes(self.recipe.model)

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the weights file: one JSON text under the key `minigrad`."""
        from ..recipes import to_metadata

        content = {
            "recipe": to_metadata(self.recipe, self.extra),
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "input_scale": _scale_text(self.input_scale),
            "class_names": list(self.class_names),
            "mnist_like": self.mnist_like,
        }
        # safetensors writes several keys in no fixed order; equal runs must give equal files.
        return {KEY: json.dumps(content)}


def load(path: str | Path) -> tuple[NetworkSpec, Weights]:
    """Read a weights file that describes its own network.

    Args:
        path: a `weights.safetensors` of any of the three packages.

    Returns:
        The network's specification, and its arrays by name, of the shapes in the specification.

    Raises:
        UserError: the file is missing or damaged, does not describe its network, or its arrays do not fit it.
    """
    arrays, metadata = read(path)
    spec = _parse(path, metadata)
    _check_fit(path, arrays, _shapes(path, spec))
    return spec, arrays


def read_spec(path: str | Path) -> NetworkSpec:
    """Read only the specification of a weights file, as `load` does, but without checking the arrays."""
    return _parse(path, read(path)[1])


def load_for(path: str | Path, spec: NetworkSpec) -> Weights:
    """Read the weights for a network that is already specified, such as that of a recipe and its data.

    Args:
        path: a safetensors file with arrays of the network's names and shapes; metadata are optional.
        spec: the network.

    Returns:
        The arrays by name.

    Raises:
        UserError: the file is missing or damaged; a name is missing or unknown; a shape differs; a value is not
            finite; or the weights were trained on input of another scale.
    """
    arrays, metadata = read(path)
    _check_fit(path, arrays, spec.shapes())
    scale = _scale_text(spec.input_scale)
    try:
        trained_on = json.loads(metadata.get(KEY, "{}")).get("input_scale", scale)
    except (AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"model.weights: {path}: its metadata are damaged; expected JSON under {KEY}") from error
    if trained_on != scale:
        raise UserError(
            f"model.weights: {path} was trained on input scaled by {trained_on}; this data is scaled by {scale}"
        )
    return arrays


def read(path: str | Path, key: str = "model.weights") -> tuple[Weights, dict[str, str]]:
    """Read any safetensors file.

    Args:
        path: the file.
        key: the option that names the file, for the messages.

    Returns:
        The arrays by name, and the metadata.

    Raises:
        UserError: the file is missing, cut short or not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(expand(path), framework="numpy") as file:
            arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{key}: {path} does not exist; expected a weights.safetensors") from error
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{key}: {path} is not a readable safetensors file ({error})") from error
    for name, array in arrays.items():
        if array.dtype.kind == "V":  # for example bfloat16, which NumPy reads only if another library registered it
            raise UserError(f"{key}: {path}: {name} is {array.dtype}; expected a dtype of NumPy's own")
    return arrays, metadata


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, completely or not at all."""
    from safetensors.numpy import save

    with whole_file(path) as draft:
        draft.write_bytes(save({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata)))


def _scale_text(scale: float) -> str:
    return "1" if scale == 1 else "1/255"


def _parse(path: str | Path, metadata: Mapping[str, str]) -> NetworkSpec:
    """Parse the metadata that `NetworkSpec.metadata` returned."""
    from ..recipes import NOT_IN_RECIPE, from_metadata

    if KEY not in metadata:
        raise UserError(
            f"model.weights: {path} does not describe its network; expected a weights.safetensors that minigrad,"
            " lightning_module or keras_model wrote"
        )
    try:
        content = json.loads(metadata[KEY])
        recipe, shape, classes, scale = (content[k] for k in ("recipe", "input_shape", "classes", "input_scale"))
        names, mnist_like = content.get("class_names", []), content.get("mnist_like")  # not in earlier versions
        names_valid = isinstance(names, list) and len(names) in (0, classes) and all(isinstance(n, str) for n in names)
        sizes_valid = all(type(n) is int and n > 0 for n in [*shape, classes])
        sections_valid = isinstance(recipe, dict) and all(
            isinstance(recipe[key], dict) for key in recipe if key != "seed_everything"
        )
        if not (
            shape
            and sizes_valid
            and sections_valid
            and scale in SCALES
            and names_valid
            and isinstance(mnist_like, bool | None)
        ):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"model.weights: {path}: its metadata are damaged; expected a recipe, input_shape, classes and input_scale"
        ) from error
    try:
        trained_with = from_metadata(recipe)
    except (UserError, RecursionError) as error:
        raise UserError(f"model.weights: {path}: its recipe is invalid: {error}") from error
    extra = recipe.get(NOT_IN_RECIPE) or {}
    return NetworkSpec(trained_with, tuple(shape), classes, SCALES[scale], extra, tuple(names), mnist_like)


def _shapes(path: str | Path, spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    try:
        return spec.shapes()
    except UserError as error:
        raise UserError(f"model.weights: {path}: its recipe is invalid: {error}") from error


def _check_fit(path: str | Path, arrays: Weights, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name in sorted(shapes.keys() ^ arrays.keys()):
        fault = "the file lacks it" if name in shapes else "the network has no such weight"
        raise UserError(f"model.weights: {path} does not fit this network: {name}: {fault}")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise UserError(f"model.weights: {path}: {name} has shape {arrays[name].shape}; expected {shape}")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"model.weights: {path}: {name} contains NaN or inf; expected finite numbers")
