"""Freed memory is kept where glibc allocates it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RELEASED = """
import resource, sys
from pathlib import Path
import numpy as np
from minigrad.runs.memory import keep_freed

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if sys.argv[1] == "kept":
    assert keep_freed()
held = [np.ones(2_000_000, np.float32) for _ in range(3)]
before = resident()
del held
print(before - resident())
"""


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists() or "libc.so.6" not in Path("/proc/self/maps").read_text(), reason="glibc only"
)
def test_blocks_of_megabytes_stay_with_the_process_once_they_were_freed() -> None:
    def released(how: str) -> int:
        """Bytes that left the process when 24 MB were freed; counted so, since faults depend on huge pages."""
        return int(
            subprocess.run([sys.executable, "-c", RELEASED, how], capture_output=True, text=True, check=True).stdout
        )

    assert released("given back") > 20_000_000
    assert released("kept") < 1_000_000
