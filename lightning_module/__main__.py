"""python -m lightning_module fit|validate|test|predict|export."""

import sys
from collections.abc import Sequence

from minigrad.runs import run_command


def main(argv: Sequence[str]) -> None:
    """Run LightningCLI."""
    from .cli import main

    main(argv)


def command() -> int:
    """The command; its exit status."""
    return run_command("python -m lightning_module", main, extra="lightning")


if __name__ == "__main__":
    sys.exit(command())
