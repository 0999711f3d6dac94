"""Files in float16 and int8, converted from those in float32: ONNX and weights files, in the same way in all packages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import onnx_runtime, weights
from .errors import UserError
from .formats import Cell

CALIBRATION_IMAGES, CALIBRATION_BATCH = 300, 100
LARGEST = float(np.finfo(np.float16).max)


def onnx_float16(path: Path, calibration: np.ndarray | None) -> None:
    """Convert an ONNX file to float16; images and logits keep their dtypes."""
    onnx_runtime.load()
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load(path), keep_io_types=True, max_finite_val=LARGEST)
    onnx.save(model, path)


def onnx_int8(path: Path, calibration: np.ndarray | None) -> None:
    """Quantize weights and activations of an ONNX file to 8 bits; images and logits keep their dtypes.

    Args:
        path: a file that maps `images` to `logits`.
        calibration: training images, (n, *input_shape), of which the first ones determine the range of each activation.
    """
    assert calibration is not None
    onnx_runtime.load()
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, images: np.ndarray) -> None:
            starts = range(0, len(images), CALIBRATION_BATCH)
            self.batches = iter([images[i : i + CALIBRATION_BATCH] for i in starts])

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    with _quiet():
        # Both of 8 bits: unsigned activations and signed weights, for which ONNX Runtime has its fastest kernels.
        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(model, path, Images(calibration[:CALIBRATION_IMAGES]), quant_format=QuantFormat.QDQ, **types)
    quantized = onnx.load(path)
    onnx.helper.set_model_props(quantized, metadata)
    onnx.save(quantized, path)


def weights_float16(path: Path, calibration: np.ndarray | None) -> None:
    """Convert a weights file to float16, which all packages read.

    Raises:
        UserError: a weight is too large for float16.
    """
    arrays, metadata = weights.read(path)
    for name, array in arrays.items():
        if np.abs(array).max(initial=0) > LARGEST:
            largest = np.abs(array).max()
            raise UserError(f"safetensors in float16: {name} contains {largest:g}; expected at most {LARGEST:,.0f}")
    weights.write(path, {name: array.astype(np.float16) for name, array in arrays.items()}, metadata)


CONVERTERS: dict[Cell, Callable[[Path, np.ndarray | None], None]] = {
    Cell("onnx", "float16"): onnx_float16,
    Cell("onnx", "int8"): onnx_int8,
    Cell("safetensors", "float16"): weights_float16,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without warnings: of weights that become 0, and of a preparation that these small networks do not need."""
    disabled: Any = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
