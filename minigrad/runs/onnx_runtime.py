"""ONNX Runtime on the CPU, without its log output: the outputs of an exported network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def load() -> Any:
    """Import onnxruntime with telemetry switched off; otherwise it sends telemetry at import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def predictor(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from images, as the network in the file accepts them, to logits, (n, classes)."""
    runtime = load()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    return lambda batch: np.asarray(session.run(None, {images.name: batch})[0])
