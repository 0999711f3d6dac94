"""Names from outside: in CSV files, in recipes and on the command line."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minigrad_helpers import Command, flags, sentence_of

from minigrad import __main__ as program
from minigrad import recipes
from minigrad.runs import metrics, spreadsheet_safe

SECRET = "root:x:0:0:SECRET"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("3.png", "3.png"),
        ("a=1.png", "a=1.png"),
        ("=1+1.png", "'=1+1.png"),
        ("@SUM(1).png", "'@SUM(1).png"),
        ("+1.png", "'+1.png"),
        ("-1.png", "'-1.png"),
        (" =1.png", "' =1.png"),
        ("\uff1d1.png", "'\uff1d1.png"),
        ("\t=1.png", r"\t=1.png"),
        ("\r=1.png", r"\r=1.png"),
        ("a\nb.png", r"a\nb.png"),
        ("caf\udce9.png", r"caf\udce9.png"),
        ("日本.png", "日本.png"),
    ],
)
def test_no_name_is_a_formula_or_breaks_its_line(name: str, cell: str, tmp_path: Path) -> None:
    assert spreadsheet_safe(name) == cell
    metrics.write_predictions(tmp_path / "p.csv", np.zeros((1, 2)), [name])
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [cell]


@pytest.mark.parametrize(
    "recipe", ["config: secret.txt", "model: secret.txt", "data: secret.txt", "trainer: {__path__: secret.txt}"]
)
def test_a_recipe_does_not_read_other_files(recipe: str, easy: str, refused: Callable[..., str]) -> None:
    Path("secret.txt").write_text(f"{SECRET}\nmodel: {{hidden: [3]}}\n")
    Path("mine.yaml").write_text(recipe)
    text = refused("--config", "mine.yaml", *flags(easy, "run"))
    assert text.startswith(f"--config mine.yaml: {'__path__' if '__' in recipe else recipe.split(':')[0]}: ")
    assert SECRET not in text
    assert not Path("run").exists()


def test_the_metadata_of_weights_do_not_read_other_files() -> None:
    Path("secret.yaml").write_text("model: {hidden: [3]}\n")
    for values in ({"config": "secret.yaml"}, {"model": "secret.yaml"}, {"trainer": {"__path__": "secret.yaml"}}):
        assert "expected" in sentence_of(lambda values=values: recipes.from_metadata(values))  # type: ignore[misc]


def test_a_section_can_be_a_file_on_the_command_line(easy: str, command: Command, refused: Callable[..., str]) -> None:
    Path("section.yaml").write_text("hidden: [3]\n")
    assert "6-3-3" in command("--model", "section.yaml", *flags(easy, "run")).out
    Path("secret.txt").write_text(f"{SECRET}\nx\n")
    assert SECRET not in refused("--model", "secret.txt", *flags(easy, "other"))


@pytest.mark.parametrize("flag", ["--out", "--data.path", "--model.weights", "--config"])
def test_an_empty_path_is_refused(flag: str, easy: str, refused: Callable[..., str]) -> None:
    text = refused(*flags(easy, "run"), flag, "")
    assert text.startswith(f"{flag.removeprefix('--') if '.' in flag else flag}: ''; expected a ")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "--model.weights", "", "--data.path", "mnist"],
        ["export", "--model.weights", ""],
        ["plot", ""],
    ],
)
def test_an_empty_path_is_refused_by_the_other_commands(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.command(argv) == 2
    assert "''; expected " in capsys.readouterr().err


def test_a_path_that_a_recipe_can_not_contain_is_refused(easy: str, refused: Callable[..., str]) -> None:
    text = refused("--data.path", "caf\udce9.npz", *flags(easy, "run")[2:])
    assert text.startswith(r"data.path: caf\udce9.npz: contains bytes that are not UTF-8; expected a path in UTF-8")


def test_a_run_folder_that_is_not_utf8_works(easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # accepts all characters, as the streams of a process do
    out = "caf\udce9"
    assert command(*flags(easy, out)).status == 0
    assert command(*flags(easy, out, "--resume")).status == 0
    assert command(*flags(easy, "=1")).status == 0
    weights = f"{out}/weights.safetensors"
    for argv in (
        ["plot", out, "=1", "--out", "p.png"],
        ["predict", "--model.weights", weights, "--data.path", easy],
        ["export", "--model.weights", weights, "--data.path", easy],
    ):
        assert program.command(argv) == 0
