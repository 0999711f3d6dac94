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

from . import foreign
from .errors import UserError
from .files import expand, whole_file
from .foreign import Invalid, parsing

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..recipes import Recipe

Weights = dict[str, np.ndarray]

KEY = "minigrad"  # of the metadata
OWN_CLASS = "model.class"  # of the extra settings: the class of a module that is not the recipe's
MAX_DIMENSIONS = 32  # of an input
# The dtypes of safetensors that NumPy has too, without other libraries.
DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
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
    try:
        _check_fit(path, arrays, _shapes(path, spec))
    except UserError as error:
        if OWN_CLASS not in spec.extra:
            raise
        own = foreign.shown(spec.extra[OWN_CLASS], 60)
        raise UserError(
            f"model.weights: {path} holds the network of the class {own}; expected the network of a recipe, or the program"
            " with that class"
        ) from error
    return spec, arrays


def read_spec(path: str | Path, own_class: str | None = None) -> NetworkSpec:
    """Read only the specification of a weights file, which its arrays fit as `load` describes.

    Args:
        path: the weights file.
        own_class: the name of a class whose network may differ from the recipe's: the arrays of such a network are not
            compared with the recipe. Default None.
    """
    spec = _parse(path, read(path)[1]) if own_class is not None else None
    return spec if spec is not None and spec.extra.get(OWN_CLASS) == own_class else load(path)[0]


def load_for(path: str | Path, spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Weights:
    """Read the weights for a network that is already specified, such as that of a recipe and its data.

    Args:
        path: a safetensors file with arrays of the network's names and shapes; metadata are optional.
        spec: the network.
        shapes: the shape of each array by name; None takes those of the specification.

    Returns:
        The arrays by name.

    Raises:
        UserError: the file is missing or damaged; a name is missing or unknown; a shape differs; a value is not
            finite; or the weights were trained on input of another scale.
    """
    arrays, metadata = read(path)
    _check_fit(path, arrays, spec.shapes() if shapes is None else shapes)
    scale = _scale_text(spec.input_scale)
    with parsing(f"model.weights: {path}", f"JSON under {KEY}", "its metadata are damaged"):
        content = foreign.parse_json(metadata.get(KEY, "{}"))
        if not isinstance(content, dict):
            raise Invalid("not an object")
    trained_on = content.get("input_scale", scale)
    if trained_on != scale:
        raise UserError(
            f"model.weights: {path} was trained on input scaled by {foreign.shown(trained_on, 40)}; this data is scaled by {scale}"
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
    from safetensors import safe_open

    file_path = expand(path)
    with parsing(f"{key}: {path}", "a file such as weights.safetensors", "is not a readable safetensors file"):
        if not file_path.exists():
            raise UserError(f"{key}: {path} does not exist; expected a weights.safetensors")
        _check_header(file_path)
        with safe_open(file_path, framework="numpy") as file:
            arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    return arrays, metadata


def _check_header(path: Path) -> None:
    """Check the header of a safetensors file, which safetensors itself would accept up to 100 MB and with repeated keys.

    The safetensors library checks that the arrays fill the rest of the file exactly.
    """
    if not path.is_file():
        raise Invalid("it is not a file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(foreign.MAX_METADATA, path.stat().st_size - 8):
            raise Invalid(f"its header has {length:,} bytes; expected at most {foreign.MAX_METADATA:,} within the file")
        header = foreign.parse_json(file.read(length).decode())
    if not isinstance(header, dict):
        raise Invalid("its header is not an object")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and dtype not in DTYPES:
            raise Invalid(f"{foreign.shown(name, 60)} is of dtype {foreign.shown(dtype, 40)}; expected one of NumPy's")


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, completely or not at all."""
    from safetensors.numpy import save

    with whole_file(path) as draft:
        draft.write_bytes(save({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata)))


def _scale_text(scale: float) -> str:
    return "1" if scale == 1 else "1/255"


def _parse(path: str | Path, metadata: Mapping[str, str]) -> NetworkSpec:
    """Parse the metadata that `NetworkSpec.metadata` returned."""
    from ..recipes import NOT_IN_RECIPE, checked_extra, from_metadata

    if KEY not in metadata:
        raise UserError(
            f"model.weights: {path} does not describe its network; expected a weights.safetensors that minigrad,"
            " lightning_module or keras_model wrote"
        )
    expected = "a recipe, input_shape, classes and input_scale"
    with parsing(f"model.weights: {path}", expected, "its metadata are damaged"):
        content = foreign.parse_json(metadata[KEY])
        recipe, shape, classes, scale = (content[k] for k in ("recipe", "input_shape", "classes", "input_scale"))
        check_input(shape, classes)
        if not isinstance(scale, str) or scale not in SCALES:
            raise Invalid(f"input_scale is {foreign.shown(scale, 40)}")
        names, mnist_like = checked_description(content, classes)
        if not isinstance(recipe, dict) or not all(
            isinstance(section, dict) for name, section in recipe.items() if name != "seed_everything"
        ):
            raise Invalid("its recipe is not an object of sections")
        extra = checked_extra(recipe.get(NOT_IN_RECIPE))
    try:
        trained_with = from_metadata(recipe)
    except UserError as error:
        raise UserError(f"model.weights: {path}: its recipe is invalid: {error}") from error
    return NetworkSpec(trained_with, tuple(shape), classes, SCALES[scale], extra, names, mnist_like)


def checked_description(content: Mapping[str, Any], classes: int) -> tuple[tuple[str, ...], bool | None]:
    """Return the class names and whether the images are MNIST-like, from a file; earlier versions wrote neither.

    Raises:
        Invalid: one of them has another type, or the number of names is not that of the classes.
    """
    names, mnist_like = content.get("class_names", []), content.get("mnist_like")
    if not isinstance(names, (list, tuple)) or len(names) not in (0, classes):
        raise Invalid(f"class_names is {foreign.shown(names, 40)}; expected one name per class, or none")
    if not all(isinstance(name, str) for name in names):
        raise Invalid("class_names contains something other than text")
    if not isinstance(mnist_like, bool | None):
        raise Invalid(f"mnist_like is {foreign.shown(mnist_like, 40)}; expected true, false or null")
    return tuple(names), mnist_like


def check_input(shape: Any, classes: Any) -> None:
    """Check the shape of an input and the number of classes, which are from a file.

    Raises:
        Invalid: they are not positive integers, or there are too many dimensions.
    """
    if not isinstance(shape, (list, tuple)) or not 1 <= len(shape) <= MAX_DIMENSIONS:
        raise Invalid(f"input_shape is {foreign.shown(shape, 40)}; expected 1 to {MAX_DIMENSIONS} numbers")
    for size in shape:
        foreign.whole_number("a number in input_shape", size, 1)
    foreign.whole_number("classes", classes, 1)


def _shapes(path: str | Path, spec: NetworkSpec) -> dict[str, tuple[int, ...]]:
    try:
        return spec.shapes()
    except UserError as error:
        raise UserError(f"model.weights: {path}: its recipe is invalid: {error}") from error


def _check_fit(path: str | Path, arrays: Weights, shapes: Mapping[str, tuple[int, ...]]) -> None:
    with parsing(f"model.weights: {path}", "the weights of this network", "does not fit this network"):
        check_arrays(arrays, shapes)


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check the arrays of a network, which are from a file.

    Args:
        arrays: the arrays by name.
        shapes: the names and shapes that the network has.

    Raises:
        Invalid: a name is missing or unknown, a shape differs, or an array does not contain finite float32 numbers.
    """
    for name in sorted(shapes.keys() ^ arrays.keys()):
        fault = "the file lacks it" if name in shapes else "the network has no such weight"
        raise Invalid(f"{foreign.shown(name, 60)}: {fault}")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise Invalid(f"{name} has shape {arrays[name].shape}; expected {shape}")
        check_finite(name, arrays[name])


def check_finite(name: str, array: np.ndarray) -> None:
    """Raise `Invalid` unless an array has a dtype of floating-point numbers, and all are finite in float32."""
    if array.dtype.kind != "f":
        raise Invalid(f"{name} is of dtype {array.dtype}; expected floating-point numbers")
    with np.errstate(over="ignore"):
        if not np.isfinite(array.astype(np.float32, copy=False)).all():
            raise Invalid(f"{name} contains NaN or inf, or a number too large for float32; expected finite numbers")
