"""Import Keras quietly, with Ctrl-C handled, and without TensorFlow beside another backend."""

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
    """A context in which Ctrl-C is both recorded and raised.

    Python raises KeyboardInterrupt in the code that is running at that moment.
    If a library catches it with a bare `except`, training continues.
    `raise_again` then raises it again.

    Args:
        defer: record Ctrl-C without raising it, for code that KeyboardInterrupt would crash. Default False.
    """

    def __init__(self, *, defer: bool = False) -> None:
        self.defer, self.pressed = defer, False

    def __enter__(self) -> CtrlC:
        # Other threads can't set signal handlers.
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        if self.in_main_thread:
            self.previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self.in_main_thread:
            signal.signal(signal.SIGINT, self.previous)

    def raise_again(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed in this context."""
        if self.pressed:
            raise KeyboardInterrupt

    def _handle(self, *_: Any) -> None:
        self.pressed = True
        if not self.defer:
            raise KeyboardInterrupt


@contextmanager
def stderr_held_back() -> Iterator[None]:
    """Hold back what is written to standard error; show it if an exception is raised that is not a `UserError`.

    The file descriptor is redirected, since TensorFlow's C++ code writes
    messages before any log level takes effect.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except Exception:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def starting() -> Iterator[None]:
    """A context in which Keras and the modules that need it are imported.

    Ctrl-C takes effect at the end, since an exception within the import of a
    C++ library can crash the process.

    Raises:
        UserError: KERAS_BACKEND is not a backend that can train.
        KeyboardInterrupt: Ctrl-C was pressed.

    Example:
        with starting():
            from . import training
    """
    if (backend := os.environ["KERAS_BACKEND"]) not in BACKENDS:
        raise UserError(f"KERAS_BACKEND: {backend}; expected {', '.join(BACKENDS)}")
    with CtrlC(defer=True) as ctrl_c, stderr_held_back():
        use_one_framework()
        yield
    ctrl_c.raise_again()


def use_one_framework() -> None:
    """Keep Keras from importing TensorFlow when it runs on another backend.

    Keras imports TensorFlow if it is installed, for example in
    `set_random_seed`, and works without it if it is not. The import takes
    seconds, and beside torch it can hang. Keras has no public setting for this.
    """
    import keras
    from keras.src.utils.module_utils import tensorflow

    if keras.backend.backend() != "tensorflow":
        tensorflow._available = False
