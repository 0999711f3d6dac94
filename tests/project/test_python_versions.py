"""Runs the quick tests of minigrad on other supported versions of Python, with only minigrad's dependencies.

An interpreter is skipped if it is not on PATH or its packages cannot be
installed. pyenv's shims work only for versions that are selected, for example
with `PYENV_VERSION=3.11.7:3.12.1:3.13.0`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST_PACKAGES = ["pytest", "pytest-timeout", "hypothesis"]


def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, with `variables` added to the environment."""
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | variables)


def python_in_new_environment(version: str, folder: Path) -> Path:
    """Create a virtual environment with minigrad's dependencies; skip the test if that is not possible."""
    interpreter = shutil.which(f"python{version}")
    if interpreter is None:
        pytest.skip(f"python{version} is not on PATH")
    created = run(interpreter, "-m", "venv", folder)
    if created.returncode:
        pytest.skip(f"python{version} cannot create a virtual environment: {created.stderr.strip().splitlines()[:1]}")
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    python = folder / "bin/python"
    installed = run(
        *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--constraint", ROOT / "constraints.txt", *dependencies, *TEST_PACKAGES),
    )
    if installed.returncode:
        pytest.skip(f"the packages cannot be installed for python{version}: {installed.stderr.strip()[-500:]}")
    return python


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_minigrad_passes_its_quick_tests(version: str, tmp_path: Path) -> None:
    python = python_in_new_environment(version, tmp_path / "environment")
    reported = run(python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))").stdout.strip()
    assert reported == version
    words = ("-m", "pytest", "-m", "not slow", "-p", "no:cacheprovider", "--tb=short", "tests/minigrad")
    tests = run(python, *words, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    assert tests.returncode == 0, tests.stdout[-5000:] + tests.stderr[-1000:]
