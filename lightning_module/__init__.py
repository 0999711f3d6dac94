"""The recipe's network in PyTorch Lightning.

    python -m lightning_module fit --config simple

From Python, `lightning_module.fit` trains a recipe, and `LitClassifier` and
`ImageDataModule` are an ordinary LightningModule and LightningDataModule.
Importing this package imports neither torch nor Lightning; its names are
imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .__main__ import command as command
    from .data import ImageDataModule as ImageDataModule
    from .model import LitClassifier as LitClassifier
    from .run_folder import RunFolder as RunFolder
    from .trainer import fit as fit

# The module of each public name.
_MODULES = {
    "ImageDataModule": "data",
    "LitClassifier": "model",
    "RunFolder": "run_folder",
    "command": "__main__",
    "fit": "trainer",
}

__all__ = list(_MODULES)


if not TYPE_CHECKING:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
