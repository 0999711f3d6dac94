"""Shared by all three packages: run folders, atomic writes, history, curves, weights, exports, errors."""

from . import calibration, curves, exports, folder, formats, history, metrics, pictures, predictions, signals, weights
from .errors import Stopped, UnwritableError, UserError, need_tensorboard, run_command
from .files import expand, spreadsheet_safe, whole_file, write_json, write_text, writing
from .history import Epoch
from .recorder import RunRecorder, TrainingResult, write_metrics
from .weights import NetworkSpec

__all__ = [
    "Epoch",
    "NetworkSpec",
    "RunRecorder",
    "Stopped",
    "TrainingResult",
    "UnwritableError",
    "UserError",
    "calibration",
    "curves",
    "expand",
    "exports",
    "folder",
    "formats",
    "history",
    "metrics",
    "need_tensorboard",
    "pictures",
    "predictions",
    "run_command",
    "signals",
    "spreadsheet_safe",
    "weights",
    "whole_file",
    "write_json",
    "write_metrics",
    "write_text",
    "writing",
]
