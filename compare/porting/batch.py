"""The batch on which two models are compared: from a file, or seeded random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigrad.datasets import npz
from minigrad.runs import UserError

from .request import Request
from .side import Side

SIZE = 8
INPUTS, TARGETS = ("inputs", "x"), ("targets", "y")
EXPECTED = "an .npz archive with the arrays inputs (or x) and, optionally, targets (or y)"


def make_inputs(request: Request, left: Side, right: Side) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inputs, images as (n, c, h, w), and the targets in the file if there are any.

    Random inputs are from the standard normal distribution; integers, if a model begins with an embedding.

    Raises:
        UserError: no shape is known, the models take different shapes, or the file cannot be used.
    """
    shape = _shape(request, left, right)
    if request.data is not None:
        inputs, targets = _read(request.data)
        return _fitting(request.data, inputs, shape), targets
    if shape is None:
        raise UserError(
            "--input-shape: unknown, since neither model defines it; expected a shape without the batch, such as 3,32,32"
        )
    rng = np.random.default_rng([request.seed, 0])
    sizes = [size for side in (left, right) if (size := side.vocabulary()) is not None]
    if sizes:
        return rng.integers(0, min(sizes), (SIZE, *shape)), None
    return rng.normal(size=(SIZE, *shape)), None


def make_targets(request: Request, given: np.ndarray | None, output: np.ndarray) -> np.ndarray:
    """Return the targets of the loss: those in the file, or seeded random ones.

    Args:
        request: the request.
        given: the targets in the file.
        output: an output of the model, whose last axis has the classes.

    Raises:
        UserError: the targets in the file do not fit the loss.
    """
    labels = request.loss == "cross_entropy"
    shape = output.shape[:-1] if labels else output.shape
    if given is None:
        rng = np.random.default_rng([request.seed, 1])
        return rng.integers(0, output.shape[-1], shape) if labels else rng.normal(size=shape)
    if given.shape == (*shape, 1) and labels:
        given = given[..., 0]
    if given.shape != shape:
        raise UserError(f"--data {request.data}: targets of shape {given.shape}; expected {shape} for {request.loss}")
    if not labels:
        return given.astype(np.float64)
    if given.dtype.kind not in "iu" or given.min(initial=0) < 0 or given.max(initial=0) >= output.shape[-1]:
        raise UserError(
            f"--data {request.data}: the targets are not labels; expected whole numbers from 0 to {output.shape[-1] - 1}"
        )
    return given.astype(np.int64)


def _shape(request: Request, left: Side, right: Side) -> tuple[int, ...] | None:
    """Return the shape of an input: the one that is requested, or that of a Keras model."""
    shape = request.input_shape
    for name, side in {"left": left, "right": right}.items():
        own = side.input_shape()
        if own is not None and shape is not None and own != shape:
            origin = (
                f"--input-shape: {shape}" if request.input_shape else f"the left model takes inputs of shape {shape}"
            )
            raise UserError(f"{origin}; expected {own}, which the {name} model takes")
        shape = shape or own
    return shape


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the inputs and targets in a file. Images of bytes become floats from 0 to 255."""
    arrays = npz.read_all(path, EXPECTED)
    inputs, targets = (next((arrays[name] for name in names if name in arrays), None) for names in (INPUTS, TARGETS))
    if inputs is None or inputs.ndim < 2 or not len(inputs) or inputs.dtype.kind not in "fiub":
        raise UserError(f"--data {path}: no inputs of shape (n, ...); expected {EXPECTED}")
    if targets is not None and len(targets) != len(inputs):
        raise UserError(f"--data {path}: {len(targets)} targets; expected {len(inputs)}, one per input")
    is_number = inputs.dtype.kind == "i"
    return inputs if is_number else inputs.astype(np.float64), targets


def _fitting(path: Path, inputs: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    """Return the inputs in the shape that a model takes; images may also be (n, h, w, c)."""
    if shape is None or inputs.shape[1:] == shape:
        return inputs
    if inputs.ndim == 4 and inputs.shape[1:] == (*shape[1:], shape[0]):
        return np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    raise UserError(f"--data {path}: inputs of shape {inputs.shape[1:]}; expected {shape}, which the model takes")
