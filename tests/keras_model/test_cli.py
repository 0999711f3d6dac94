"""The answers of the command line that need no Keras, and the entry point in Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from keras_helpers import Command, epochs, flags, measured, once, same_run

import keras_model
import minigrad
from keras_model import cli
from keras_model.options import Options
from minigrad import datasets, recipes
from minigrad.runs import UserError

pytestmark = once
ROOT = str(Path(keras_model.__file__).parents[1])


def program(*argv: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run `python -m keras_model ARGV`; return the result, and the modules that it imported."""
    code = f"""if True:
        import atexit, runpy, sys
        atexit.register(lambda: open("modules.txt", "w").write(" ".join(sys.modules)))
        sys.argv = ["keras_model", *{argv!r}]
        runpy.run_module("keras_model", run_name="__main__")"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": ROOT}
    )
    return done, {name.split(".")[0] for name in Path("modules.txt").read_text().split()}


FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def test_without_arguments_an_overview_is_printed() -> None:
    done, modules = program()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m keras_model COMMAND [OPTIONS]\n\nkeras_model trains a digit class")
    for name, words in cli.HELP.items():
        assert f"  {name:<8}  {words}\n" in done.stdout
    assert not modules & FRAMEWORKS


def test_the_version_is_that_of_the_distribution() -> None:
    done, modules = program("--version")
    assert (done.returncode, done.stdout) == (0, f"keras_model {minigrad.__version__}\n")
    assert not modules & FRAMEWORKS


def test_an_unknown_command_is_refused_at_once() -> None:
    """The best of three, since other processes may use the CPU."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done, modules = program("fitt", "--config", "simple")
        seconds.append(time.perf_counter() - start)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "python -m keras_model: error: 'fitt' is not a command; expected one of fit, validate, test, predict, export, plot;"
            " did you mean fit?\n"
        )
        assert not modules & FRAMEWORKS
    assert min(seconds) < 1


def test_a_mistake_is_refused_without_importing_keras() -> None:
    done, modules = program("fit", "--model.hidden", "[0]")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"python -m keras_model: error: model\.hidden: 0; expected .*\n", done.stderr)
    assert not modules & FRAMEWORKS
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", cli.HELP)
def test_each_command_describes_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main([name, "--help"])
    assert not done.value.code
    out = capsys.readouterr().out
    assert out.startswith(f"usage: python -m keras_model {name} ")
    assert ("--overwrite" in out) == (name != "validate"), "which writes no file"


def test_plot_draws_a_run(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from minigrad.runs import Epoch, history

    Path("run").mkdir()
    history.write(Path("run/history.csv"), [Epoch(1, 1.0, 0.5, 1.0, 0.5, 0.1, 1.0)])
    assert command("plot", "run", "--out", "run.png") == (0, "curves of run in run.png\n", "")
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert command("plot", "run", "--out", "run.png").err.startswith(
        "python -m keras_model: error: --out run.png: already"
    )


# In Python.


@pytest.mark.usefixtures("_undrawn")
def test_fit_in_python_is_the_command(easy: str, command: Command) -> None:
    """A recipe as a file and as an object; the data from the recipe and as an object."""
    assert command("fit", *flags(easy, "by command")).status == 0
    results = [keras_model.fit("by command/recipe.yaml", out="from file")]
    recipe = recipes.load("by command/recipe.yaml")
    data = datasets.load(easy, 30, recipe.seed_everything)
    before = recipe.as_dict()
    results.append(keras_model.fit(recipe, data, Path("from objects")))
    assert recipe.as_dict() == before
    for result, out in zip(results, ("from file", "from objects"), strict=True):
        same_run(out, "by command")
        assert result.out == Path(out)
        assert result.metrics == measured(out)
        assert [(e.epoch, e.val_loss) for e in result.history] == [(row[0], row[3]) for row in epochs(out)]


@pytest.mark.usefixtures("_undrawn")
def test_fit_in_python_accepts_options_and_callbacks(easy: str) -> None:
    seen: list[int] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    recipe = recipes.Recipe()
    recipe.data.path, recipe.data.batch_size, recipe.data.validation_size, recipe.trainer.max_epochs = easy, 16, 30, 2
    result = keras_model.fit(recipe, options=Options(ema=0.9), callbacks=[callback])
    assert result.out == Path("runs/keras-1")
    assert seen == [0, 1]
    recipe.trainer.max_epochs = 3
    assert [
        e.epoch for e in keras_model.fit(recipe, out=result.out, options=Options(ema=0.9), resume=True).history
    ] == [*(1, 2, 3)]


def test_fit_in_python_refuses_as_the_command_does() -> None:
    with pytest.raises(UserError, match="--config nope: no such file; expected a path or a built-in recipe"):
        keras_model.fit("nope")
    with pytest.raises(UserError, match="ema: 2; expected a momentum above 0 and below 1"):
        keras_model.fit("simple", options=Options(ema=2))
    assert not Path("runs").exists()


def test_other_attributes_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'keras_model' has no attribute 'train'"):
        keras_model.train  # noqa: B018


def test_a_network_is_restored_without_changing_the_recipe(simple_run: Path) -> None:
    from keras_model.restore import build_network
    from minigrad.runs import weights

    spec, _ = weights.load(simple_run / "weights.safetensors")
    spec.recipe.model.weights = "elsewhere.safetensors"
    before = spec.recipe.as_dict()
    build_network(spec)
    assert spec.recipe.as_dict() == before


# Keras's private names that the package uses, because there are no public ones. The upper bound of the version of Keras
# in pyproject.toml may be raised when this test passes.


def test_the_private_names_of_keras_exist() -> None:
    from keras.src.utils.module_utils import tensorflow

    assert hasattr(tensorflow, "_available")
    variable = keras.Variable([1.0])
    for kind, slots in (("SGD", ["momentums"]), ("RMSprop", ["_velocities"]), ("Adam", ["_momentums", "_velocities"])):
        optimizer = getattr(keras.optimizers, kind)(**({"momentum": 0.9} if kind == "SGD" else {}))
        optimizer.build([variable])
        index = optimizer._get_variable_index(variable)
        for slot in slots:
            assert getattr(optimizer, slot)[index].shape == variable.shape
