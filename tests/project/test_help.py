"""The --help texts of all packages: a flag that several commands have is described in the same words everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache

import pytest

COMMANDS = ("minigrad train", "lightning_module fit", "keras_model fit", "compare")
# A device is a process or a GPU; a batch of Lightning is that of one device; --trainer is Lightning's own.
OWN = {"--help", "--print_config", "--devices", "--data.batch_size", "--trainer", "--trainer.max_epochs"}


@cache
def flags(command: str) -> dict[str, str]:
    """Return the value and the help of each flag of a command, as --help prints them."""
    environment = {**os.environ, "COLUMNS": "120"}
    argv = [sys.executable, "-m", *command.split(), "--help"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment).stdout
    options = text.partition("\noptions:\n")[2]
    options = re.sub(r"^  ENV:.*$", "", re.sub(r"^  ARG: ", " ", options, flags=re.MULTILINE), flags=re.MULTILINE)
    found = re.findall(r"^ {2,3}(?:-\w[ \w]*, )?(--[\w.]+)(.*(?:\n {6,}.*|\n$)*)", options, flags=re.MULTILINE)
    return {name: " ".join(rest.split()) for name, rest in found}


def words(text: str) -> tuple[str, str]:
    """Return what a flag does, and its default; a default tuple is shown as a list."""
    help, _, default = text.rpartition("default: ")
    help = help.rpartition("(type: ")[0].replace("; the same as --trainer.default_root_dir", "")
    return help, re.sub(r"[()\[\]]|,\)", "", default).rstrip(",")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_a_flag_has_the_same_words_in_all_packages(command: str) -> None:
    first, other = flags(COMMANDS[0]), flags(command)
    shared = first.keys() & other.keys() - OWN
    assert {"--config", "--seed_everything", "--out", "--overwrite", "--model.hidden", "--data.path"} <= shared
    for name in shared:
        assert words(other[name]) == words(first[name]), name


def test_a_recipe_can_be_given_to_all_commands() -> None:
    keys = {name for name in flags(COMMANDS[0]) if "." in name}
    assert len(keys) > 15
    for command in COMMANDS[1:]:
        assert keys <= flags(command).keys()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "export"])
def test_commands_on_a_trained_network_have_the_same_words(command: str) -> None:
    options = {"predict": {"--preprocess", "--save_inputs", "--format"}, "export": {"--kinds", "--precision"}}[command]
    first, second, third = (flags(f"{p} {command}") for p in ("minigrad", "keras_model", "lightning_module"))
    for name in options - {"--kinds"}:  # each package lists the formats that it writes
        assert words(first[name]) == words(second[name]) == words(third[name]), name
    for name in {*options, "--overwrite"}:
        assert words(second[name])[1] == words(third[name])[1] == words(first[name])[1], name
    assert words(first["--overwrite"]) == words(second["--overwrite"]) == words(third["--overwrite"])
