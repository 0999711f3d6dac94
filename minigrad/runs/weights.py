"""`weights.safetensors`: the one weights file that all three packages read and write.

Torch's layout: a linear weight is (out, in), a convolution's (out, in,
height, width), under names that do not move when dropout is added:
`conv.0.weight`, `hidden.0.weight`, `hidden.0.bias`, `hidden_norm.0.weight`,
`output.weight`, `output.bias`. The metadata say what the network expects.
Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import expand, whole_file

Weights = dict[str, np.ndarray]


def describe(recipe: Mapping[str, Any], input_shape: tuple[int, ...], classes: int, scale: float) -> dict[str, str]:
    """The metadata of a weights file, one JSON text under the key `minigrad`: the recipe, the shape of one input,
    the number of classes, and what the network multiplies its input by ("1/255" for uint8 pixels, "1" for floats)."""
    network = {"input_shape": list(input_shape), "classes": classes, "input_scale": _scale(scale)}
    # One key, since the format keeps several in no fixed order, and equal runs shall give equal files.
    return {"minigrad": json.dumps({"recipe": recipe, **network})}


@dataclass(frozen=True)
class NetworkSpec:
    """What `describe` said: enough to build the network again.

    Attributes:
        recipe: nested dicts, as `recipes.from_metadata` takes them.
        input_shape: of one input.
        classes: the number of logits.
        input_scale: what the network multiplies its input by.
    """

    recipe: dict[str, Any]
    input_shape: tuple[int, ...]
    classes: int
    input_scale: float


def read_network(path: str | Path) -> NetworkSpec:
    """Read the metadata that `describe` made.

    Raises:
        UserError: also where there are none, or they are damaged.
    """
    _, metadata = read(path)
    if "minigrad" not in metadata:
        raise UserError(
            f"model.weights: {path} does not say what network it is of; expected a weights.safetensors that minigrad,"
            " lightning_module or keras_model wrote"
        )
    try:
        found = json.loads(metadata["minigrad"])
        recipe, shape, classes, scale = (found[k] for k in ("recipe", "input_shape", "classes", "input_scale"))
        whole = all(type(n) is int and n > 0 for n in [*shape, classes])
        sections = isinstance(recipe, dict) and all(
            isinstance(recipe[key], dict) for key in recipe if key != "seed_everything"
        )
        if not (shape and whole and sections and scale in (_scale(1), _scale(1 / 255))):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"model.weights: {path}: its metadata are damaged; expected a recipe, input_shape, classes and input_scale"
        ) from error
    return NetworkSpec(recipe, tuple(shape), classes, 1.0 if scale == _scale(1) else 1 / 255)


def _scale(scale: float) -> str:
    return "1" if scale == 1 else "1/255"


def write(path: Path, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays by name, whole or not at all."""
    from safetensors.numpy import save

    with whole_file(path) as draft:
        draft.write_bytes(save({name: np.asarray(array, order="C") for name, array in weights.items()}, dict(metadata)))


def read(path: str | Path, key: str = "model.weights") -> tuple[Weights, dict[str, str]]:
    """Read (arrays by name, metadata); `key` is what the user knows the file by.

    Raises:
        UserError: the file is missing, cut short or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(expand(path), framework="numpy") as file:
            weights, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{key}: {path} does not exist; expected a weights.safetensors") from error
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{key}: {path} is not a readable safetensors file ({error})") from error
    for name, array in weights.items():
        if array.dtype.kind == "V":  # bfloat16, say, which is read where some other library has taught it to NumPy
            raise UserError(f"{key}: {path}: {name} is {array.dtype}; expected numbers that NumPy knows by itself")
    return weights, metadata


def read_for(path: str | Path, shapes: Mapping[str, tuple[int, ...]], scale: float) -> Weights:
    """Read weights for a network whose parameters have these names and shapes.

    Raises:
        UserError: also where a name is missing or unknown, a shape differs, a
            value is not finite, or the weights expect input of another scale.
    """
    weights, metadata = read(path)
    for name in sorted(shapes.keys() ^ weights.keys()):
        whose = "the file lacks it" if name in shapes else "the network has no such weight"
        raise UserError(f"model.weights: {path} does not fit this network: {name}: {whose}")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise UserError(f"model.weights: {path}: {name} has shape {weights[name].shape}; expected {shape}")
        if not np.isfinite(weights[name]).all():
            raise UserError(f"model.weights: {path}: {name} holds NaN or inf; expected finite numbers")
    try:
        trained_on = json.loads(metadata.get("minigrad", "{}")).get("input_scale", _scale(scale))
    except (AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"model.weights: {path}: its metadata are damaged; expected JSON under minigrad") from error
    if trained_on != _scale(scale):
        raise UserError(
            f"model.weights: {path} was trained on input scaled by {trained_on}; this data is scaled by {_scale(scale)}"
        )
    return weights
