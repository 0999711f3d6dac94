"""python -m keras_model fit|validate|test|predict|export|plot; without arguments, an overview of them."""

import sys

from minigrad.runs import run_command

from .cli import PROG, main

if __name__ == "__main__":
    sys.exit(run_command(PROG, main, extra="keras"))
