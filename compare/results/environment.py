"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from minigrad.runs import UserError
from minigrad.runs.memory import MMAP_THRESHOLD, TRIM_THRESHOLD

from .. import machine as devices

PACKAGES = ("numpy", "torch", "lightning", "keras", "tensorflow", "jax")
# Each library reads its number of threads from its own variable, once, when it is loaded.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "PJRT_NPROC",  # JAX's, which else counts processors
)


def cores() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def refuse_threads(threads: int) -> None:
    """Check what `--threads` was given.

    Raises:
        UserError: this machine has no such number of processors.
    """
    if not 1 <= threads <= cores():
        raise UserError(f"--threads: {threads}; expected 1 to {cores()}, this machine's processors")


STEERING = ("OPENBLAS_", "MKL_", "OMP_", "ONEDNN_", "TF_ENABLE_", "XLA_", "NPY_")
# glibc gives freed blocks of over 128 kB back to the system until a larger one has been freed, and fetching them
# anew, page by page, costs small networks in NumPy more than their arithmetic. All keep what they freed instead.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD), "MALLOC_TRIM_THRESHOLD_": str(TRIM_THRESHOLD)}


def pin(threads: int) -> dict[str, str]:
    """The environment of every contender: this many threads in each library, one behaviour of the allocator."""
    return dict.fromkeys(THREADS, str(threads)) | ALLOCATOR


def describe(threads: int) -> dict[str, Any]:
    """Versions, processor, BLAS and threads."""
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
        "cpu": _processor(),
        "cores": cores(),
        "threads": threads,
        "load": load(),
        "gpu": devices.gpu(),
        "allocator": ALLOCATOR,
        # What else was set around us that can change a library's kernels, and so the last digits and the speed.
        "variables": {k: v for k, v in os.environ.items() if k.startswith(STEERING) and k not in THREADS},
        "memory_gb": round(_memory() / 2**30, 1),
        "blas": blas or [np.__config__.show(mode="dicts")["Build Dependencies"]["blas"]["name"]],
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
    }


class Busy:
    """How much of this machine others took while our processes ran, of all its processors' time."""

    def start(self) -> None:
        self.before = self._now()

    def share(self) -> float:
        """From `start` until now, 0 to 1; what ran at the same time as ours and was not ours."""
        wall, busy, ours = (now - then for now, then in zip(self._now(), self.before, strict=True))
        return max(0.0, busy - ours) / (wall * (os.cpu_count() or 1)) if wall > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds: of the clock, of all processors at work, of this process and its ended children."""
        import psutil

        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)
        ours = os.times()
        return time.perf_counter(), busy, sum(ours[:4])


def load() -> float:
    """The share of all processors that is at work now, 0 to 1, looked at for a third of a second."""
    import psutil

    return float(psutil.cpu_percent(interval=0.3)) / 100


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's maximum would include the parent's, from before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
