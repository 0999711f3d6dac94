"""From the same weights, Lightning and minigrad have the same metrics and weights after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_helpers import CNN, call, epochs, flags, kept, measured

from minigrad import datasets, recipes, train
from minigrad.classifier import Classifier
from minigrad.runs import run_command, weights

WAYS = {
    "sgd": (),
    "momentum": ("--model.momentum", "0.9", "--model.learning_rate", "0.05"),
    "weight decay": ("--model.weight_decay", "0.05"),
    "adam": ("--model.optimizer", "adam", "--model.learning_rate", "0.01", "--model.weight_decay", "0.01"),
    "adamw": ("--model.optimizer", "adamw", "--model.learning_rate", "0.01", "--model.weight_decay", "0.1"),
    "rmsprop": ("--model.optimizer", "rmsprop", "--model.learning_rate", "0.01", "--model.weight_decay", "0.01"),
    "one cycle": ("--model.schedule", "one_cycle"),
    "batch norm": ("--model.batch_norm", "true", "--model.hidden", "[12, 8]", "--data.batch_size", "26"),
    "cosine": ("--model.schedule", "cosine"),
    "tanh": ("--model.activation", "tanh"),
    "sigmoid": ("--model.activation", "sigmoid", "--model.learning_rate", "0.5"),
    "no validation": ("--data.validation_size", "0"),
}
PLATEAU = ("--model.schedule", "reduce_on_plateau", "--model.learning_rate", "0.5", "--trainer.max_epochs", "14")
ACCURACY = ("--early_stopping.monitor", "val_accuracy", "--early_stopping.patience", "3", "--trainer.max_epochs", "40")


def start(path: str, words: Sequence[str]) -> tuple[str, str]:
    """Write initial weights for the data at `path` and the recipe of `words`; return the options that use them."""
    data, recipe = datasets.load(path), recipes.to_recipe(recipes.recipe_parser("", "").parse_args(list(words)))
    net = Classifier(recipe.model, data.input_shape, data.classes, data.input_scale, seed=3)
    described = weights.NetworkSpec.of(recipe, data).metadata()
    weights.write(Path("start.safetensors"), net.state_dict(), described)
    return "--model.weights", "start.safetensors"


def both(path: str, *more: str) -> None:
    """Train with both, into the folders `lightning` and `numpy`."""
    words = [*start(path, more), *more]
    assert call(*flags(path, "lightning", *words)) == 0
    small = ("--data.path", path, "--data.batch_size", "16", "--data.validation_size", "30")
    assert run_command("", train.main, [*small, "--trainer.max_epochs", "3", "--out", "numpy", *words]) == 0


def agree(tolerance: float) -> None:
    a, b = epochs("lightning"), epochs("numpy")
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert [v is None for v in x] == [v is None for v in y]
        np.testing.assert_allclose([v or 0 for v in x], [v or 0 for v in y], rtol=tolerance, atol=tolerance)
    for name, array in kept("numpy").items():
        np.testing.assert_allclose(kept("lightning")[name], array, rtol=tolerance, atol=tolerance)
    assert measured("lightning")["test_correct"] == measured("numpy")["test_correct"]
    assert measured("lightning")["test_loss"] == pytest.approx(measured("numpy")["test_loss"], rel=tolerance)


@pytest.mark.parametrize("way", WAYS)
def test_history_weights_and_metrics_agree(way: str, easy: str) -> None:
    both(easy, *WAYS[way])
    agree(2e-5)


def test_the_rate_falls_in_the_same_epochs(hard: str) -> None:
    both(hard, *PLATEAU)
    agree(1e-3)
    assert epochs("numpy")[-1][-1] < 0.5, "otherwise the rate has not changed"


def test_the_best_accuracy_stops_in_the_same_epoch_and_keeps_its_weights(easy: str) -> None:
    both(easy, *ACCURACY)
    agree(2e-5)  # of equally many epochs, and of the kept weights
    rows = epochs("numpy")
    accuracies, losses = [row[4] for row in rows], [row[3] for row in rows]
    best = int(np.argmax(accuracies)) + 1
    assert len(rows) == best + 3 < 40
    assert accuracies[-1] == max(accuracies), "otherwise there is no tie"
    assert losses[-1] == min(losses), "otherwise the loss could have stopped the training"
    checkpoint = torch.load("lightning/best.ckpt", weights_only=True)
    assert checkpoint["epoch"] == best - 1
    for name, array in kept("lightning").items():
        np.testing.assert_array_equal(checkpoint["state_dict"][f"net.{name}"].numpy(), array)


def test_a_cnn_sees_the_same_moved_images(few: str) -> None:
    both(few, *CNN)
    agree(1e-4)


def test_pixels_are_scaled_alike(images: str) -> None:
    both(images, "--data.batch_size", "500")
    agree(1e-4)


def test_a_file_of_lightnings_evaluates_alike_in_numpy(run: Path, easy: str) -> None:
    words = ("--model.hidden", "[7]", "--model.weights", str(run / "weights.safetensors"))
    small = ("--data.path", easy, "--data.batch_size", "16", "--data.validation_size", "30")
    assert run_command("", train.main, [*small, *words, "--trainer.max_epochs", "0", "--out", "numpy"]) == 0
    assert measured("numpy")["test_correct"] == measured(run)["test_correct"]
    assert measured("numpy")["test_loss"] == pytest.approx(measured(run)["test_loss"], rel=1e-5)


def test_a_file_of_numpys_evaluates_alike_in_lightning(easy: str) -> None:
    small = ("--data.path", easy, "--data.batch_size", "16", "--data.validation_size", "30")
    assert run_command("", train.main, [*small, "--trainer.max_epochs", "3", "--out", "numpy"]) == 0
    words = ("--data.path", easy, "--model.weights", "numpy/weights.safetensors", "--data.validation_size", "30")
    assert call("test", *words, "--trainer.default_root_dir", "out") == 0
    assert measured("out")["test_correct"] == measured("numpy")["test_correct"]
    assert measured("out")["test_loss"] == pytest.approx(measured("numpy")["test_loss"], rel=1e-5)
