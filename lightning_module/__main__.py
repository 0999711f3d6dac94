"""python -m lightning_module fit|validate|test|predict."""

import sys
from collections.abc import Sequence

from minigrad.runs import run_command


def main(argv: Sequence[str]) -> None:
    """Run LightningCLI."""
    from .cli import main

    main(argv)


if __name__ == "__main__":
    sys.exit(run_command("python -m lightning_module", main, extra="lightning"))
