"""Description of the machine, the software and the command that the measurements were made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from .. import machine
from ..timing import noise
from .schema import Environment

PACKAGES = ("numpy", "torch", "lightning", "keras", "tensorflow", "jax")
# Prefixes of environment variables that select a library's kernels, which affects its speed and its rounding errors.
KERNEL_PREFIXES = ("OPENBLAS_", "MKL_", "OMP_", "ONEDNN_", "TF_ENABLE_", "XLA_", "NPY_")


def describe(threads: int) -> Environment:
    """Return the versions, processor, BLAS libraries and settings.

    Args:
        threads: number of threads of each library in each process.
    """
    import numpy as np
    import threadpoolctl

    blas = [f"{p['internal_api']} {p['version']}" for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "versions": {"python": platform.python_version(), **versions},
        "cpu": machine.processor(),
        "cores": machine.cores(),
        "threads": threads,
        "load": noise.now().others,
        "gpu": machine.gpu(),
        "allocator": machine.ALLOCATOR,
        "waiting": machine.WAITING,
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(KERNEL_PREFIXES) and name not in machine.THREADS
        },
        "memory_gb": round(machine.memory() / 2**30, 1),
        "blas": blas or [np.__config__.show(mode="dicts")["Build Dependencies"]["blas"]["name"]],
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "host": platform.node(),
        "commit": commit(),
    }


def command() -> str:
    """Return the command line of this process if it is `python -m compare`, else the name of the Python function."""
    is_command = Path(sys.argv[0]).parent == Path(__file__).parents[1]
    return shlex.join(["python", "-m", "compare", *sys.argv[1:]]) if is_command else "compare.run"


def commit() -> str | None:
    """Return the commit of this project, with "+" if files have changed since; None outside a git repository."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    outputs = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            process = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if process.returncode:
            return None
        outputs.append(process.stdout.strip())
    return outputs[0] + ("+" if outputs[1] else "")
