"""python -m keras_model fit|test|predict."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minigrad.runs import run_command


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what TensorFlow's C++ says about the machine while it is imported; show it if the import fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as remarks:
        os.dup2(remarks.fileno(), 2)
        try:
            yield
        except BaseException:
            remarks.seek(0)
            os.write(kept, remarks.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main(argv: Sequence[str]) -> None:
    """Run one command."""
    with quiet_start():
        from .cli import main
    main(argv)


if __name__ == "__main__":
    sys.exit(run_command("python -m keras_model", main, extra="keras"))
