"""One recipe and one weights file in this package and in minigrad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras_helpers import CNN, Command, epochs, flags, measured, once, slow_except, weights_of

from keras_model.model import get_weights
from keras_model.restore import restore
from minigrad import train

pytestmark = [pytest.mark.usefixtures("_undrawn"), slow_except("tensorflow", "torch")]

ONE_CYCLE = ("--model.schedule", "one_cycle")
NEW = ("--model.hidden", "[12, 8]", "--model.activation", "tanh")
RECIPES = {
    "momentum and decay": ("--model.momentum", "0.9", "--model.learning_rate", "0.02", "--model.weight_decay", "0.01"),
    "adam, cosine": (*NEW, "--model.optimizer", "adam", "--model.learning_rate", "0.01", "--model.schedule", "cosine"),
    "rmsprop, one cycle": (*NEW, "--model.optimizer", "rmsprop", "--model.learning_rate", "0.01", *ONE_CYCLE),
    "batch norm": (*NEW, "--model.batch_norm", "true", "--data.batch_size", "26"),
    "adamw": (*NEW, "--model.optimizer", "adamw", "--model.learning_rate", "0.01", "--model.weight_decay", "0.5"),
}


def test_weights_of_minigrad_have_the_same_metrics_here(minigrad_run: Path, pixels: str, command: Command) -> None:
    """The number of correct predictions is the same."""
    start = ("--model.weights", str(minigrad_run / "weights.safetensors"))
    assert command("test", *start, "--data.path", pixels, "--out", "out").status == 0
    assert measured("out")["test_correct"] == measured(minigrad_run)["test_correct"]
    assert measured("out")["test_loss"] == pytest.approx(measured(minigrad_run)["test_loss"], rel=1e-5)


def test_weights_of_this_package_have_the_same_metrics_in_minigrad(simple_run: Path, pixels: str) -> None:
    """The same in the other direction."""
    start = ("--model.weights", str(simple_run / "weights.safetensors"), "--trainer.max_epochs", "0")
    train.main(flags(pixels, "out", *start))
    assert measured("out")["test_correct"] == measured(simple_run)["test_correct"]
    assert measured("out")["test_loss"] == pytest.approx(measured(simple_run)["test_loss"], rel=1e-5)


# Each optimizer is compared step by step on every backend in test_optimizers.py.
@pytest.mark.parametrize("name", [*(pytest.param(name, marks=once) for name in RECIPES), "cnn"])
def test_one_recipe_means_one_training(name: str, easy: str, pixels: str, command: Command) -> None:
    """From the same initial weights: equal losses and accuracies in each epoch, equal weights at the end."""
    cnn = flags(pixels, "", *CNN, "--data.validation_size", "1000", "--data.batch_size", "100")
    words = cnn if name == "cnn" else flags(easy, "", *RECIPES[name])
    train.main([*words, "--out", "start", "--trainer.max_epochs", "0", "--seed_everything", "3"])
    start = ("--model.weights", "start/weights.safetensors")
    train.main([*words, *start, "--out", "minigrad"])
    assert command("fit", *words, *start, "--out", "keras").status == 0
    np.testing.assert_allclose(epochs("keras"), epochs("minigrad"), rtol=1e-4, atol=1e-6)
    for array_name, array in weights_of("minigrad").items():
        np.testing.assert_allclose(weights_of("keras")[array_name], array, atol=1e-4, err_msg=array_name)
    assert not np.allclose(weights_of("keras")["output.weight"], weights_of("start")["output.weight"], atol=1e-2)


@slow_except("torch")
def test_the_best_accuracy_stops_in_the_same_epoch_and_keeps_its_weights(easy: str, command: Command) -> None:
    """As in minigrad. Of equal epochs the first is the best, in model.keras too."""
    words = flags(easy, "", "--early_stopping.monitor", "val_accuracy", "--early_stopping.patience", "3")
    words += ["--trainer.max_epochs", "40"]
    train.main([*words, "--out", "start", "--trainer.max_epochs", "0", "--seed_everything", "3"])
    start = ("--model.weights", "start/weights.safetensors")
    train.main([*words, *start, "--out", "minigrad"])
    assert command("fit", *words, *start, "--out", "keras").status == 0
    np.testing.assert_allclose(epochs("keras"), epochs("minigrad"), rtol=1e-4, atol=1e-6)
    accuracies, losses = ([row[column] for row in epochs("keras")] for column in (4, 3))
    assert len(accuracies) == int(np.argmax(accuracies)) + 1 + 3 < 40
    assert accuracies[-1] == max(accuracies), "otherwise there is no tie"
    assert losses[-1] == min(losses), "otherwise the loss could have stopped the training"
    for name, array in weights_of("minigrad").items():
        np.testing.assert_allclose(weights_of("keras")[name], array, atol=1e-5, err_msg=name)
    kept, _ = restore("keras/model.keras")
    for name, array in get_weights(kept).items():
        np.testing.assert_array_equal(array, weights_of("keras")[name], err_msg=name)
