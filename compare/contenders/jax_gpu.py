"""JAX on the GPU."""

from __future__ import annotations

from typing import Any

from .. import machine
from . import jax


class Contender(jax.Contender):
    title = "JAX on the GPU"
    install = "pip install '.[jax]' 'jax[cuda]'"
    environment = {
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cuda",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # no TF32
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    device = "gpu"
    outside_verdict = True

    def describe(self) -> dict[str, Any]:
        return super().describe() | machine.PRECISION
