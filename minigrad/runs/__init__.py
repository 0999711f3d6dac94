"""The ground floor of all three packages: run folders, whole-file writes, history, curves, weights, errors."""

from . import curves, folder, history, metrics, pictures, weights
from .errors import Stopped, UserError, need_tensorboard, run_command
from .files import expand, whole_file, write_json, write_text
from .history import Epoch

__all__ = [
    "Epoch",
    "Stopped",
    "UserError",
    "curves",
    "expand",
    "folder",
    "history",
    "metrics",
    "need_tensorboard",
    "pictures",
    "run_command",
    "weights",
    "whole_file",
    "write_json",
    "write_text",
]
