"""One adapter per framework: it converts a model's layers, weights and results to the terms and the layout of PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..model import Framework


def load(framework: Framework) -> Any:
    """Import the framework, and return the module of its adapter.

    The module has the functions `prepare(dtype)`, which must be called before the user's file is executed, and
    `adapt(model, dtype, layout)`, which returns a `base.Adapter`.
    """
    if framework == "keras":
        from keras_model.startup import use_one_framework

        use_one_framework()
    return import_module(f".with_{framework}", __name__)
