"""The digit classifier in Keras 3.

On the command line: `python -m keras_model fit --config simple`. In Python:

    import keras_model
    result = keras_model.fit("simple", out="runs/example")
    result.metrics["test_accuracy"]

The backend is that of KERAS_BACKEND, TensorFlow by default. Keras is imported
on the first use of `fit`.
"""

import os
from typing import TYPE_CHECKING

__all__ = ["fit"]

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Hide TensorFlow's messages at start-up; its errors are still shown.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Allocate GPU memory on demand; by default TensorFlow and JAX reserve most of it at once.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

if TYPE_CHECKING:
    from .training import fit
else:

    def __getattr__(name: str) -> object:
        """Import `fit`, and with it Keras, on first use."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .startup import starting

        with starting():
            from .training import fit
        return globals().setdefault(name, fit)
