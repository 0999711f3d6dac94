"""The options of `fit` beside the recipe: averaged weights and half precision; and the variables that the package sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from keras_helpers import (
    CNN,
    Command,
    answers,
    complaints,
    epochs,
    flags,
    measured,
    once,
    same_run,
    slow_except,
    started,
    weights_of,
)

import minigrad
from keras_model import cli, model, resume, training
from keras_model.model import get_weights
from keras_model.options import Options
from minigrad import datasets
from minigrad.recipes import Recipe
from minigrad.runs import metrics, weights

pytestmark = slow_except("tensorflow", "torch")

EMA = ("--ema", "0.9")
Arrays = dict[str, np.ndarray]


def stop(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Raise Ctrl-C at the end of an epoch, after its checkpoint."""
    real = resume.ResumableState.on_epoch_end

    def call(self: Any, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        if epoch + 1 == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(resume.ResumableState, "on_epoch_end", call)


class Steps(keras.callbacks.Callback):
    """Collects the weights after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Arrays] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append({name: np.array(a, np.float64) for name, a in get_weights(self.model).items()})


class Ends(keras.callbacks.Callback):
    """Collects the trained weights at the first step of each epoch, when the average has been swapped out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Arrays] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.seen.append({name: np.array(a) for name, a in get_weights(self.model).items()})


def recipe_of(**section: Any) -> Recipe:
    """Three epochs of three steps."""
    recipe = Recipe()
    recipe.data.batch_size, recipe.data.validation_size, recipe.trainer.max_epochs = 48, 30, 3
    for name, value in section.items():
        setattr(recipe.model, name, value)
    return recipe


def trained(recipe: Recipe, path: str, out: str, options: Options, *callbacks: keras.callbacks.Callback) -> None:
    """Call `fit` as the command does, with callbacks."""
    keras.utils.set_random_seed(recipe.seed_everything)
    data = datasets.load(path, recipe.data.validation_size, recipe.seed_everything)
    training.fit(recipe, data, Path(out), options, callbacks=callbacks)


def averages(steps: list[Arrays], momentum: float) -> list[Arrays]:
    """Keras's moving average, which starts with the weights of the first step."""
    found = [steps[0]]
    for step in steps[1:]:
        found.append({name: momentum * found[-1][name] + (1 - momentum) * step[name] for name in step})
    return found


SECTIONS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "schedule": "one_cycle"},
}


@slow_except("jax", "torch")
@pytest.mark.parametrize("name", ["sgd", pytest.param("adamw", marks=pytest.mark.slow)])
def test_the_average_is_used_and_training_is_unchanged(name: str, easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The average, computed from the steps of a run without it, is what is validated, saved and tested."""
    recipe, steps, plain_ends, ends = recipe_of(**SECTIONS[name]), Steps(), Ends(), Ends()
    with monkeypatch.context() as m:
        m.setattr(model, "max_steps_per_execution", lambda: 1)  # so that each step is seen
        trained(recipe, easy, "plain", Options(), steps, plain_ends)
    trained(recipe, easy, "averaged", Options(ema=0.9), ends)
    assert len(steps.seen) == 9
    expected = averages(steps.seen, 0.9)[2::3]
    for array_name, array in weights_of("averaged").items():
        np.testing.assert_allclose(array, expected[-1][array_name], rtol=1e-5, atol=1e-6)
        assert np.abs(array - steps.seen[-1][array_name]).max() > 1e-4, "equal weights would make this test trivial"
    data = datasets.load(easy, 30, 42)
    for row, plain, average in zip(epochs("averaged"), epochs("plain"), expected, strict=True):
        assert row[1:3] == pytest.approx(plain[1:3], rel=1e-6), "the loss in training"
        found = metrics.score(answers(average, data.validation.images), data.validation.labels)
        assert row[3:5] == pytest.approx((found["loss"], found["accuracy"]), rel=1e-5)
        assert row[3] != pytest.approx(plain[3], rel=1e-4)
    found = metrics.score(answers(expected[-1], data.test.images), data.test.labels)
    assert measured("averaged")["test_loss"] == pytest.approx(found["loss"], rel=1e-5)
    assert measured("averaged")["test_correct"] == found["correct"]
    # Each epoch begins with the trained weights, not with the average.
    for begun, plain_begun in zip(ends.seen, plain_ends.seen, strict=True):
        for array_name in begun:
            np.testing.assert_allclose(begun[array_name], plain_begun[array_name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_both_files_hold_the_average(easy: str, command: Command) -> None:
    """model.keras and weights.safetensors have the metrics of metrics.json."""
    assert command("fit", *flags(easy, "out", *EMA)).status == 0
    expected = measured("out")
    for file in ("model.keras", "weights.safetensors"):
        words = ("--data.path", easy, "--model.weights", f"out/{file}", "--out", f"by {file}")
        assert command("test", *words).status == 0
        found = measured(f"by {file}")
        assert found.keys() == expected.keys() - {"epochs"}
        for name in found.keys() - {"test_calibration"}:  # whose bins are nested
            assert found[name] == pytest.approx(expected[name]), name


PRECISIONS = ["mixed_bfloat16", "mixed_float16"]


@slow_except("jax", "torch")
@pytest.mark.parametrize(
    "precision", [pytest.param(p, marks=pytest.mark.slow) for p in ("float32", "mixed_bfloat16")] + ["mixed_float16"]
)
def test_a_run_with_an_average_is_resumed_exactly(
    precision: str, easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained weights, average and loss scale are restored; other settings are refused."""
    words = ("--model.optimizer", "adam", "--model.learning_rate", "0.01", "--model.dropout", "0.2", *EMA)
    words += ("--precision", precision, "--data.batch_size", "48")
    assert command("fit", *flags(easy, "whole", *words)).status == 0
    with monkeypatch.context() as m:
        stop(m, 2)
        assert command("fit", *flags(easy, "parts", *words)).status == 130
    for other, now in ((("--ema", "0.8"), "0.8"), (("--ema", "null"), "None")):
        text = refused("fit", *flags(easy, "parts", *words, *other), "--resume")
        assert f"--resume: ema is {now}, but the run was made with 0.9; expected 0.9" in text
    other = next(p for p in ("float32", *PRECISIONS) if p != precision)
    text = refused("fit", *flags(easy, "parts", *words, "--precision", other), "--resume")
    assert f"--resume: precision is {other}, but the run was made with {precision}" in text
    assert command("fit", *flags(easy, "parts", *words), "--resume").status == 0
    same_run("parts", "whole")


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 2])
def test_a_cnn_with_an_average_is_resumed_exactly(
    at: int, pixels: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics of batch normalization are not averaged."""
    words = (*CNN, *EMA, "--data.validation_size", "1000", "--early_stopping.patience", "2")
    assert command("fit", *flags(pixels, "whole", *words)).status == 0
    with monkeypatch.context() as m:
        stop(m, at)
        assert command("fit", *flags(pixels, "parts", *words)).status == 130
    assert command("fit", *flags(pixels, "parts", *words), "--resume").status == 0
    same_run("parts", "whole")


def best_is_kept(out: str, data: str, validation_size: int = 30) -> None:
    """Check that the saved weights are those with which the best epoch was validated."""
    best = min(epochs(out), key=lambda row: row[3])
    held_out = datasets.load(data, validation_size, 42).validation
    found = metrics.score(answers(weights_of(out), held_out.images), held_out.labels)
    assert (found["loss"], found["accuracy"]) == pytest.approx(best[3:5], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["by itself", "while it waits"])
def test_early_stopping_keeps_the_best_epochs_average(
    ends: str, stopped_words: list[str], hard: str, command: Command
) -> None:
    """Both if it stops the run, and if the run ends before."""
    assert command(*stopped_words, "--out", "stopped", *EMA).status == 0
    rows = epochs("stopped")
    assert 5 < len(rows) < 40, "without early stopping this test would be trivial"
    assert min(rows, key=lambda row: row[3])[0] == len(rows) - 5
    best_is_kept("stopped", hard)
    if ends == "by itself":
        return
    waiting = str(len(rows) - 2)
    assert command(*stopped_words, "--out", "waiting", *EMA, "--trainer.max_epochs", waiting).status == 0
    best_is_kept("waiting", hard)
    for name, array in weights_of("stopped").items():
        np.testing.assert_array_equal(weights_of("waiting")[name], array)


@pytest.mark.slow
@pytest.mark.parametrize("before", [1, 3])
def test_early_stopping_with_an_average_is_resumed_exactly(
    before: int, stopped_words: list[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint contains the average of the best epoch."""
    assert command(*stopped_words, "--out", "whole", *EMA).status == 0
    with monkeypatch.context() as m:
        stop(m, len(epochs("whole")) - before)
        assert command(*stopped_words, "--out", "parts", *EMA).status == 130
    assert command(*stopped_words, "--out", "parts", *EMA, "--resume").status == 0
    same_run("parts", "whole")


@pytest.mark.slow
def test_a_reduced_rate_with_an_average(hard: str, command: Command) -> None:
    """The average is validated, so its loss reaches the plateau."""
    words = ("--model.schedule", "reduce_on_plateau", "--model.learning_rate", "0.5", "--trainer.max_epochs", "30")
    assert command("fit", *flags(hard, "out", *words, *EMA)).status == 0
    rates = [row[5] for row in epochs("out")]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5


@pytest.mark.slow
def test_no_epoch_at_all(easy: str, command: Command) -> None:
    """Without epochs, the initial weights are tested."""
    assert command("fit", *flags(easy, "plain", "--trainer.max_epochs", "0")).status == 0
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "0", *EMA)).status == 0
    assert measured("out") == measured("plain")


# Half precision.


@pytest.mark.parametrize(
    "precision",
    [pytest.param("mixed_bfloat16", marks=once), pytest.param("mixed_float16", marks=pytest.mark.slow)],
)
def test_half_precision(precision: str, easy: str, command: Command) -> None:
    """It learns, the weights are saved and tested in float32, and the dtype policy is restored."""
    before = keras.config.dtype_policy().name
    assert command("fit", *flags(easy, "out", "--precision", precision)).status == 0
    assert keras.config.dtype_policy().name == before
    assert {array.dtype for array in weights_of("out").values()} == {np.dtype("float32")}
    losses = [row[1] for row in epochs("out")]
    assert losses == sorted(losses, reverse=True)
    assert [row[5] for row in epochs("out")] == [0.1] * 3
    assert measured("out")["test_accuracy"] > 0.8
    words = ("--data.path", easy, "--model.weights", "out/weights.safetensors", "--out", "again")
    assert command("test", *words).status == 0
    assert measured("out") == {**measured("again"), "epochs": 3}


@slow_except("jax", "torch")
def test_the_scale_of_float16s_loss_is_kept_from_epoch_to_epoch(easy: str) -> None:
    """Saving the state neither resets the scale nor adds variables to the optimizer."""
    seen: list[list[Any]] = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            optimizer = self.model.optimizer
            if epoch == 0:  # on TensorFlow it has no variables yet
                return
            seen.append([id(v) for v in (*optimizer.variables, optimizer.dynamic_scale)])
            if epoch == 1:
                optimizer.dynamic_scale.assign(1024.0)
            assert float(optimizer.dynamic_scale) == 1024.0

    trained(recipe_of(), easy, "out", Options(precision="mixed_float16"), Look())
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_layers_compute_in_half_precision(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers have the policy during `fit`; it is restored after an error, too."""
    seen: list[Any] = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.extend((layer.compute_dtype, layer.dtype) for layer in self.model.layers if layer.weights)
            raise ZeroDivisionError

    before = keras.config.dtype_policy().name
    with pytest.raises(ZeroDivisionError):
        trained(recipe_of(), easy, "out", Options(precision="mixed_bfloat16"), Look())
    assert seen == [("bfloat16", "float32")] * 2
    assert keras.config.dtype_policy().name == before


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("schedule", ["one_cycle", "reduce_on_plateau"])
def test_half_precision_of_a_cnn(schedule: str, precision: str, pixels: str, command: Command) -> None:
    """With convolutions, batch norm, shifts, Adam, an average and a schedule, it learns."""
    words = (*CNN, "--data.validation_size", "400", "--precision", precision, "--model.schedule", schedule)
    assert command("fit", *flags(pixels, "out", *words, "--ema", "0.5"))[::2] == (0, "")
    rates = [row[5] for row in epochs("out")]
    assert rates == sorted(rates, reverse=True) if schedule == "reduce_on_plateau" else rates[0] > rates[-1]
    assert measured("out")["test_accuracy"] > 0.3
    words = ("--data.path", pixels, "--model.weights", "out/weights.safetensors", "--out", "again")
    assert command("test", *words).status == 0
    assert measured("out") == {**measured("again"), "epochs": 3}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", *PRECISIONS])
def test_a_rate_is_reduced_in_any_precision(precision: str, hard: str, command: Command) -> None:
    """With float16, the rate belongs to the optimizer inside LossScaleOptimizer."""
    words = ("--model.schedule", "reduce_on_plateau", "--model.learning_rate", "0.5", "--trainer.max_epochs", "25")
    result = command("fit", *flags(hard, "out", *words, "--precision", precision))
    assert (result.status, complaints(result.err)) == (0, [])
    assert sorted({round(row[5], 6) for row in epochs("out")}, reverse=True)[:2] == [0.5, 0.05]


@pytest.mark.slow
def test_divergence_in_half_precision_is_one_sentence(easy: str, refused: Callable[..., str]) -> None:
    """As in float32."""
    text = refused("fit", *flags(easy, "out", "--model.learning_rate", "1e30", "--precision", "mixed_bfloat16"))
    assert "model.learning_rate: 1e+30" in text


# Refused options, and options in a file.


@once
@pytest.mark.parametrize("value", ["0", "1", "-1", "1.5", "nan", "inf", "much", "[0.9]", "true"])
def test_an_invalid_momentum_is_refused(value: str, easy: str, refused: Callable[..., str]) -> None:
    """The message names the key, and no folder is created."""
    assert refused("fit", *flags(easy, "out", f"--ema={value}")).startswith("ema: ")
    assert not Path("out").exists()


@once
@pytest.mark.parametrize("value", ["float8", "float16", "mixed", "null", "16", "MIXED_BFLOAT16"])
def test_an_invalid_precision_is_refused(value: str, easy: str, refused: Callable[..., str]) -> None:
    """The message names the valid values."""
    text = refused("fit", *flags(easy, "out", f"--precision={value}"))
    for word in ("precision: ", "float32", "mixed_bfloat16", "mixed_float16"):
        assert word in text
    assert not Path("out").exists()


@once
def test_options_beside_the_recipe_in_one_file(easy: str, command: Command, refused: Callable[..., str]) -> None:
    """Keys are read as flags are; a later flag overrides them; and an invalid one is refused in one sentence."""
    content = {"model": {"hidden": [4]}, "data": {"batch_size": 48}, "trainer": {"max_epochs": 1}, "ema": 0.9}
    Path("mine.yaml").write_text(yaml.safe_dump(content))
    data = ("--data.path", easy, "--data.validation_size", "30")
    assert command("fit", "--config", "mine.yaml", *data, "--out", "out").status == 0
    assert weights_of("out")["hidden.0.weight"].shape == (4, 6)
    assert json.loads(weights.read("out/checkpoint.safetensors")[1]["state"])["made_with"]["ema"] == 0.9
    assert "ema: 1.0; expected" in refused("fit", "--config", "mine.yaml", *data, "--ema", "1", "--out", "new")
    for key, value in (("ema", 2.0), ("ema", "much"), ("precision", "half"), ("emma", 0.9)):
        Path("bad.yaml").write_text(yaml.safe_dump({**content, key: value}))
        assert key in refused("fit", "--config", "bad.yaml", *data, "--out", "new")
    assert not Path("new").exists()


@once
def test_the_averages_momentum_is_no_key_of_a_recipe(easy: str, refused: Callable[..., str]) -> None:
    """The other commands don't train, and refuse the key."""
    Path("mine.yaml").write_text(yaml.safe_dump({"ema": 0.9}))
    assert "ema" in refused("test", "--config", "mine.yaml", "--data.path", easy)
    assert "model.ema" in refused("fit", *flags(easy, "out", "--model.ema", "0.9"))


@once
@pytest.mark.parametrize(
    "given", ["[cosine, reduce_on_plateau]", "cosine, reduce_on_plateau", "cosine+reduce_on_plateau"]
)
def test_a_schedule_or_a_plateau(given: str, easy: str, refused: Callable[..., str]) -> None:
    """The key accepts one of them, and the message names all."""
    text = refused("fit", *flags(easy, "out", "--model.schedule", given))
    assert text.startswith("model.schedule: ")
    for word in ("expected", "constant", "cosine", "one_cycle", "reduce_on_plateau"):
        assert word in text
    assert not Path("out").exists()


# The variables that importing the package sets.

SET = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def seen_by_a_program(**given: str) -> list[str]:
    """Those variables in a process that has imported the package, without a framework."""
    program = (
        f"import os, sys, keras_model; assert 'keras' not in sys.modules; print(*map(os.environ.get, {list(SET)}))"
    )
    kept = {k: v for k, v in os.environ.items() if k not in SET}
    root = str(Path(minigrad.__file__).parents[1])
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env={**kept, "PYTHONPATH": root, **given}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@once
def test_gpu_memory_is_allocated_on_demand() -> None:
    """So that other programs can use the same GPU."""
    assert seen_by_a_program() == list(SET.values())


@once
@pytest.mark.parametrize("name", SET)
def test_the_users_variables_are_kept(name: str) -> None:
    """Variables that are already set are kept."""
    assert seen_by_a_program(**{name: "mine"}) == ["mine" if key == name else value for key, value in SET.items()]


# The user's keras.json.

SHORT = (*CNN, "--trainer.max_epochs", "1", "--data.validation_size", "1500")


@pytest.fixture
def _other_defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keras's settings as a keras.json can set them."""
    config = keras.config
    before = config.floatx(), config.dtype_policy(), config.image_data_format(), config.epsilon()
    config.set_floatx(request.param)
    config.set_dtype_policy(request.param)
    config.set_image_data_format("channels_first")
    config.set_epsilon(0.1)
    yield
    assert (config.floatx(), config.dtype_policy().name, config.image_data_format()) == (
        *[request.param] * 2,
        "channels_first",
    )
    for setter, value in zip(
        (config.set_floatx, config.set_dtype_policy, config.set_image_data_format, config.set_epsilon),
        before,
        strict=True,
    ):
        setter(value)


@pytest.fixture(scope="module")
def plain_cnn(pixels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "out"
    cli.main(["fit", *flags(pixels, out, *SHORT)])
    cli.main([*use("predict", out, pixels), "--out", str(out / "predictions")])
    return out


def use(name: str, run: Path, data: str) -> list[str]:
    return [name, "--data.path", data, "--model.weights", str(run / "model.keras")]


@slow_except("torch")
@pytest.mark.usefixtures("_other_defaults", "_undrawn")
@pytest.mark.parametrize("_other_defaults", [pytest.param("float16", marks=pytest.mark.slow), "float64"], indirect=True)
def test_float32_does_not_depend_on_the_users_defaults(plain_cnn: Path, pixels: str, command: Command) -> None:
    """Training, test and prediction are equal to the last bit, and the defaults are restored."""
    assert command("fit", *flags(pixels, "out", *SHORT)).status == 0
    same_run("out", plain_cnn)
    assert {v.dtype for v in model.build_model(Recipe().model).weights} == {"float32"}
    assert command(*use("test", plain_cnn, pixels), "--out", "tested").status == 0
    assert measured("tested") == {k: v for k, v in measured(plain_cnn).items() if k != "epochs"}
    assert command(*use("predict", plain_cnn, pixels), "--out", "predicted").status == 0
    assert Path("predicted/predictions.csv").read_bytes() == (plain_cnn / "predictions/predictions.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_float32_does_not_depend_on_keras_json(floatx: str, plain_cnn: Path, pixels: str) -> None:
    """The same with the file, in processes of their own, with an export and its check."""
    Path("home").mkdir()
    defaults = {"floatx": floatx, "epsilon": 0.1, "image_data_format": "channels_first", "backend": "jax"}
    Path("home/keras.json").write_text(json.dumps(defaults))
    export = (*use("export", plain_cnn, pixels), "--kinds", "keras", "safetensors", "--out", "exported")
    for words in (("fit", *flags(pixels, "out", *SHORT)), export):
        process = started(*words, KERAS_HOME="home")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    same_run("out", plain_cnn)


@once
def test_a_value_that_keras_refuses_is_one_sentence(easy: str) -> None:
    Path("home").mkdir()
    Path("home/keras.json").write_text('{"floatx": "bfloat16"}')
    process = started("fit", *flags(easy, "out"), KERAS_HOME="home")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = complaints(err)
    assert "home/keras.json: Invalid `floatx` configuration" in line
    assert "bfloat16" in line
