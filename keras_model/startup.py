"""Import Keras quietly, without interruption, and without TensorFlow beside another backend."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigrad.runs import UserError
from minigrad.runs.signals import deferred

BACKENDS = ("tensorflow", "jax", "torch")


def backend() -> str:
    """Return the backend of KERAS_BACKEND without importing Keras.

    Raises:
        UserError: it is not a backend that can train.
    """
    if (name := os.environ["KERAS_BACKEND"]) not in BACKENDS:
        raise UserError(f"KERAS_BACKEND: {name}; expected {', '.join(BACKENDS)}")
    return name


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

    Ctrl-C, SIGTERM and SIGHUP take effect at the end, since an exception within
    the import of a C++ library can crash the process.

    Raises:
        UserError: KERAS_BACKEND is not a backend that can train.
        KeyboardInterrupt: one of these signals arrived.

    Example:
        with starting():
            from . import training
    """
    backend()
    with deferred(), stderr_held_back():
        use_one_framework()
        yield
        find_devices()


def find_devices() -> None:
    """Let TensorFlow look for GPUs, which it otherwise does later, with a message at error level if there is no driver.

    It only lists the devices: `devices.reserve` may still configure them.
    """
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.list_physical_devices()


def use_one_framework() -> None:
    """Keep Keras from importing TensorFlow when it runs on another backend.

    Keras imports TensorFlow if it is installed, for example in
    `set_random_seed`, and works without it if it is not. The import takes
    seconds, and beside torch it can hang. Keras has no public setting for this.

    Raises:
        UserError: Keras refuses a value in the user's keras.json.
    """
    try:
        import keras
    except ValueError as error:
        if "configuration" not in str(error):
            raise
        path = Path(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    from keras.src.utils.module_utils import tensorflow

    if keras.backend.backend() != "tensorflow":
        tensorflow._available = False
