"""What `pip install .` brings: four packages with their data, and no framework among the core's needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_core_needs_no_framework() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split(r"[><=\[]", need)[0] for need in project["dependencies"]}
    assert core == {
        *("filelock", "numpy", "jsonargparse", "matplotlib", "pillow", "platformdirs", "pyyaml", "rich", "safetensors")
    }
    assert {"lightning", "keras", "all", "dev"} <= set(project["optional-dependencies"])
    assert "lightning>=2.6.6,<2.7" in project["optional-dependencies"]["lightning"]


def test_the_distribution_is_not_called_minigrad_and_its_extras_name_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "digits-three-ways"  # minigrad is another project on PyPI
    needs = [need for extra in project["optional-dependencies"].values() for need in extra]
    assert not [need for need in needs if need.startswith("minigrad")]
    assert "digits-three-ways[lightning,keras,compare]" in needs


@pytest.mark.slow
def test_the_wheel_holds_data_recipes_template_and_licences(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("digits_three_ways-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "minigrad/datasets/mnist.npz",
        "minigrad/datasets/MNIST.md",
        "minigrad/datasets/digits.npz",
        "minigrad/datasets/DIGITS.md",
        "minigrad/recipes/simple.yaml",
        "minigrad/recipes/advanced.yaml",
        "compare/report/report.html.jinja",
        "compare/report/report.css",
        "compare/report/report.js",
        "compare/report/pad.html.jinja",
        *(f"compare/report/{name}.js" for name in ("pad", "pad_image", "pad_network", "pad_view")),
        *(f"compare/programs/{path.name}" for path in (ROOT / "examples/programs").glob("*.py")),
        *(
            f"minigrad/study/exercises/{path.parent.name}/{path.name}"
            for folder in ("stubs", "solutions", "hints")
            for path in (ROOT / "minigrad/study/exercises" / folder).iterdir()
            if path.is_file()
        ),
        *(f"{package}/py.typed" for package in ("minigrad", "lightning_module", "keras_model", "compare")),
    }
    assert wanted <= names
    for licence in ("LICENSE", "minigrad/datasets/MNIST.md", "minigrad/datasets/DIGITS.md"):
        assert any(name.endswith(f"licenses/{licence}") for name in names)
    assert not any(name.startswith("tests") for name in names)
