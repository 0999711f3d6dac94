"""python -m lightning_module fit|validate|test|predict|export; without arguments, an overview of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minigrad.runs.errors import run_command
from minigrad.runs.overview import overview, summaries
from minigrad.runs.signals import deferred

if TYPE_CHECKING:
    from .data import ImageDataModule
    from .model import LitClassifier

PROG = "python -m lightning_module"
DESCRIPTION = """\
lightning_module trains a digit classifier with PyTorch Lightning: a LightningModule, a LightningDataModule and
LightningCLI. The network, the data and the training are described by a recipe, a YAML file."""
READ_ON = "In Python: lightning_module.fit. The guides: README.md and docs/ in the repository."
COMMANDS = summaries("fit", "validate", "test", "predict", "export")


def main(
    argv: Sequence[str],
    prog: str = PROG,
    model: type[LitClassifier] | None = None,
    data_module: type[ImageDataModule] | None = None,
) -> None:
    """Print the overview or the version, or run LightningCLI.

    torch and Lightning, whose import takes seconds, are imported only in the last case.
    """
    if overview(argv, prog, DESCRIPTION, COMMANDS, read_on=READ_ON, own_options=True):
        return
    with deferred():
        from . import own_classes
        from .cli import main, with_classes
        from .data import ImageDataModule
        from .model import LitClassifier

    for name, kind, base in (("model", model, LitClassifier), ("data_module", data_module, ImageDataModule)):
        if kind is not None:
            own_classes.check_class(name, kind, base)
    main(argv, with_classes(model, data_module), prog)


def command(model: type[LitClassifier] | None = None, data_module: type[ImageDataModule] | None = None) -> int:
    """Run the command line, `python -m lightning_module` or your own program, with the arguments of the process.

    Args:
        model: your subclass of `LitClassifier`. Its arguments become flags, `--model.NAME`, beside those of the recipe.
        data_module: your subclass of `ImageDataModule`, with flags `--data.NAME`.

    Returns:
        The exit status: 0 on success, 2 after an error of the user, 130 after Ctrl-C.

    Example:
        if __name__ == "__main__":  # in mine.py; then: python mine.py fit --config simple
            sys.exit(lightning_module.command(MyClassifier, MyData))
    """
    prog = PROG if model is None and data_module is None else f"python {Path(sys.argv[0]).name}"
    run = partial(main, prog=prog, model=model, data_module=data_module)
    return run_command(prog, run, extra="lightning")


if __name__ == "__main__":
    sys.exit(command())
