"""The imports of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from keras_helpers import once

import keras_model

pytestmark = once
PACKAGE = Path(keras_model.__file__).parent
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "lightning"}


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["keras_model", "keras_model.cli"])
def test_importing_the_command_loads_no_framework(module: str) -> None:
    """Keras is imported only when a command starts."""
    assert not loaded_by(f"import {module}") & FRAMEWORKS


def test_the_users_backend_wins() -> None:
    """KERAS_BACKEND is Keras's own variable; TensorFlow is only the default."""
    program = "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras_model; print(os.environ['KERAS_BACKEND'])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=60
    )
    assert done.stdout.strip() == "jax"
