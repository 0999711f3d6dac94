"""compare.run, the command's start, and reading of results."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import compare
import minigrad
from compare import cli
from compare.results import schema
from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe(small: str) -> Recipe:
    simple = recipes.load("simple")
    data = replace(simple.data, path=small, batch_size=32, validation_size=50)
    return replace(simple, data=data, trainer=replace(simple.trainer, max_epochs=2))


def test_run_returns_the_written_results_and_does_not_modify_the_recipe(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recipe.as_dict()
    results = compare.run(
        recipe, contenders=["by_hand", "minigrad"], seeds=1, sweep="none", threads=1, out=tmp_path / "o", quiet=True
    )
    assert results["parity"] is not None
    assert results["parity"]["passed"] is True
    assert [row["name"] for row in schema.measured(results)] == ["minigrad", "by_hand"]
    assert json.loads((tmp_path / "o/results.json").read_text()) == json.loads(json.dumps(results))
    assert schema.read(str(tmp_path / "o"))["recipe"] == before == recipe.as_dict()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "nowhere"}, "nowhere"),
        ({"contenders": ["caffe"]}, "--contenders: caffe"),
        ({"seeds": 0}, "--seeds: 0"),
        ({"widths": []}, r"--widths: \[\]"),
    ],
)
def test_an_invalid_argument_raises_one_sentence(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        compare.run(**{"out": tmp_path / "o", **arguments})
    assert not (tmp_path / "o").exists()


def test_importing_compare_imports_nothing_heavy() -> None:
    code = "import sys, compare; print(sorted({'torch', 'tensorflow', 'scipy', 'numpy', 'jinja2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not hasattr(compare, "walk")


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--version"])
    assert capsys.readouterr().out == f"compare {importlib.metadata.version(minigrad.DISTRIBUTION)}\n"


def test_a_mistyped_command_is_answered_before_anything_slow_is_imported() -> None:
    with pytest.raises(
        UserError, match=r"pariti: no such command; expected parity or history or diff, .*did you mean parity\?"
    ):
        cli.main(["pariti"])
    code = (
        "import sys; from compare import cli\n"
        "try: cli.main(['pariti'])\n"
        "except Exception: print('jsonargparse' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_are_read_or_refused_in_one_sentence(path: Path) -> None:
    if path.stem in ("simple", "advanced", "cnn", "gpu_parity"):
        assert schema.measured(schema.read(str(path)))
    else:
        with pytest.raises(UserError, match="no results of python -m compare"):
            schema.read(str(path))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threads": 1.5}, "--threads: 1.5; expected a whole number"),
        ({"threads": "2"}, "--threads: '2'; expected a whole number"),
        ({"seeds": 1.5}, "--seeds: 1.5; expected a whole number or null"),
        ({"seeds": True}, "--seeds: True; expected a whole number or null"),
        ({"target": "high"}, "--target: 'high'; expected a number or null"),
        ({"widths": 8}, "--widths: 8; expected a list"),
        ({"widths": [1.5]}, r"--widths: \[1.5\]; expected a list"),
        ({"batch_sizes": ["8"]}, r"--batch_sizes: \['8'\]; expected a list"),
    ],
)
def test_an_argument_of_another_type_is_refused(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{said}"):
        compare.run("simple", **given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
