"""python -m keras_model fit|test|predict."""

import sys
from collections.abc import Sequence

from minigrad.runs import run_command

from .interrupt import CtrlC
from .quiet import quiet_start


def main(argv: Sequence[str]) -> None:
    """Run one command."""
    with CtrlC() as ctrl_c, quiet_start():
        from .cli import main
    ctrl_c.raise_again()
    main(argv)


if __name__ == "__main__":
    sys.exit(run_command("python -m keras_model", main, extra="keras"))
