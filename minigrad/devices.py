"""`--devices`: how many processes compute the gradients of a batch together, see `parallel.py`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

from . import recipes
from .recipes import Recipe
from .runs import folder, foreign
from .runs.errors import UserError
from .runs.weights import NetworkSpec

Devices = int | Literal["auto"] | None

# `auto` gives each device at least this number of floating-point operations in convolutions per step. Networks without
# convolutions get one device: BLAS divides their matrix products among the processors already, and the optimizer's step, which
# is not divided, takes a large part of the time. Measured by `python -m benchmarks.parallel --threshold`.
FLOPS_PER_DEVICE = 3_000_000


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_devices(devices: Devices, recipe: Recipe, *, resume: bool = False) -> None:
    """Check the value of `--devices`, as far as it does not depend on the data.

    Args:
        devices: the number, "auto" or None.
        recipe: the recipe of the training.
        resume: whether a run is continued, for which fewer processors than devices are only a reason for a warning.

    Raises:
        UserError: the number is not possible with the recipe or on this machine.
    """
    if devices is None or devices == "auto":
        return
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise UserError(f"devices: {devices}; expected a whole number of 1 or more, or auto")
    if devices > 1 and recipe.model.batch_norm:
        raise UserError(
            f"devices: {devices} with model.batch_norm true; expected 1, since batch normalization needs the whole batch on"
            " one device"
        )
    size = recipe.data.batch_size
    if devices > size:
        raise UserError(
            f"devices: {devices} with data.batch_size {size}; expected at most {size}, one per image of a batch"
        )
    if devices > processors() and not resume:
        raise UserError(
            f"devices: {devices}; expected at most {processors()}, the number of processors that this process may use"
        )


def resolve_devices(devices: Devices, spec: NetworkSpec, resumed: Path | None = None) -> int:
    """Return the number of devices of a run.

    Args:
        devices: the number, "auto", or None for 1 or the number of the run that is continued.
        spec: the network and its recipe.
        resumed: the folder of the run that is continued, which keeps its number of devices.

    Raises:
        UserError: the run that is continued used another number, or the number is not possible.
    """
    recipe = spec.recipe
    if resumed is not None:
        return _recorded(devices, recipe, resumed)
    check_devices(devices, recipe)
    if devices != "auto":
        return devices or 1
    number = fastest(spec, processors())
    print(f"devices: auto chooses {number} of {processors()}{'' if number > 1 else _reason(spec)}")
    return number


def fastest(spec: NetworkSpec, limit: int) -> int:
    """Return the number of devices with which a network is trained fastest.

    Args:
        spec: the network and its recipe.
        limit: the largest number.
    """
    if spec.recipe.model.batch_norm:
        return 1
    return max(1, min(limit, spec.recipe.data.batch_size, convolution_flops_per_step(spec) // FLOPS_PER_DEVICE))


def _reason(spec: NetworkSpec) -> str:
    """The end of the sentence about the choice of one device."""
    recipe, flops = spec.recipe, convolution_flops_per_step(spec)
    if processors() == 1:
        return ""
    if recipe.model.batch_norm:
        return ": batch_norm needs the whole batch on one device"
    if not flops:
        return ": only networks with convolutions become faster"
    return (
        f": the convolutions of a step have {flops / 1e6:,.1f} million floating-point operations, fewer than"
        f" {FLOPS_PER_DEVICE / 1e6:,.0f} million per device"
    )


def _recorded(devices: Devices, recipe: Recipe, out: Path) -> int:
    _, extra = recipes.read_trained(out / folder.RECIPE)
    number = extra.get("devices", 1)
    with foreign.parsing(out / folder.RECIPE, "the recipe that the run wrote"):
        foreign.whole_number("devices", number, 1)
    if devices not in (None, "auto", number):
        raise UserError(
            f"--resume: devices is {devices}, but the run was made with {number}; expected {number}, or a new run"
        )
    check_devices(number, recipe, resume=True)
    if number > 1 and number != devices:
        print(f"devices: {number}, as in the run that is continued")
    if number > processors():
        print(
            f"warning: devices: the run was made with {number} and continues with them, but this process may use only"
            f" {processors()} processors",
            file=sys.stderr,
        )
    return int(number)


def convolution_flops_per_step(spec: NetworkSpec) -> int:
    """Return the number of multiplications and additions of all convolutions in a step, forward and backward.

    The backward pass has two products per product of the forward pass.
    """
    model = spec.recipe.model
    layers = recipes.sizes(model, spec.input_shape, spec.classes)
    products, (_, height, width) = 0, layers.image
    for a, b in layers.conv:
        products += a * b * model.kernel_size**2 * height * width
        height, width = height // 2, width // 2
    return 3 * 2 * products * spec.recipe.data.batch_size


def settings(devices: int) -> dict[str, Any]:
    """Return what recipe.yaml and weights.safetensors record; nothing for one device."""
    return {"devices": devices} if devices > 1 else {}
