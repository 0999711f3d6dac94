"""Source code of the contenders: read and counted without importing a framework."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compare import contenders
from compare.results import source_code

sys.path.insert(0, str(Path(__file__).parent))

import alone

PLANTED = '''\
"""A module."""

raise ImportError("imported")


class Outer:
    @staticmethod
    @print
    def step(self, observer):
        """What it does.

        Over lines.
        """
        # why

        found = [  # as a list
            1,
            2,
        ]
        observer.after_steps(
            found,
        )
        if observer.every_step:
            found = []
        """a text"""
        return """of
        two lines"""

    class Inner:
        """Nothing."""

        size: int
'''


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "plantedpackage"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError")
    (package / "module.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    return "plantedpackage.module"


def test_source_returns_the_code_unchanged(planted: str) -> None:
    shown = source_code.source(f"{planted}:Outer.step")
    assert shown.startswith('@staticmethod\n@print\ndef step(self, observer):\n    """What it does.')
    assert "    # why\n" in shown


def test_lines_are_counted_by_the_rule(planted: str) -> None:
    # Two decorators, the def, four of the list, two of the return.
    assert source_code.count_lines(f"{planted}:Outer.step") == 9
    assert source_code.count_lines(f"{planted}:Outer.Inner") == 2


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("plantedpackage.module:Outer.stop", "no stop there"),
        ("plantedpackage.other:step", "no such module"),
        ("surely_no_package:step", "no such module"),
    ],
)
def test_a_missing_reference_is_named(planted: str, reference: str, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        source_code.source(reference)


@pytest.mark.parametrize("name", contenders.names())
def test_the_references_of_each_contender_exist(name: str) -> None:
    contender = contenders.find(name)
    assert contender.step_code
    for reference in (*contender.step_code, *contender.user_code):
        assert isinstance(ast.parse(source_code.source(reference)).body[0], source_code.Definition)
    step, whole = (
        sum(map(source_code.count_lines, references)) for references in (contender.step_code, contender.user_code)
    )
    assert 10 < step < whole < 300


def test_counting_imports_no_framework() -> None:
    program = (
        "import sys\n"
        "from compare import contenders\n"
        "from compare.results import source_code\n"
        "for name in contenders.names():\n"
        "    [source_code.count_lines(r) for r in contenders.find(name).step_code + contenders.find(name).user_code]\n"
        "heavy = {'torch', 'tensorflow', 'keras', 'lightning', 'jax', 'keras_model', 'lightning_module'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name",
    ["minigrad", "by_hand", "torch", *(pytest.param(n, marks=pytest.mark.slow) for n in ("lightning", "keras", "jax"))],
)
def test_all_counted_code_runs_for_the_recipe_simple(name: str, small: str, tmp_path: Path) -> None:
    alone.train(name, [alone.asked(small, tmp_path)], script=__file__)
    ran = [tuple(found) for found in json.loads((tmp_path / "ran.json").read_text())]
    for reference in contenders.find(name).user_code:
        module, _, wanted = reference.partition(":")
        file = str(source_code.path(module))
        whole_class = "def " not in source_code.source(reference)  # nothing in it runs
        assert whole_class or any(f == file and f"{q}.".startswith(f"{wanted}.") for f, q in ran), reference


def main(path: str) -> None:
    """Train as `alone` does, and write into ran.json which functions of which files ran."""
    given, ran = json.loads(Path(path).read_text()), set()

    def profile(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            ran.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    contender = contenders.find(given["name"])()
    contender.load()
    sys.setprofile(profile)
    alone.main(contender, given["trainings"])
    sys.setprofile(None)
    (Path(given["trainings"][0]["out"]) / "ran.json").write_text(json.dumps(sorted(ran)))


if __name__ == "__main__":
    main(sys.argv[1])
