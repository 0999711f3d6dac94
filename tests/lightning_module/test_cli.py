"""The command line: printed configs run again, the environment, completion, every recipe, the documented YAML."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_helpers import CNN, QUIET, ROOT, call, epochs, flags, kept, measured, network, process, sentence

from minigrad import recipes

OVERALL = 200  # seconds that no healthy process comes near


def weights_file(out: str) -> bytes:
    return Path(out, "weights.safetensors").read_bytes()


# Printed and saved configs.


WAYS = {
    "dropout": ("--model.hidden", "[9, 6]", "--model.dropout", "0.3", "--early_stopping.patience", "2"),
    "cnn": CNN,
    "lightning's own": (
        *("--optimizer", "Adam", "--optimizer.lr", "0.02", "--lr_scheduler", "ExponentialLR"),
        *(
            "--lr_scheduler.gamma",
            "0.5",
            "--trainer.callbacks+=LearningRateMonitor",
            "--trainer.gradient_clip_val",
            "1",
        ),
    ),
}


@pytest.mark.parametrize(
    "way", ["lightning's own", *(pytest.param(w, marks=pytest.mark.slow) for w in ("dropout", "cnn"))]
)
def test_the_printed_and_the_saved_config_give_the_same_run(
    way: str, easy: str, few: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags(few if way == "cnn" else easy, "a", *WAYS[way])
    assert call(*words, "--print_config") == 0
    Path("printed.yaml").write_text(capsys.readouterr().out)
    assert not Path("a").exists(), "only printed"
    assert call(*words) == 0
    for out, config in (("b", "printed.yaml"), ("c", "a/config.yaml")):
        assert call("fit", "--config", config, "--trainer.default_root_dir", out) == 0
        assert weights_file(out) == weights_file("a")
        assert epochs(out) == epochs("a")
        assert measured(out) == measured("a")


# Seed and environment.


def test_the_seed_is_42_and_two_runs_are_equal(easy: str) -> None:
    dropout = ("--model.hidden", "[9, 6]", "--model.dropout", "0.3")
    for out, more in (("a", ()), ("b", ()), ("c", ("--seed_everything", "42"))):
        assert call(*flags(easy, out, *dropout, *more)) == 0
        assert weights_file(out) == weights_file("a")
        assert epochs(out) == epochs("a")
    assert recipes.load("a/recipe.yaml").seed_everything == 42


def test_flags_override_environment_variables(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_FIT__TRAINER__MAX_EPOCHS", "2")
    monkeypatch.setenv("PL_FIT__MODEL__HIDDEN", "[7]")
    words = ["fit", *network(easy), "--trainer.default_root_dir"]
    assert call(*words, "a") == 0
    assert (len(epochs("a")), kept("a")["hidden.0.weight"].shape) == (2, (7, 6))
    left = recipes.load("a/recipe.yaml")
    assert (left.trainer.max_epochs, left.model.hidden) == (2, [7])
    assert call(*words, "b", "--trainer.max_epochs", "1", "--model.hidden", "[5]") == 0
    assert (len(epochs("b")), kept("b")["hidden.0.weight"].shape) == (1, (5, 6))


def test_a_mistake_in_the_environment_is_one_sentence(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, words in (
        ("PL_FIT__MODEL__HIDDEN", "[-3]", ("model.hidden: -3", "whole number of 1 or more")),
        ("PL_FIT__MODEL__SCHEDULE", "steep", ("model.schedule", "steep", "constant or cosine or one_cycle")),
    ):
        with monkeypatch.context() as m:
            m.setenv(name, value)
            message = sentence(*flags(easy, "out"))
        for word in words:
            assert word in message
    assert not Path("out").exists()


# Completion.


COMPLETE = """
source script.sh
answers() {
    COMP_WORDS=(lightning_module "$@"); COMP_CWORD=$#; COMPREPLY=()
    _shtab_lightning_module
    echo "${COMPREPLY[*]}"
}
answers fi
answers exp
answers fit --trainer.max_ep
answers fit --model.learning
answers fit --model.schedule co
complete -p lightning_module
"""


@pytest.mark.slow
def test_bash_completes_the_command() -> None:
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    printing = process("--print_completion", "shtab-bash")
    script, err = printing.communicate(timeout=OVERALL)
    assert (printing.returncode, err) == (0, "")
    Path("script.sh").write_text(script)
    subprocess.run([bash, "-n", "script.sh"], check=True, timeout=OVERALL)
    done = subprocess.run([bash, "--norc", "-c", COMPLETE], capture_output=True, text=True, check=True, timeout=OVERALL)
    *answers, completed = done.stdout.splitlines()
    assert answers == ["fit", "export", "--trainer.max_epochs", "--model.learning_rate", "constant cosine"]
    assert "-F _shtab_lightning_module lightning_module" in completed


# Recipes and YAML.


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "simple")) for n in recipes.names()])
def test_every_recipe_is_fitted_validated_and_tested(
    name: str, larger_images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--config", name, "--data.path", larger_images, "--trainer.accelerator", "cpu", *QUIET)
    words += ("--trainer.default_root_dir", "out")
    assert call("fit", *words, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3") == 0
    assert torch.load("out/last.ckpt", weights_only=True)["global_step"] == 3
    metrics = measured("out")
    capsys.readouterr()
    assert call("validate", *words, "--ckpt_path", "last") == 0
    shown = re.search(r"val_loss\W+([\d.]+)", capsys.readouterr().out)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(epochs("out")[0][3], rel=1e-6)
    assert call("test", *words, "--ckpt_path", "last", "--overwrite") == 0
    tested = measured("out")
    assert tested["test_correct"] == metrics["test_correct"]
    assert tested["test_loss"] == pytest.approx(metrics["test_loss"], rel=1e-6)


def documented_yaml() -> list[str]:
    """Return the YAML blocks about Lightning in the documentation. The first line of each may contain the command."""
    page = ROOT / "docs/lightning.md"
    text = (
        page.read_text() if page.exists() else (ROOT / "README.md").read_text().partition("## Train with Lightning")[2]
    )
    blocks = re.findall(r"^```yaml\n(.*?)^```", text.partition("\n## Train with Keras")[0], re.M | re.S)
    return [block for block in blocks if isinstance(yaml.safe_load(block), dict) and "trainer:" in block]


def holds(config: Any, expected: Any) -> bool:
    """Return whether the config has all expected values; class names in it are complete paths."""
    if isinstance(expected, dict):
        return all(key in config and holds(config[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(config) and all(map(holds, config, expected))
    return str(config) == str(expected) or (isinstance(expected, str) and str(config).endswith(f".{expected}"))


def test_the_documentation_contains_yaml() -> None:
    assert documented_yaml()


@pytest.mark.parametrize("block", documented_yaml(), ids=lambda block: f"{len(block)} letters")
def test_the_documented_yaml_runs(block: str, images: str) -> None:
    Path("extra.yaml").write_text(block)
    first = block.splitlines()[0]
    command = shlex.split(first.removeprefix("#")) if first.startswith("#") else ["--config", "simple", "--config"]
    config_options = command[command.index("--config") : -1] if "--config" in command else ["--config"]
    small = ("--data.path", images, "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", *QUIET)
    limit = ("--trainer.limit_train_batches", "5", "--trainer.default_root_dir", "out")
    assert call("fit", *config_options, "extra.yaml", *small, *limit) == 0
    expected, config = yaml.safe_load(block), yaml.safe_load(Path("out/config.yaml").read_text())
    for section in expected.values():
        if isinstance(section, dict):
            section.pop("max_epochs", None)
            section.pop("limit_train_batches", None)
    assert holds(config, expected)
