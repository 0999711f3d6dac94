"""A user's own optimizer, loss, metrics and class weights in `fit`."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_helpers import Command, epochs, flags, measured, once, same_run, slow_except, weights_of

import keras_model
from keras_model import resume
from keras_model.options import Options
from keras_model.part_checks import checked, try_parts
from keras_model.parts import Parts
from minigrad import recipes
from minigrad.recipes import Data, Model, Recipe, Trainer
from minigrad.runs import Epoch, NetworkSpec, RunRecorder, Stopped, UserError
from minigrad.runs.history import COLUMNS

pytestmark = [pytest.mark.usefixtures("_undrawn"), slow_except("torch")]

ACCURACY = "sparse_categorical_accuracy"
WEIGHTS = {0: 1.0, 2: 5.0}


def recipe_of(path: str, **model: Any) -> Recipe:
    """Three epochs of nine steps."""
    return Recipe(model=Model(**model), data=Data(path, batch_size=16, validation_size=30), trainer=Trainer(3))


def adamw(rate: float = 0.02) -> keras.optimizers.Optimizer:
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=9, decay_rate=0.5)
    return keras.optimizers.AdamW(schedule, weight_decay=0.1)


def parts() -> dict[str, Any]:
    """One part of each kind, of Keras's own classes."""
    metrics = [ACCURACY, keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    return {"optimizer": adamw(), "loss": loss, "metrics": metrics, "class_weight": WEIGHTS}


def same_weights(a: str, b: str, tolerance: float = 1e-6) -> None:
    for name, array in weights_of(a).items():
        np.testing.assert_allclose(array, weights_of(b)[name], atol=tolerance, err_msg=name)


def weighted(labels: Any, logits: Any) -> Any:
    """The cross-entropy of each image times the weight of its class."""
    weight = keras.ops.take(keras.ops.convert_to_tensor([1.0, 1.0, 5.0]), keras.ops.cast(labels, "int32"))
    return weight * keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def test_class_weights_weight_the_training_loss_only(easy: str) -> None:
    """As a loss does that multiplies by the weight itself; the other classes have weight 1, in `fit` and in the options."""
    own = keras_model.fit(recipe_of(easy), out="own", loss=weighted)
    keras_model.fit(recipe_of(easy), out="argument", class_weight=WEIGHTS)
    keras_model.fit(recipe_of(easy), out="option", options=Options(class_weight=WEIGHTS))
    plain = keras_model.fit(recipe_of(easy), out="plain")
    same_weights("argument", "own")
    same_run("argument", "option")
    assert np.abs(weights_of("plain")["output.bias"] - weights_of("own")["output.bias"]).max() > 1e-2
    for row, other in zip(epochs("argument"), epochs("own"), strict=True):
        assert row[1] == pytest.approx(other[1], rel=1e-5), "the loss in training is weighted"
        assert row[3] != pytest.approx(other[3], rel=1e-2), "that in validation is not"
    assert own.metrics["test_loss"] != plain.metrics["test_loss"]


@once
def test_an_optimizer_and_a_loss_replace_the_recipes(easy: str) -> None:
    """SGD of Keras without momentum is that of the recipe; the recipe's schedule is not applied to it."""
    keras_model.fit(recipe_of(easy), out="recipe")
    other = recipe_of(easy, optimizer="adam", learning_rate=7.0, schedule="reduce_on_plateau")
    optimizer = keras.optimizers.SGD(0.1)
    keras_model.fit(other, out="own", optimizer=optimizer, loss="sparse_categorical_crossentropy")
    same_weights("own", "recipe")
    np.testing.assert_allclose([row[1:] for row in epochs("own")], [row[1:] for row in epochs("recipe")], rtol=1e-5)
    rates = [e.learning_rate for e in keras_model.fit(recipe_of(easy), out="falling", optimizer=adamw()).history]
    assert rates == pytest.approx([0.01, 0.005, 0.0025], rel=0.1)


@once
def test_metrics_are_columns_of_keras_log_and_in_the_logs_of_callbacks(easy: str) -> None:
    seen: list[dict[str, float]] = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    metrics = [keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2"), "SparseCategoricalCrossentropy"]
    keras_model.fit(recipe_of(easy), out="out", metrics=metrics, callbacks=[callback])
    with Path("out/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, logs, epoch in zip(rows, seen, epochs("out"), strict=True):
        for prefix in ("", "val_"):
            assert float(row[f"{prefix}top_2"]) == pytest.approx(logs[f"{prefix}top_2"])
            assert 0.5 < logs[f"{prefix}top_2"] <= 1
        assert float(row["val_sparse_categorical_crossentropy"]) == pytest.approx(epoch[3], rel=1e-5), "of logits"
    assert Path("out/history.csv").read_text().splitlines()[0].split(",") == COLUMNS
    keras_model.fit(recipe_of(easy), out="plain")
    same_weights("out", "plain", 0)
    assert measured("out") == measured("plain")


def test_a_run_with_a_users_parts_is_resumed_exactly(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer's state and step are restored; other parts are refused."""
    recipe, options = recipe_of(easy, dropout=0.2), Options(ema=0.9)
    keras_model.fit(recipe, out="whole", options=options, **parts())
    real = resume.ResumableState.on_epoch_end

    def interrupted(self: Any, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        if epoch == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(resume.ResumableState, "on_epoch_end", interrupted)
        with pytest.raises(Stopped):
            keras_model.fit(recipe, out="parts", options=options, **parts())
    for name, value in {"optimizer": adamw(0.03), "loss": None, "metrics": [], "class_weight": {0: 2.0}}.items():
        with pytest.raises(UserError, match=rf"--resume: {name}[\w.]* is .*, but the run was made with .*; expected "):
            keras_model.fit(recipe, out="parts", options=options, resume=True, **{**parts(), name: value})
    keras_model.fit(recipe, out="parts", options=options, resume=True, **parts())
    same_run("parts", "whole")
    assert Path("parts/metrics.csv").read_bytes() == Path("whole/metrics.csv").read_bytes()


@once
def test_recipe_yaml_describes_the_parts_and_is_not_accepted_as_a_recipe(easy: str) -> None:
    observer = keras.callbacks.CSVLogger("log.csv")
    acting = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.5)
    options = Options(ema=0.9)
    more: dict[str, Any] = {"loss": weighted, "class_weight": WEIGHTS, "callbacks": [observer, acting]}
    keras_model.fit(recipe_of(easy), out="out", options=options, optimizer=optimizer, **more)
    recipe, extra = recipes.read_trained(Path("out/recipe.yaml"))
    assert recipe == recipe_of(easy)
    assert extra["optimizer"]["class_path"] == "keras.optimizers.SGD"
    assert extra["optimizer"]["init_args"]["momentum"] == 0.5
    assert extra["loss"].endswith("test_parts.weighted")
    assert (extra["class_weight"], extra["ema"], extra["callbacks"]) == (WEIGHTS, 0.9, ["LearningRateScheduler"])
    with pytest.raises(UserError, match=r"a recipe has no keys \(ema, class_weight, optimizer, loss, callbacks\)"):
        recipes.load("out/recipe.yaml")
    keras_model.fit(recipe_of(easy), out="neutral", metrics=[ACCURACY], callbacks=[observer])
    assert recipes.load("neutral/recipe.yaml") == recipe_of(easy)


# Loads the file in a program without this package, and trains it further; its path is the argument.
PROGRAM = """
import sys
import keras, numpy as np
net = keras.saving.load_model(sys.argv[1], safe_mode=True)
x, y = np.zeros((8, *net.input_shape[1:]), "float32"), np.arange(8) % 3
net.fit(x, y, verbose=0)
print(type(net.optimizer).__name__, *net.evaluate(x, y, verbose=0, return_dict=True), "keras_model" in sys.modules)
"""


@once
def test_model_keras_is_compiled_with_the_parts(easy: str) -> None:
    keras_model.fit(recipe_of(easy), out="out", **parts())
    with zipfile.ZipFile("out/model.keras") as archive:
        compiled = json.loads(archive.read("config.json"))["compile_config"]
    assert compiled["optimizer"]["config"]["learning_rate"]["class_name"] == "ExponentialDecay"
    assert compiled["loss"]["config"]["reduction"] == "sum"
    assert [metric["config"]["name"] for metric in compiled["metrics"][1:]] == [ACCURACY, "nats"]
    assert "keras_model" not in json.dumps(compiled)
    assert "keras.src" not in json.dumps(compiled)


@pytest.mark.slow
@once
def test_model_keras_loads_without_this_package(easy: str) -> None:
    keras_model.fit(recipe_of(easy), out="out", **parts())
    command = [sys.executable, "-c", PROGRAM, "out/model.keras"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["AdamW", "accuracy", "loss", "nats", ACCURACY, "False"], done.stderr


class Odd(keras.metrics.Metric):
    """A metric that needs other labels."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        raise ZeroDivisionError("odd")

    def result(self) -> float:
        return 0.0


def ignoring(value: Any) -> Any:
    """A loss that returns the same value for all labels and logits."""

    def loss(labels: Any, logits: Any) -> Any:
        return value

    return loss


def per_class(labels: Any, logits: Any) -> Any:
    return logits**2


def of_probabilities(labels: Any, logits: Any) -> Any:
    return -keras.ops.log(logits[:, 0])


def whole(labels: Any, logits: Any) -> Any:
    return keras.ops.argmax(logits, axis=-1)


def known_classes(labels: Any, logits: Any) -> Any:
    """A loss for two classes only."""
    return logits[:, 0] + keras.ops.convert_to_tensor([[1.0, 2.0][int(k)] for k in labels])


def for_integers(labels: Any, logits: Any) -> Any:
    """A loss that indexes by the labels, which Keras converts to float32."""
    return logits[:, 0] + keras.ops.convert_to_tensor([[1.0, 2.0, 3.0][k] for k in np.asarray(labels)])


def assuming_probabilities(labels: Any, logits: Any, from_logits: bool = False) -> Any:
    return keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits)


def built() -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.SGD()
    optimizer.build([keras.Variable(np.zeros(1))])
    return optimizer


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "optimizer's name": (
        {"optimizer": "adam"},
        "optimizer: 'adam'; expected an instance of keras.optimizers.Optimizer",
    ),
    "used optimizer": ({"optimizer": built}, "optimizer: this SGD already belongs to a network; expected a new one"),
    "average": ({"optimizer": lambda: keras.optimizers.SGD(use_ema=True)}, "optimizer: SGD has use_ema=True; expected"),
    "unknown loss": ({"loss": "huge"}, "loss: huge; expected an instance, or the name of a class in keras.losses"),
    "loss": ({"loss": 3}, "loss: 3; expected a Keras loss, its name, or a function of labels and logits"),
    "probabilities": (
        {"loss": lambda: keras.losses.SparseCategoricalCrossentropy()},
        "loss: SparseCategoricalCrossentropy has from_logits=False; expected True, since the network returns logits",
    ),
    "one-hot labels": (
        {"loss": "categorical_crossentropy"},
        "loss: CategoricalCrossentropy does not compare integer labels with logits; expected SparseCategoricalCrossentropy",
    ),
    "function of probabilities": (
        {"loss": lambda: keras.losses.sparse_categorical_crossentropy},
        "loss: sparse_categorical_crossentropy has from_logits=False by default; expected True, since the network",
    ),
    "own function of probabilities": (
        {"loss": lambda: assuming_probabilities},
        "loss: assuming_probabilities has from_logits=False by default; expected True",
    ),
    "metric of a function": (
        {"metrics": lambda: [keras.metrics.MeanMetricWrapper(keras.metrics.sparse_categorical_crossentropy)]},
        "metrics: sparse_categorical_crossentropy has from_logits=False by default; expected True",
    ),
    "no result": (
        {"loss": lambda: ignoring(None)},
        "loss: ignoring.<locals>.loss returns None; expected one number per image",
    ),
    "text": (
        {"loss": lambda: ignoring("a")},
        "loss: ignoring.<locals>.loss returns 'a'; expected one number per image",
    ),
    "constant": (
        {"loss": lambda: ignoring(keras.ops.ones(4))},
        "loss: ignoring.<locals>.loss returns the same for different logits; expected one number per image",
    ),
    "number per class": (
        {"loss": lambda: per_class},
        "loss: per_class returns shape (4, 3) for 4 images; expected one number per image",
    ),
    "nan": (
        {"loss": lambda: of_probabilities},
        "loss: of_probabilities returns NaN or infinity; expected one number per",
    ),
    "integers": ({"loss": lambda: whole}, "loss: whole returns int"),
    "classes": (
        {"loss": lambda: known_classes},
        "loss: known_classes fails for labels of shape (4,) as float32 and logits",
    ),
    "integer labels": ({"loss": lambda: for_integers}, "loss: for_integers fails for labels of shape (4,) as float32"),
    "mean squared error": (
        {"loss": lambda: keras.losses.MeanSquaredError()},
        "loss: MeanSquaredError does not compare integer labels with logits; expected a loss that does, such as Sparse",
    ),
    "its function": (
        {"loss": lambda: keras.losses.mean_squared_error},
        "loss: mean_squared_error does not compare integer labels with logits; expected a loss that does",
    ),
    "one-hot accuracy": (
        {"metrics": lambda: [keras.metrics.CategoricalAccuracy()]},
        "metrics: CategoricalAccuracy does not compare integer labels with logits; expected SparseCategoricalAccuracy",
    ),
    "one-hot IoU": (
        {"metrics": lambda: [keras.metrics.OneHotMeanIoU(3)]},
        "metrics: OneHotMeanIoU does not compare integer labels with logits; expected MeanIoU",
    ),
    "binary": (
        {"metrics": ["AUC"]},
        "metrics: AUC does not compare integer labels with logits; expected a metric that does, such as",
    ),
    "IoU of classes": (
        {"metrics": lambda: [keras.metrics.MeanIoU(3)]},
        "metrics: MeanIoU fails for labels of shape (4,)",
    ),
    "class of an optimizer": (
        {"optimizer": lambda: keras.optimizers.SGD},
        "optimizer: the class SGD; expected an instance of keras.optimizers.Optimizer",
    ),
    "class of a loss": (
        {"loss": lambda: keras.losses.SparseCategoricalCrossentropy},
        "loss: the class SparseCategoricalCrossentropy; expected an instance",
    ),
    "class of a metric": (
        {"metrics": [keras.metrics.SparseCategoricalAccuracy]},
        "metrics: the class SparseCategoricalAccuracy; expected an instance",
    ),
    "one metric": (
        {"metrics": lambda: keras.metrics.SparseCategoricalAccuracy()},
        "metrics: an object of the class SparseCategoricalAccuracy; expected a list of Keras metrics or their names",
    ),
    "class of a callback": (
        {"callbacks": [keras.callbacks.TerminateOnNaN]},
        "callbacks: the class TerminateOnNaN; expected an instance",
    ),
    "function as a callback": ({"callbacks": [print]}, "callbacks: the function print; expected Keras callbacks"),
    "one callback": (
        {"callbacks": keras.callbacks.TerminateOnNaN()},
        "callbacks: an object of the class TerminateOnNaN; expected a list of Keras callbacks",
    ),
    "no callbacks": ({"callbacks": None}, "callbacks: None; expected a list of Keras callbacks"),
    "options": (
        {"options": {"ema": 0.9}},
        "options: {'ema': 0.9}; expected an instance of keras_model.options.Options",
    ),
    "ema": ({"options": Options(ema="0.9")}, "ema: '0.9'; expected a momentum above 0"),  # type: ignore[arg-type]
    "precision": (
        {"options": Options(precision="float64")},  # type: ignore[arg-type]
        "precision: 'float64'; expected float32, mixed_bfloat16 or mixed_float16",
    ),
    "number of devices": ({"options": Options(devices=1.5)}, "devices: 1.5; expected 1 or more"),  # type: ignore[arg-type]
    "folder": ({"out": 3}, "out: 3; expected the path of a run folder, or None"),
    "arrays": (
        {"data": np.zeros((2, 3))},
        "data: array([[0., 0., 0.], [0., 0., 0.]]); expected a minigrad.datasets.Dataset",
    ),
    "data": ({"data": "mnist.npz"}, "data: 'mnist.npz'; expected a minigrad.datasets.Dataset, or None"),
    "mapping as a recipe": (
        {"recipe": {"model": {}}},
        "recipe: {'model': {}}; expected a Recipe, the name of a built-in one, or the path of a YAML file",
    ),
    "no recipe": (
        {"recipe": None},
        "recipe: None; expected a Recipe, the name of a built-in one, or the path of a YAML",
    ),
    "metric": ({"metrics": [3]}, "metrics: 3; expected Keras metrics or their names"),
    "metrics": ({"metrics": "accuracy"}, "metrics: 'accuracy'; expected a list"),
    "unknown metric": (
        {"metrics": ["top"]},
        "metrics: top; expected an instance, or the name of a class in keras.metrics",
    ),
    "arguments": ({"metrics": ["mean_io_u"]}, "metrics: mean_io_u needs arguments; expected an instance of MeanIoU"),
    "twice": ({"metrics": ["accuracy"]}, "metrics: two metrics have the name accuracy; expected another name"),
    "failing metric": ({"metrics": lambda: [Odd()]}, "metrics: Odd fails for labels of shape (4,)"),
    "devices": (
        {"metrics": [ACCURACY], "options": Options(devices=2)},
        "devices: 2 with metrics of your own; expected 1",
    ),
    "class": ({"class_weight": {3: 1.0}}, "class_weight: 3 is not a class; expected numbers from 0 to 2"),
    "name of a class": (
        {"class_weight": {"a": 1.0}},
        "class_weight: 'a' is not a class; expected the number of a class",
    ),
    "negative weight": (
        {"class_weight": {0: -1.0}},
        "class_weight: class 0 has -1.0; expected a finite number, 0 or more",
    ),
    "no weight": ({"class_weight": {0: None}}, "class_weight: class 0 has None; expected a finite number"),
    "zeros": ({"class_weight": {0: 0.0}}, "class_weight: all weights are 0; expected at least one above 0"),
    "balanced": ({"class_weight": "balanced"}, "class_weight: 'balanced'; expected a weight for each class"),
}


@once
@pytest.mark.parametrize("name", REFUSED)
def test_a_part_that_cannot_be_used_is_refused_before_training(name: str, easy: str) -> None:
    given, message = REFUSED[name]
    arguments = {"recipe": recipe_of(easy), "out": "out"} | {k: v() if callable(v) else v for k, v in given.items()}
    with pytest.raises(UserError) as refused:
        keras_model.fit(**arguments)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert list(Path().iterdir()) == []


@once
def test_a_function_for_logits_and_metrics_for_integer_labels_are_accepted() -> None:
    loss = partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)
    nats = keras.metrics.MeanMetricWrapper(keras.metrics.sparse_categorical_crossentropy, "nats", from_logits=True)
    metrics = [ACCURACY, nats, keras.metrics.MeanIoU(3, sparse_y_pred=False)]
    for part in (loss, weighted, keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)):
        accepted = checked(None, part, metrics, (), 1)
        try_parts(accepted, 3)
        assert accepted.metrics[1].count == 0, "its state is reset"


def with_union(**more: Any) -> dict[str, Any]:
    return {"metrics": [keras.metrics.MeanIoU(3, sparse_y_pred=False), ACCURACY], **more}


@once
def test_numbers_in_names_that_keras_chose_do_not_matter(easy: str) -> None:
    """A metric without a name is mean_io_u, or mean_io_u_1 if the process has built one before."""
    keras_model.fit(replace(recipe_of(easy), trainer=Trainer(1)), out="out", **with_union())
    rows = Path("out/metrics.csv").read_text().splitlines()
    assert rows[0] == f"epoch,accuracy,loss,mean_io_u,{ACCURACY},val_accuracy,val_loss,val_mean_io_u,val_{ACCURACY}"
    again = keras_model.fit(replace(recipe_of(easy), trainer=Trainer(1)), out="out", **with_union(), resume=True)
    assert len(again.history) == 1
    assert Path("out/metrics.csv").read_text().splitlines() == rows
    two = Parts(metrics=[keras.metrics.MeanIoU(3), keras.metrics.MeanIoU(3), keras.metrics.MeanIoU(3, name="mine")])
    assert list(two.columns.values()) == ["mean_io_u", "mean_io_u_1", "mine"]


@once
def test_a_divergence_names_the_users_optimizer(easy: str) -> None:
    with pytest.raises(UserError) as refused:
        keras_model.fit(recipe_of(easy), out="out", optimizer=keras.optimizers.SGD(1e30))
    assert str(refused.value).startswith("optimizer: SGD: the loss became ")
    assert "model.learning_rate" not in str(refused.value)
    own = {"optimizer": {"class_path": "keras.optimizers.SGD"}}
    run = RunRecorder(Path("out"), NetworkSpec(Recipe(), (2,), 3, 1.0, own), "", [Epoch(1, 0, 0, 0, 0, 0, 0)])
    with pytest.raises(UserError, match=r"^optimizer: SGD: the network's outputs .* are NaN or infinite; expected"):
        run.test(np.full((1, 3), np.nan), np.zeros(1, int), 1)


def test_the_refusal_of_a_resumed_run_names_what_differs() -> None:
    now = Parts(optimizer=adamw(0.03), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)).settings()
    before = Parts(optimizer=adamw(), loss=None).settings()
    name, value, earlier = resume.first_difference("optimizer", now["optimizer"], before["optimizer"])
    assert (name, value, earlier) == ("optimizer.learning_rate.initial_learning_rate", 0.03, 0.02)
    other = Parts(optimizer=keras.optimizers.SGD()).settings()["optimizer"]
    assert resume.first_difference("optimizer", now["optimizer"], other) == (
        "optimizer",
        "keras.optimizers.AdamW",
        "keras.optimizers.SGD",
    )
    assert resume.first_difference("loss", now["loss"], before["loss"]) == (
        "loss",
        "keras.losses.SparseCategoricalCrossentropy",
        None,
    )
    assert resume.first_difference("class_weight", {"0": 1.0}, {"0": 1.0, "1": 2.0}) == ("class_weight.1", None, 2.0)


@once
def test_class_weights_are_a_flag_and_a_key(easy: str, command: Command) -> None:
    assert command("fit", *flags(easy, "flag", "--class_weight", "{0: 1.0, 2: 5.0}")).status == 0
    assert command("fit", "--config", "flag/recipe.yaml", "--out", "key").status == 0
    same_run("flag", "key")
    keras_model.fit(recipe_of(easy), out="python", class_weight=WEIGHTS)
    same_run("flag", "python")
    result = command("fit", *flags(easy, "out", "--class_weight", "[1, 2]"))
    assert (result.status, result.err) == (
        2,
        "python -m keras_model: error: class_weight: [1, 2]; expected numbers by class such as {0: 1.0, 1: 5.0} or null\n",
    )
