"""What needs no framework: the overview, the version, unknown commands; and which imports stay light."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from lightning_helpers import PROG, ROOT

import lightning_module
import minigrad
from lightning_module.__main__ import COMMANDS, main
from minigrad.runs import UserError

HEAVY = ("torch", "lightning", "tensorflow", "keras", "jax", "matplotlib")


def run(*argv: str) -> tuple[int, str, str, float]:
    """Exit status, both outputs and the seconds of a fresh process."""
    began = time.perf_counter()
    command = [sys.executable, *argv]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=200)
    return ended.returncode, ended.stdout, ended.stderr, time.perf_counter() - began


def test_without_arguments_there_is_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"]):
        main(argv)
        printed = capsys.readouterr().out
        assert printed.startswith(f"usage: {PROG} COMMAND")
        for name, words in COMMANDS.items():
            assert f"  {name} " in printed
            assert words in printed


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"lightning_module {minigrad.__version__}\n"


@pytest.mark.parametrize(("word", "suggestion"), [("fitt", "did you mean fit?"), ("exprot", "export"), ("x", "fit")])
def test_an_unknown_command_is_one_sentence(word: str, suggestion: str) -> None:
    with pytest.raises(UserError, match=f"'{word}' is not a command; expected one of fit, ") as caught:
        main([word])
    assert suggestion in str(caught.value)


def test_these_answers_take_no_longer_than_python_and_numpy() -> None:
    """Two processes: importing torch and Lightning alone takes longer than the limit."""
    _, _, _, python = run("-c", "import numpy, yaml, jsonargparse")
    status, out, err, seconds = run("-m", "lightning_module", "fitt")
    assert (status, out) == (2, "")
    assert err.startswith(f"{PROG}: error: 'fitt' is not a command")
    assert "Traceback" not in err
    assert seconds < max(1.0, 3 * python)


def test_importing_the_package_imports_no_framework() -> None:
    look = f"import lightning_module, lightning_module.__main__ as m, sys; m.main([]); \
assert not set({HEAVY}) & sys.modules.keys(), sys.modules.keys() & set({HEAVY})"
    status, _, err, _ = run("-c", look)
    assert status == 0, err


def test_the_torch_modules_do_not_import_lightning() -> None:
    """The torch contender of `compare` uses them, and Lightning must not add to the time that its imports take."""
    modules = ("network", "optimizers", "restore")
    look = "import sys, " + ", ".join(f"lightning_module.{name}" for name in modules)
    status, out, err, _ = run("-c", look + "; print([name for name in sys.modules if name.startswith('lightning.')])")
    assert (status, out) == (0, "[]\n"), err


def test_public_names_are_imported_on_first_use() -> None:
    for name in lightning_module.__all__:
        assert callable(getattr(lightning_module, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lightning_module.nothing
