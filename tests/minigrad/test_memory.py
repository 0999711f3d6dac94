"""Freed memory is kept where glibc allocates it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
import numpy as np
from minigrad.runs.memory import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed()
held = [np.ones(2_000_000, np.float32) for _ in range(3)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    a, b = np.ones(2_000_000, np.float32), np.ones(1_500_000, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists() or "libc.so.6" not in Path("/proc/self/maps").read_text(), reason="glibc only"
)
def test_blocks_of_megabytes_are_not_fetched_anew_once_they_were_freed() -> None:
    def faults(how: str) -> int:
        return int(
            subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout
        )

    assert 2 * faults("kept") < faults("given back")
