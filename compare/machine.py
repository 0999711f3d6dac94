"""Where a contender computes: what its process may see of this machine's GPU."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

# Of a contender on the CPU, also where there is a GPU.
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
# Of one on the GPU, as `describe` tells it: the same float32 arithmetic as on a processor.
PRECISION = {"precision": "float32, TF32 off"}


@cache
def gpu() -> str | None:
    """The name of the first NVIDIA GPU, asked of its driver; None if there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = answer.stdout.splitlines()
    return names[0].strip() if answer.returncode == 0 and names else None
