"""Shared by all three packages: run folders, atomic writes, history, curves, weights, exports, errors."""

from . import curves, exports, folder, history, metrics, pictures, predictions, weights
from .errors import Stopped, UserError, need_tensorboard, run_command
from .files import expand, whole_file, write_json, write_text
from .history import Epoch
from .recorder import RunRecorder, TrainingResult, write_metrics
from .weights import NetworkSpec

__all__ = [
    "Epoch",
    "NetworkSpec",
    "RunRecorder",
    "Stopped",
    "TrainingResult",
    "UserError",
    "curves",
    "expand",
    "exports",
    "folder",
    "history",
    "metrics",
    "need_tensorboard",
    "pictures",
    "predictions",
    "run_command",
    "weights",
    "whole_file",
    "write_json",
    "write_metrics",
    "write_text",
]
