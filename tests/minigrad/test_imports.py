"""What may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent
FOREIGN = {"lightning_module", "keras_model", "compare", "torch", "tensorflow", "keras", "lightning"}
HEAVY = {*FOREIGN, "matplotlib", "rich", "jsonargparse", "yaml", "safetensors", "PIL"}


# Files of learners, which are copied into their folder and imported by no package.
DATA = {PACKAGE / "study/exercises/stubs", PACKAGE / "study/exercises/solutions"}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent not in DATA]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_points_back(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    assert not found & FOREIGN


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}; import sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["minigrad", "minigrad.datasets", "minigrad.runs", "minigrad.by_hand"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    found = loaded_by(f"import {module}")
    assert "numpy" in found
    assert not found & HEAVY


# Standard modules that are slow to import, NumPy's generators, and the parts that not every program uses.
SLOW = {
    *("dataclasses", "email", "http", "importlib.metadata", "json", "pathlib", "random", "statistics", "tempfile"),
    *("unicodedata", "urllib", "xml", "numpy.random"),
    *(f"minigrad.{part}" for part in ("datasets", "graph", "nn", "optim", "recipes", "runs")),
}


def test_importing_the_engine_loads_nothing_slow_besides_numpy() -> None:
    program = "import sys, numpy; before = set(sys.modules); import minigrad; print(*sorted({*sys.modules} - before))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, timeout=60
    )
    assert not set(done.stdout.split()) & SLOW


@pytest.mark.parametrize("name", ["nn", "optim", "graph"])
def test_a_submodule_is_imported_on_first_use(name: str) -> None:
    program = (
        f"import sys, minigrad as mg; first = mg.{name}; assert first is sys.modules['minigrad.{name}'] is mg.{name}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PACKAGE.parent, timeout=60)
    assert name in dir(minigrad)


def test_the_command_loads_no_other_framework_and_no_plots_before_it_draws() -> None:
    assert not loaded_by("import minigrad.train") & {*FOREIGN, "matplotlib"}


def test_everything_that_is_promised_is_there() -> None:
    for name in minigrad.__all__:
        assert hasattr(minigrad, name), name


def test_the_package_alone_brings_the_parts_that_the_readme_names() -> None:
    code = "import minigrad; minigrad.graph.draw, minigrad.nn.Linear, minigrad.optim.Adam, minigrad.gradcheck"
    subprocess.run([sys.executable, "-c", code], check=True)
