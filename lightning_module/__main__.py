"""python -m lightning_module fit|validate|test|predict."""

import sys

from minigrad.runs import run_command

from .cli import main

if __name__ == "__main__":
    sys.exit(run_command("python -m lightning_module", main))
