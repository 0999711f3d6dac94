"""This machine: its processors, memory and GPU, and the environment variables of the contenders' processes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from minigrad.runs import UserError
from minigrad.runs.memory import MMAP_THRESHOLD, TRIM_THRESHOLD

# Environment of a contender on the CPU, so that it does not use a GPU if there is one.
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
# Part of the description of a contender on the GPU: float32 arithmetic as on a CPU.
PRECISION = {"precision": "float32, TF32 off"}
# Each library reads its number of threads from its own variable once, when it is loaded.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "PJRT_NPROC",  # for JAX, which otherwise counts processors
)
# By default glibc returns freed blocks above 128 kB to the system until a larger one has been freed. In small networks in
# NumPy, allocating them again takes longer than the arithmetic. Therefore all contenders keep freed memory.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD), "MALLOC_TRIM_THRESHOLD_": str(TRIM_THRESHOLD)}
# After a product, OpenBLAS's threads wait for the next one in a loop for 2^N processor cycles, 2^28 by default: about a tenth
# of a second, in which they slow down the contender whose turn is next. 2^24 cycles are still longer than a step.
WAITING = {"OPENBLAS_THREAD_TIMEOUT": "24"}


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables of every contender: threads, allocator, and how long idle threads spin."""
    return dict.fromkeys(THREADS, str(threads)) | ALLOCATOR | WAITING


def cores() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return the number of threads that `thread_settings` gave this process; by default that of its processors."""
    return int(os.environ.get(THREADS[0]) or cores())


def check_threads(threads: int) -> None:
    """Check the value of `--threads`.

    Raises:
        UserError: this machine does not have that many processors.
    """
    if not 1 <= threads <= cores():
        raise UserError(f"--threads: {threads}; expected 1 to {cores()}, the number of processors of this machine")


@cache
def gpu() -> str | None:
    """Return the name of the first NVIDIA GPU as its driver reports it, or None if there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = process.stdout.splitlines()
    return names[0].strip() if process.returncode == 0 and names else None


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def memory() -> int:
    """Return the size of the memory in bytes."""
    import psutil

    return int(psutil.virtual_memory().total)


def peak_memory_mb() -> float:
    """Return the peak memory of this process in MB (10^6 bytes)."""
    if Path("/proc/self/status").exists():  # getrusage's maximum would include the parent's memory from before exec
        return _peak_mb(os.getpid())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def children() -> list[Any]:
    """Return this process's child processes; looks at all processes of the machine, which takes about a millisecond."""
    import psutil

    return psutil.Process().children()


def children_memory_mb() -> float:
    """Return the sum of the peak memory of this process's child processes in MB (10^6 bytes)."""
    return sum(_peak_mb(child.pid) for child in children())


def cpu_seconds(running: Sequence[Any]) -> float:
    """Return the CPU seconds so far of this process, of its `running` children, and of those that have ended."""
    ended = os.times()
    seconds = sum(cpu.user + cpu.system for cpu in (child.cpu_times() for child in running))
    return time.process_time() + ended.children_user + ended.children_system + seconds


def _peak_mb(pid: int) -> float:
    """Return the peak memory of a process in MB (10^6 bytes), or its memory now where the system has no /proc."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import psutil

    return psutil.Process(pid).memory_info().rss / 1e6
