"""`python -m minigrad`: the overview, the version, unknown commands, and the commands themselves."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from collections.abc import Sequence
from importlib import metadata

import pytest

import minigrad
from minigrad import __main__ as program
from minigrad.runs import UserError
from minigrad.runs.overview import overview

COMMANDS = {"fit": "train a network", "predict": "classify images"}


def test_without_arguments_an_overview_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.command([]) == 0
    out = capsys.readouterr().out
    assert "automatic differentiation in NumPy" in out
    for name, words in program.COMMANDS.items():
        assert f"  {name:<7}  {words}\n" in out
    assert "docs/" in out


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_the_overview(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    program.command([])
    expected = capsys.readouterr().out
    assert program.command([option]) == 0
    assert capsys.readouterr().out == expected


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.command(["--version"]) == 0
    assert capsys.readouterr().out == f"minigrad {minigrad.__version__}\n"
    assert minigrad.__version__ in ("unknown", *_installed())


def _installed() -> list[str]:
    try:
        return [metadata.version(minigrad.DISTRIBUTION)]
    except metadata.PackageNotFoundError:
        return []


def test_a_package_that_is_not_installed_has_an_unknown_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(minigrad), "__version__", raising=False)
    monkeypatch.setattr(minigrad, "DISTRIBUTION", "a-distribution-that-is-not-installed")
    assert minigrad.__version__ == "unknown"
    monkeypatch.delitem(vars(minigrad), "__version__")


def test_other_missing_attributes_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'minigrad' has no attribute 'version'"):
        minigrad.version  # noqa: B018


@pytest.mark.parametrize(
    ("word", "ending"),
    [("trian", "; did you mean train?"), ("PLOT", ""), ("xyz", ""), ("--foo", ""), ("", "")],
)
def test_an_unknown_command_is_refused_in_one_sentence(
    word: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.command([word]) == 2
    out, err = capsys.readouterr()
    assert not out
    names = "train, predict, export, plot"
    assert err == f"python -m minigrad: error: {word!r} is not a command; expected one of {names}{ending}\n"


def test_a_command_gets_the_rest_of_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Sequence[str]] = []
    for name in program.MODULES.values():
        module = types.ModuleType(name)
        module.main = received.append  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    for command in program.COMMANDS:
        assert program.command([command, "--out", "there"]) == 0
    assert received == [["--out", "there"]] * len(program.COMMANDS)


def test_an_error_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.command(["train", "--model.hiden", "[10]"]) == 2
    assert capsys.readouterr().err.startswith("python -m minigrad train: error: unknown option --model.hiden")


@pytest.mark.parametrize("command", ["train", "predict", "export", "plot"])
def test_the_module_of_each_command_exists(command: str) -> None:
    assert importlib.util.find_spec(program.MODULES[command])


@pytest.mark.parametrize("argv", [[], ["--version"], ["trian"]])
def test_no_command_is_imported_for_an_answer(argv: list[str]) -> None:
    code = f"""if True:
        import sys
        from minigrad import __main__ as program
        program.command({argv})
        print(*sys.modules, file=sys.stderr)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not loaded & {"minigrad.train", "minigrad.predict", "minigrad.export", "matplotlib", "jsonargparse", "rich"}


def test_the_module_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "minigrad", "trian"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "did you mean train?" in done.stderr


def test_another_package_uses_the_overview_with_its_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    prog = "python -m keras_model"
    assert overview([], prog, "A classifier in Keras.", COMMANDS)
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {prog} COMMAND [OPTIONS]\n\nA classifier in Keras.\n\ncommands:\n  fit      train")
    assert overview(["--version"], prog, "", COMMANDS)
    assert capsys.readouterr().out == f"keras_model {minigrad.__version__}\n"
    assert not overview(["fit", "--version"], prog, "", COMMANDS)
    with pytest.raises(UserError, match="'fti' is not a command; expected one of fit, predict; did you mean fit"):
        overview(["fti"], prog, "", COMMANDS)


def test_options_before_the_command_can_be_left_to_the_packages_own_parser() -> None:
    assert not overview(["--config", "x.yaml", "fit"], "prog", "", COMMANDS, own_options=True)
    with pytest.raises(UserError, match="'--config' is not a command"):
        overview(["--config", "x.yaml", "fit"], "prog", "", COMMANDS)
