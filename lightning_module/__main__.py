"""python -m lightning_module fit|validate|test|predict|export; without arguments, an overview of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from minigrad.runs.errors import run_command
from minigrad.runs.overview import overview
from minigrad.runs.signals import deferred

PROG = "python -m lightning_module"
DESCRIPTION = """\
lightning_module trains a digit classifier with PyTorch Lightning: a LightningModule, a LightningDataModule and
LightningCLI. The network, the data and the training are described by a recipe, a YAML file."""
READ_ON = "From Python: lightning_module.fit. The guides: README.md and docs/ in the repository."
COMMANDS = {
    "fit": "train the network of a recipe in a new run folder, then test it",
    "validate": "compute loss and accuracy of a trained network on the validation set",
    "test": "compute loss and accuracy of a trained network on the test set",
    "predict": "write the predictions of a trained network for images",
    "export": "write a trained network as ONNX, torch.export program and safetensors",
}


def main(argv: Sequence[str]) -> None:
    """Print the overview or the version, or run LightningCLI.

    torch and Lightning, whose import takes seconds, are imported only in the last case.
    """
    if overview(argv, PROG, DESCRIPTION, COMMANDS, read_on=READ_ON, own_options=True):
        return
    with deferred():
        from .cli import main

    main(argv)


def command() -> int:
    """Run the command with the process's arguments; return its exit status."""
    return run_command(PROG, main, extra="lightning")


if __name__ == "__main__":
    sys.exit(command())
