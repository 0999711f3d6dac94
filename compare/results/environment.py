"""Description of the machine and the software that the measurements were made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time

from .. import machine
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
        "load": load(),
        "gpu": machine.gpu(),
        "allocator": machine.ALLOCATOR,
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(KERNEL_PREFIXES) and name not in machine.THREADS
        },
        "memory_gb": round(machine.memory() / 2**30, 1),
        "blas": blas or [np.__config__.show(mode="dicts")["Build Dependencies"]["blas"]["name"]],
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
    }


class OtherLoad:
    """Measures the share of processor time that other processes use while the jobs run."""

    def start(self) -> None:
        """Start the measurement."""
        self.before = self._now()

    def share(self) -> float:
        """Return the share since `start`, 0 to 1, of the time of all processors."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self.before, strict=True))
        share = (busy - own) / (wall * (os.cpu_count() or 1)) if wall > 0 else 0.0
        return min(max(share, 0.0), 1.0)  # the system counts in ticks, so that short intervals are inexact

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return seconds of the clock, of all busy processors, and of this process with its ended children."""
        import psutil

        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)
        own = os.times()
        return time.perf_counter(), busy, sum(own[:4])


def load() -> float:
    """Return the share of all processors that is busy now, 0 to 1, measured for a third of a second."""
    import psutil

    return float(psutil.cpu_percent(interval=0.3)) / 100
