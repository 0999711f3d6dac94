"""Start of Keras: quiet, with Ctrl-C handled, and without TensorFlow beside another backend."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minigrad.runs import UserError

BACKENDS = ("tensorflow", "jax", "torch")


class CtrlC:
    """As a context, note Ctrl-C as KeyboardInterrupt is raised.

    The exception can come up inside some library's bare `except`, where it is
    lost, and the run would go on for hours; `raise_again` brings it back.
    """

    asked = False

    def __enter__(self) -> CtrlC:
        self.in_charge = threading.current_thread() is threading.main_thread()
        if self.in_charge:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.in_charge:
            signal.signal(signal.SIGINT, self.before)

    def raise_again(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was noted."""
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, *_: Any) -> None:
        self.asked = True
        raise KeyboardInterrupt


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what is written to standard error while a backend is imported; show it if the import fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as remarks:
        os.dup2(remarks.fileno(), 2)
        try:
            yield
        except Exception:
            remarks.seek(0)
            os.write(kept, remarks.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def starting() -> Iterator[None]:
    """Import Keras in this: quietly, with Ctrl-C heard, and without TensorFlow beside another backend.

    Raises:
        UserError: KERAS_BACKEND names none that trains.
    """
    if (backend := os.environ["KERAS_BACKEND"]) not in BACKENDS:
        raise UserError(f"KERAS_BACKEND: {backend}; expected {', '.join(BACKENDS)}")
    with CtrlC() as ctrl_c, quiet_start():
        one_framework()
        yield
    ctrl_c.raise_again()


def one_framework() -> None:
    """Keep Keras on another backend from loading TensorFlow: beside torch it can hang, and it takes seconds.

    Keras looks for it in passing, in `set_random_seed` for one, and does without where it is not.
    """
    import keras
    from keras.src.utils.module_utils import tensorflow

    if keras.backend.backend() != "tensorflow":
        tensorflow._available = False
