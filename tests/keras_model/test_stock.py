"""model.keras in a program without this package: it has the same outputs and can be trained further."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import BACKEND, CNN, flags, pictures, slow_except, started, weights_of

from keras_model import restore
from keras_model.callbacks import ModelCheckpoint
from keras_model.model import build_model, compile_model, set_weights
from keras_model.precision import dtype_policy
from minigrad import datasets
from minigrad.recipes import Model
from minigrad.runs import history, weights

OTHERS = sorted({"tensorflow", "jax", "torch"} - {BACKEND})

# Loads, evaluates and trains each file named in the first argument, and prints the results.
PROGRAM = """
import json, sys, warnings
sys.modules |= {"keras_model": None, "minigrad": None}  # as if they were not installed
import keras
import numpy as np
from keras.src.utils.module_utils import tensorflow

if keras.backend.backend() != "tensorflow":
    tensorflow._available = False  # otherwise Keras imports it, even beside torch
found = {}
for path, data in json.loads(sys.argv[1]).items():
    with np.load(data) as arrays:
        x, y, more = arrays["x_test"], arrays["y_test"], (arrays["x_train"], arrays["y_train"])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        net = keras.saving.load_model(path, safe_mode=True)
    answers = np.asarray(net.predict(x, verbose=0), "f4")
    loss, accuracy = net.evaluate(x, y, verbose=0)
    before = net.get_weights()
    net.fit(*more, epochs=1 + 1600 // len(more[1]), verbose=0)
    found[path] = {
        "answers": answers.tolist(),
        "accuracy": accuracy,
        "loss": [loss, net.evaluate(x, y, verbose=0)[0]],
        "moved": all(np.any(a != b) for a, b in zip(before, net.get_weights())),
        "optimizer": type(net.optimizer).__name__,
        "warnings": [str(w.message) for w in warned],
    }
print(json.dumps(found))
"""


def in_another_program(files: dict[Path, str], folder: Path, backend: str = BACKEND) -> dict[Path, dict[str, Any]]:
    """Run the program in `folder` for model files, each with a data set, and return what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KERAS_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, json.dumps({str(path): data for path, data in files.items()})],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**kept, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    return {Path(path): result for path, result in json.loads(done.stdout.splitlines()[-1]).items()}


def answered(result: dict[str, Any]) -> np.ndarray:
    """The logits of the network in the other program."""
    return np.asarray(result["answers"], "f4")


def config_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


# Batch norm, dropout, a schedule, an average, a scaled loss. A cnn takes longer to compile: see the slow tests.
ALL = (
    *("--model.hidden", "[6]", "--model.batch_norm", "true", "--model.dropout", "0.3", "--model.optimizer", "adam"),
    *("--model.learning_rate", "0.01", "--model.schedule", "one_cycle", "--data.validation_size", "1400"),
    *("--ema", "0.9", "--precision", "mixed_float16"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stock")


@pytest.fixture(scope="module")
def all_run(folder: Path, pixels: str) -> Path:
    """A run with many features of recipes and options."""
    from keras_model import cli

    cli.main(["fit", *flags(pixels, folder / "all", *ALL)])
    return folder / "all"


@pytest.fixture(scope="module")
def found(simple_run: Path, all_run: Path, pixels: str, folder: Path) -> dict[Path, dict[str, Any]]:
    """The results of the other program for two runs."""
    return in_another_program(dict.fromkeys((simple_run / "model.keras", all_run / "model.keras"), pixels), folder)


@slow_except("tensorflow")
def test_another_program_loads_evaluates_and_trains_it_further(found: dict[Path, dict[str, Any]]) -> None:
    for path, result in found.items():
        assert result["warnings"] == [], path
        assert result["loss"][1] < result["loss"][0], path
        assert result["moved"], path
    assert [result["optimizer"] for result in found.values()] == ["SGD", "LossScaleOptimizer"]


@slow_except("tensorflow")
def test_it_answers_as_the_trained_network(
    found: dict[Path, dict[str, Any]], simple_run: Path, all_run: Path, pixels: str
) -> None:
    """The outputs are equal to the last bit, in half precision, too."""
    images = datasets.load(pixels).test.images
    net, _ = restore.restore(str(simple_run / "weights.safetensors"))
    np.testing.assert_array_equal(answered(found[simple_run / "model.keras"]), net.predict(images, verbose=0))
    recipe = weights.read_spec(all_run / "weights.safetensors").recipe
    net = build_model(recipe.model, (12, 12), 10, precision="mixed_float16")
    set_weights(net, weights_of(all_run))
    np.testing.assert_array_equal(
        answered(found[all_run / "model.keras"]), np.asarray(net.predict(images, verbose=0), "f4")
    )


@slow_except("tensorflow")
def test_it_measures_as_the_run_did(found: dict[Path, dict[str, Any]], simple_run: Path) -> None:
    measured = json.loads((simple_run / "metrics.json").read_text())
    result = found[simple_run / "model.keras"]
    assert result["accuracy"] == pytest.approx(measured["test_accuracy"], abs=1e-6)
    assert result["loss"][0] == pytest.approx(measured["test_loss"], rel=1e-5)


@slow_except("tensorflow")
def test_its_settings_are_the_trainings(all_run: Path) -> None:
    """The rate is the highest of one_cycle, not the last; and nothing depends on this backend or this package."""
    config = config_of(all_run / "model.keras")
    compiled = config["compile_config"]
    inner = compiled["optimizer"]["config"]["inner_optimizer"]
    assert (inner["module"], inner["class_name"]) == ("keras.optimizers", "Adam")
    expected = {"learning_rate": pytest.approx(0.01), "epsilon": 1e-8, "use_ema": True, "ema_momentum": 0.9}
    assert {name: inner["config"][name] for name in expected} == expected
    assert (compiled["steps_per_execution"], compiled["jit_compile"]) == (1, "auto")
    assert compiled["loss"]["config"]["from_logits"]
    assert "keras_model" not in json.dumps(config)
    assert "keras.src" not in json.dumps(compiled)


def test_a_lowered_rate_stays_low(stopped_run: Path) -> None:
    """With reduce_on_plateau, the file has the rate of its epoch, which is the best epoch."""
    best: Any = min(history.read(stopped_run / "history.csv"), key=lambda e: e.val_loss or 0)
    rate = config_of(stopped_run / "model.keras")["compile_config"]["optimizer"]["config"]["learning_rate"]
    assert rate == pytest.approx(best.learning_rate, rel=1e-6)


def checkpoint(model: Model, path: Path, data: str, precision: str = "float32") -> keras.Model:
    """Train a small network for an epoch with the checkpoint as the only callback, and return it."""
    with np.load(data) as arrays, dtype_policy(precision):
        x, y = arrays["x_train"][:100], arrays["y_train"][:100]
        net = build_model(model, x.shape[1:], int(y.max()) + 1, 1.0 if x.dtype == "float32" else 1 / 255, precision)
        compile_model(net, model, 5, steps_per_execution=1)
        net.fit(x, y, batch_size=20, verbose=0, callbacks=[ModelCheckpoint(path)])
    return net


# The settings of Keras's optimizer for the optimizer of a recipe.
OPTIMIZERS: dict[str, tuple[Model, dict[str, Any]]] = {
    "SGD": (
        Model(hidden=[4], momentum=0.9, weight_decay=0.1, schedule="cosine"),
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1, "use_ema": False},
    ),
    "RMSprop": (
        Model(hidden=[4], optimizer="rmsprop", learning_rate=0.02, schedule="one_cycle"),
        {"learning_rate": 0.02, "rho": 0.99, "epsilon": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0},
    ),
    "Adam": (
        Model(hidden=[4], optimizer="adam", learning_rate=0.02, weight_decay=0.3),
        {"learning_rate": 0.02, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.3},
    ),
    "AdamW": (
        Model(hidden=[4], optimizer="adamw", learning_rate=0.02, weight_decay=0.3, schedule="reduce_on_plateau"),
        {"learning_rate": 0.02, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.3},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_becomes_keras_own(name: str, easy: str) -> None:
    """It has the same name and settings, and Keras loads it without a custom class."""
    model, expected = OPTIMIZERS[name]
    net = checkpoint(model, Path("model.keras"), easy)
    loaded = keras.saving.load_model("model.keras", safe_mode=True)
    optimizer = loaded.optimizer
    assert type(optimizer) is type(getattr(keras.optimizers, name)())
    config = optimizer.get_config()
    assert {key: config[key] for key in expected} == pytest.approx(expected)
    assert int(optimizer.iterations) == 0
    for array, trained in zip(loaded.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_array_equal(array, trained)


# Slow tests: all combinations, other backends, two devices.

COMBINATIONS = list(
    product(("sgd", "rmsprop", "adam", "adamw"), ("constant", "cosine", "one_cycle", "reduce_on_plateau"))
)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_recipe(tmp_path: Path) -> None:
    """Each optimizer with each schedule, in every precision, on both architectures, with batch norm and dropout."""
    np.savez("data.npz", **pictures(0, 400, side=8, classes=3))
    images, expected = datasets.load("data.npz").test.images, {}
    conv: dict[str, Any] = {"architecture": "cnn", "channels": [2, 3], "kernel_size": 3}
    for i, (optimizer, schedule) in enumerate(COMBINATIONS):
        settings: dict[str, Any] = {"optimizer": optimizer, "schedule": schedule, "weight_decay": 0.1 * (i % 2)}
        settings |= {"learning_rate": 0.01, "momentum": 0.9} if optimizer == "sgd" else {"learning_rate": 0.002}
        architecture = conv if (i + i // 4) % 2 else {}
        path = tmp_path / f"{i}.keras"
        model = Model(**architecture, hidden=[7, 5], batch_norm=True, dropout=0.2, **settings)
        net = checkpoint(model, path, "data.npz", PRECISIONS[i % 3])
        expected[path] = np.asarray(net.predict(images, verbose=0), "f4")
    for path, result in in_another_program(dict.fromkeys(expected, str(Path("data.npz").absolute())), tmp_path).items():
        np.testing.assert_array_equal(answered(result), expected[path])
        assert (result["warnings"], result["moved"]) == ([], True), path
        assert result["loss"][1] < result["loss"][0], path


@slow_except("tensorflow")
@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_another_backend_trains_it_further(backend: str, all_run: Path, pixels: str, folder: Path) -> None:
    """The outputs are nearly equal, in half precision."""
    path = folder / f"{backend}.keras"
    path.write_bytes((all_run / "model.keras").read_bytes())
    net = keras.saving.load_model(path)
    (result,) = in_another_program({path: pixels}, folder, backend).values()
    assert (result["warnings"], result["optimizer"]) == ([], "LossScaleOptimizer")
    assert result["loss"][1] < result["loss"][0]
    images = datasets.load(pixels).test.images
    np.testing.assert_allclose(answered(result), net.predict(images, verbose=0), atol=0.02)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras trains on one device on torch")
def test_a_run_on_two_devices_leaves_a_file_for_one(pixels: str, tmp_path: Path) -> None:
    words = (*CNN, "--data.validation_size", "1400", "--devices", "2", "--model.dropout", "0.3")
    process = started("fit", *flags(pixels, "out", *words))
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    path = tmp_path / "out/model.keras"
    (result,) = in_another_program({path: pixels}, tmp_path).values()
    assert (result["warnings"], result["moved"]) == ([], True)
    assert result["loss"][1] < result["loss"][0]
    net, _ = restore.restore("out/weights.safetensors")
    np.testing.assert_array_equal(answered(result), net.predict(datasets.load(pixels).test.images, verbose=0))
