"""Imports run one way: compare to the three, the two to minigrad's ground floor, minigrad to NumPy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("minigrad", "lightning_module", "keras_model", "compare")
GROUND_FLOOR = ("minigrad.datasets", "minigrad.recipes", "minigrad.runs")
EXERCISES = ROOT / "minigrad/study/exercises"
DATA = (EXERCISES / "stubs", EXERCISES / "solutions")  # copied into a learner's folder, and imported by no package

PROGRAMS = ROOT / "keras_model/export"  # writes and reads exported programs of torch


def imports(path: Path) -> Iterator[str]:
    """Each module that a file imports, with its dots resolved."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def of(package: str) -> list[tuple[Path, str]]:
    paths = [path for path in (ROOT / package).rglob("*.py") if path.parent not in DATA]
    return [(path, name) for path in paths for name in imports(path)]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("minigrad", ("lightning_module", "keras_model", "compare", "torch", "tensorflow", "keras", "lightning")),
        ("lightning_module", ("keras_model", "compare", "tensorflow", "keras")),
        ("keras_model", ("lightning_module", "compare", "torch", "lightning")),
    ],
)
def test_nothing_points_back(package: str, forbidden: tuple[str, ...]) -> None:
    assert of(package)
    for path, name in of(package):
        if (path.parent, name) != (PROGRAMS, "torch"):
            assert name.split(".")[0] not in forbidden, f"{path} imports {name}"


@pytest.mark.parametrize("package", ["lightning_module", "keras_model"])
def test_the_two_stand_on_the_ground_floor_alone(package: str) -> None:
    used = [name for _, name in of(package) if name.split(".")[0] == "minigrad"]
    assert used
    for name in used:
        assert name.startswith(GROUND_FLOOR), f"{package} imports {name}"


def test_only_contenders_and_adapters_know_a_framework() -> None:
    frameworks = ("torch", "tensorflow", "keras", "lightning", "jax", "lightning_module", "keras_model")
    for path, name in of("compare"):
        if path.parent.name not in ("contenders", "adapters"):
            assert name.split(".")[0] not in frameworks, f"{path} imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_told_to_others(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
