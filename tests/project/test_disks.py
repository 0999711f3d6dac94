"""Every write of a run fails in turn on a small file system; the run then resumes exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT
from shared import clouds, files_of

COMMANDS = {
    "minigrad": (["minigrad", "train"], ["--resume"]),
    "lightning_module": (["lightning_module", "fit", "--trainer.accelerator", "cpu"], ["--ckpt_path", "last"]),
    "keras_model": (["keras_model", "fit"], ["--resume"]),
}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
PAGE = 4  # kilobytes
SMALL = 60  # kilobytes, up to which each page is tried; the pictures after that are larger than five pages


def mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that makes an empty file system of a number of kilobytes, or changes its size."""
    path = tmp_path / "disk"
    path.mkdir()

    def resize(kilobytes: int) -> Path:
        mounted = os.path.ismount(path)
        how = ["-o", f"remount,size={kilobytes}k"] if mounted else ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"]
        if not mount(*how, str(path)):
            pytest.skip("this user may not mount a file system")
        return path

    yield resize
    subprocess.run(["umount", "--lazy", str(path)], check=False, capture_output=True)


def train(package: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    np.savez("easy.npz", **clouds(0, 200, 0.5))
    data = ["--data.path", "easy.npz", "--data.batch_size", "16", "--data.validation_size", "30"]
    argv = [*COMMANDS[package][0], *data, "--trainer.max_epochs", "2", "--out", str(out), *more]
    return subprocess.run(
        [sys.executable, "-m", *argv], env=ENVIRONMENT, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("package", COMMANDS)
def test_a_run_survives_a_disk_that_is_full_at_any_write(
    package: str, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    assert train(package, whole).returncode == 0
    size, failures = PAGE, set()
    while True:
        run = disk(size) / "run"
        result = train(package, run)
        if result.returncode == 0:
            break
        assert result.returncode == 2, result.stderr
        assert "Traceback" not in result.stderr
        (line,) = [line for line in result.stderr.splitlines() if ": error: " in line]
        failures.add(line.split(": error: ")[1].split(": can't be written (No space left on device)")[0])
        assert files_of(run) < files_of(whole)
        disk(100_000)
        resumed = train(package, run, *(COMMANDS[package][1] if (run / "recipe.yaml").exists() else []))
        assert resumed.returncode == 0, resumed.stderr
        assert files_of(run) == files_of(whole)
        for name in ("weights.safetensors", "metrics.json"):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), (size, name)
        subprocess.run(["umount", "--lazy", str(run.parent)], check=True)
        size += PAGE if size < SMALL else 5 * PAGE
    names = {Path(failure).name for failure in failures}
    assert {"recipe.yaml", "history.csv", "weights.safetensors", "curves.png"} <= names, names
