"""Symptoms of a training: the measures, the hints that `train` prints, and that they change no number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from minigrad_helpers import sentence_of

from minigrad import Tensor, checkpoint, datasets, hints, nn, ops, optim, recipes, symptoms, train
from minigrad.classifier import Classifier
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.recipes.schema import Schedule
from minigrad.runs import Stopped, weights
from minigrad.runs.weights import NetworkSpec
from minigrad.training import TrainingState, train_epoch

pytestmark = pytest.mark.usefixtures("undrawn")

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 0.001},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.001},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001},
}


def recipe(epochs: int = 5, seed: int = 1, name: str = "simple", **model: Any) -> Recipe:
    result = recipes.load(name)
    result.data.path, result.trainer.max_epochs, result.seed_everything = "digits", epochs, seed
    result.model.kernel_size = 3
    for key, value in model.items():
        setattr(result.model, key, value)
    return result


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits", None, 42)


class Hints:
    """Trains and returns the printed hints."""

    def __init__(self, digits: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
        self.digits, self.capsys = digits, capsys

    def __call__(self, chosen: Recipe, out: str = "out", data: Dataset | None = None) -> list[str]:
        train.fit(chosen, data or self.digits, out, overwrite=True)
        printed = self.capsys.readouterr().out
        texts = re.findall(r"^hint: (.*\n(?:(?! *\d+  |hint: |test ).*\n)*)", printed, re.MULTILINE)
        assert len(texts) == printed.count("hint:")
        return [" ".join(text.split()) for text in texts]


@pytest.fixture
def hinted(digits: Dataset, capsys: pytest.CaptureFixture[str]) -> Hints:
    return Hints(digits, capsys)


# The measures.


def test_gradients_and_updates_are_those_of_the_weights() -> None:
    net = nn.Linear(2, 2, rng=np.random.default_rng(0))
    net.weight.data[...] = [[3, 0], [0, 4]]
    measured = symptoms.layers([("a.weight", net.weight), ("a.bias", net.bias)])  # type: ignore[list-item]
    assert list(measured) == ["a"]
    assert symptoms.gradient_norms(measured) == {"a": 0.0}
    ops.sum(net(np.array([[1.0, 2.0]], np.float32))).backward()
    assert symptoms.gradient_norms(measured)["a"] == pytest.approx(np.sqrt(1 + 4 + 1 + 4))
    before = symptoms.copy_of(measured)
    assert symptoms.update_ratios(before, measured) == {"a": 0.0}
    optim.SGD(net.parameters(), 0.1).step()
    assert symptoms.update_ratios(before, measured)["a"] == pytest.approx(0.1 * np.sqrt(10) / 5)
    before["a"][...] = 0
    assert symptoms.update_ratios(before, measured) == {"a": np.inf}


def test_a_unit_is_dead_if_it_is_0_for_all_inputs() -> None:
    x = np.array([[1, -1, -1], [-1, -1, 2]], np.float32)
    (dead,) = symptoms.dead_units(lambda: ops.relu(Tensor(x)))
    assert dead.tolist() == [False, True, False]
    images = np.stack([np.full((2, 3, 3), -1.0), np.stack([np.full((3, 3), -1.0), np.eye(3)])])
    (dead,) = symptoms.dead_units(lambda: ops.relu(images))
    assert dead.tolist() == [True, False]
    assert symptoms.dead_units(lambda: ops.tanh(x)) == []


# Trainings that go wrong, one per hint.


def zeros(chosen: Recipe, data: Dataset) -> str:
    net = Classifier(chosen.model, data.input_shape, data.classes, seed=1)
    arrays = {name: np.zeros_like(a) for name, a in net.state_dict().items()}
    weights.write(Path("start.safetensors"), arrays, NetworkSpec.of(chosen, data).metadata())
    return "start.safetensors"


def saturated(chosen: Recipe, data: Dataset) -> str:
    net = Classifier(chosen.model, data.input_shape, data.classes, seed=1)
    arrays = net.state_dict()
    arrays["hidden.0.weight"][...] = np.where(np.arange(10) % 2, 1e4, -1e4)[:, None]
    weights.write(Path("start.safetensors"), arrays, NetworkSpec.of(chosen, data).metadata())
    return "start.safetensors"


WRONG: dict[str, tuple[dict[str, Any], Any, str]] = {
    "diverging": (
        {"learning_rate": 100.0, "hidden": [128, 64]},
        None,
        r"The loss of epoch 3 after the first 30 steps is [\d.]+, more than 10 times .* guessing, 2.303. .*--model.learning_rate 10\.",
    ),
    "above_guessing": (
        {"learning_rate": 0.5, "momentum": 0.9, "hidden": [128, 64], "seed": 2},
        None,
        r"The loss of epoch 3 after the first 30 steps is [\d.]+, above 2.303, .*--model.learning_rate 0.05\.",
    ),
    "large_updates": (
        {"learning_rate": 1.0},
        None,
        r"One step changed the weight of (hidden.0|output) by 2\d % of its norm .*--model.learning_rate 0.1\.",
    ),
    "zero_weights": (
        {},
        zeros,
        r"The gradient of hidden.0 and output is 0 everywhere .* so is the weight of hidden.0 and output\..*zero_init",
    ),
    "dead_units": (
        {"learning_rate": 3.0},
        None,
        r"10 of the 10 units of hidden.0 are 0 for each of 256 training images .*--model.learning_rate 0.3\..*dead_units",
    ),
    "no_gradient": (
        {"activation": "tanh", "learning_rate": 0.01},
        saturated,
        r"The gradient of hidden.0 is 0 everywhere at the end of epoch 3, .*saturated.*dead_units",
    ),
    "small_updates": (
        {"learning_rate": 1e-6},
        None,
        r"The measured steps changed the weights by at most \de-05 % of their norm; .* too small; try --model.learning_rate 1e-05\.$",
    ),
}


def test_every_hint_is_tested() -> None:
    assert set(WRONG) == {symptom.__name__ for group in hints.GROUPS for symptom in group}


@pytest.mark.parametrize("name", WRONG)
def test_a_training_that_goes_wrong_gets_a_hint_once(name: str, hinted: Hints, digits: Dataset) -> None:
    model, start, expected = WRONG[name]
    chosen = recipe(**model)
    if start:
        chosen.model.weights = start(chosen, digits)
    printed = hinted(chosen)
    assert sum(bool(re.search(expected, text)) for text in printed) == 1, printed
    without = name == "small_updates"  # there is no example of it
    assert all(
        bool(re.search(r"An example: python -m minigrad.study break [a-z_]+$", text)) != without for text in printed
    )
    assert len(printed) <= 2


def test_the_hint_on_dead_units_has_the_number_of_images(hinted: Hints, digits: Dataset) -> None:
    few = Dataset(*(datasets.Split(x[:100], y[:100]) for x, y in (digits.train, digits.validation, digits.test)), 10)
    chosen = recipe(7, learning_rate=3.0)
    chosen.data.batch_size = 16
    (text,) = [text for text in hinted(chosen, data=few) if "dead" in text]
    assert "units of hidden.0 are 0 for each of 100 training images" in text


def test_weights_of_0_that_have_a_gradient_get_no_hint(hinted: Hints, digits: Dataset) -> None:
    # With sigmoid, hidden values of 1/2 give the output weight a gradient. It changes by a large share while it grows.
    chosen = recipe(activation="sigmoid")
    chosen.model.weights = zeros(chosen, digits)
    assert hinted(chosen) == []


def test_a_loss_of_nan_names_the_example(digits: Dataset) -> None:
    text = sentence_of(lambda: train.fit(recipe(learning_rate=1e30), digits, "out"))
    assert "the loss became nan in epoch 1; expected a smaller rate" in text
    assert "python -m minigrad.study break learning_rate" in text


# Healthy trainings.


@pytest.mark.parametrize("name", recipes.names())
def test_a_built_in_recipe_gets_no_hint(name: str, hinted: Hints) -> None:
    assert hinted(recipe(3, name=name)) == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_gets_no_hint(optimizer: str, hinted: Hints) -> None:
    assert hinted(recipe(4, name="advanced", **OPTIMIZERS[optimizer])) == []


SHORT = pytest.mark.parametrize(
    ("schedule", "epochs", "batch_size"),
    [(schedule, *size) for schedule in get_args(Schedule) for size in ((1, 32), (2, 64))],
)


@SHORT
def test_a_short_training_gets_no_hint(schedule: str, epochs: int, batch_size: int, hinted: Hints) -> None:
    # With sigmoid, the loss is still about that of guessing.
    chosen = recipe(epochs, activation="sigmoid", schedule=schedule)
    chosen.data.batch_size = batch_size
    assert hinted(chosen) == []


@SHORT
def test_a_short_training_with_small_updates_gets_a_hint(
    schedule: str, epochs: int, batch_size: int, hinted: Hints
) -> None:
    chosen = recipe(epochs, activation="sigmoid", schedule=schedule, learning_rate=1e-4)
    chosen.data.batch_size = batch_size
    (text,) = hinted(chosen)
    assert re.search(
        r"The measured steps changed the weights by at most 0\.00\d % .* try --model.learning_rate 0.001\.", text
    )


def test_the_small_learning_rates_at_the_start_of_one_cycle_get_no_hint(hinted: Hints) -> None:
    chosen = recipe(40, activation="sigmoid", schedule="one_cycle", learning_rate=0.003)
    chosen.data.batch_size = 32
    assert hinted(chosen) == []


def test_a_run_that_is_resumed_at_the_end_of_its_schedule_gets_no_hint(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = recipe(20, activation="sigmoid", schedule="cosine", learning_rate=0.01)

    def interrupt(path: Path, epoch: int, *state: Any, save: Any = checkpoint.save) -> None:
        save(path, epoch, *state)
        if epoch == 19:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", interrupt)
    with pytest.raises(Stopped):
        train.fit(chosen, digits, "out")
    train.fit(chosen, digits, "out", resume=True)
    assert "hint" not in capsys.readouterr().out


def test_images_that_are_classified_with_certainty_get_no_hint(hinted: Hints, digits: Dataset) -> None:
    few = Dataset(*(datasets.Split(x[:64], y[:64]) for x, y in (digits.train, digits.validation, digits.test)), 10)
    chosen = recipe(40, hidden=[64], optimizer="adam", learning_rate=0.02)
    chosen.data.batch_size = 16
    train.fit(chosen, few, "out")
    arrays, metadata = weights.read("out/weights.safetensors")
    for name in ("output.weight", "output.bias"):
        arrays[name] = 1000 * arrays[name]
    weights.write(Path("certain.safetensors"), arrays, metadata)
    chosen.model.weights, chosen.trainer.max_epochs = "certain.safetensors", 10
    assert hinted(chosen, data=few) == []
    assert weights.read("out/weights.safetensors")[0]["output.weight"].tobytes() == arrays["output.weight"].tobytes()


def test_units_are_measured_on_images_from_the_whole_data_set(hinted: Hints, digits: Dataset) -> None:
    # The first images are black, and no hidden unit is positive for them.
    images = digits.train.images.copy()
    images[:300] = 0
    data = Dataset(datasets.Split(images, digits.train.labels), digits.validation, digits.test, 10)
    chosen = recipe(learning_rate=0.01)
    arrays = Classifier(chosen.model, data.input_shape, 10, seed=1).state_dict()
    arrays["hidden.0.bias"][...] = -0.05
    weights.write(Path("start.safetensors"), arrays, NetworkSpec.of(chosen, data).metadata())
    chosen.model.weights = "start.safetensors"
    assert hinted(chosen, data=data) == []


@pytest.mark.parametrize(("batch_size", "hidden"), [(1, 2), (5, 10), (1294, 10)])
def test_unusual_batches_get_no_hint(batch_size: int, hidden: int, hinted: Hints) -> None:
    chosen = recipe(34 if batch_size > 1000 else 1, seed=42, hidden=[hidden])
    chosen.data.batch_size = batch_size
    assert hinted(chosen) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("optimizer", [None, *OPTIMIZERS])
@pytest.mark.parametrize("name", recipes.names())
def test_no_healthy_training_gets_a_hint(name: str, optimizer: str | None, seed: int, hinted: Hints) -> None:
    epochs = 6 if name == "cnn" else 20
    assert hinted(recipe(epochs, seed, name, **OPTIMIZERS.get(optimizer or "", {}))) == []


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "reduce_on_plateau"])
def test_no_schedule_gets_a_hint(activation: str, batch_norm: bool, schedule: str, hinted: Hints) -> None:
    chosen = recipe(30, name="advanced", activation=activation, batch_norm=batch_norm, schedule=schedule)
    assert hinted(chosen) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simple", "advanced"])
def test_mnist_gets_no_hint(name: str, hinted: Hints) -> None:
    chosen = recipes.load(name)
    chosen.trainer.max_epochs = 2
    assert hinted(chosen, data=datasets.load("mnist", None, 42)) == []


# It changes nothing.


@pytest.mark.parametrize(
    "model",
    [
        {"name": "advanced", "batch_norm": True, "hidden": [20]},
        {"name": "cnn", "channels": [2, 3]},
        {"learning_rate": 3.0},
    ],
)
def test_weights_are_those_of_a_training_without_hints(model: dict[str, Any], digits: Dataset) -> None:
    chosen = recipe(3, **model)
    train.fit(chosen, digits, "out")
    arrays, _ = weights.read("out/weights.safetensors")
    size = len(digits.train.labels)
    steps = datasets.steps_per_epoch(size, chosen.data.batch_size)
    state = TrainingState.start(NetworkSpec.of(chosen, digits), 3 * steps)
    for epoch in range(3):
        state.net.begin_epoch(epoch)
        batches = datasets.batches(size, chosen.data.batch_size, 1, epoch)
        shifts = datasets.epoch_shifts(size, 1, epoch) if chosen.data.augment == "shift" else None
        train_epoch(state.net, state.optimizer, *digits.train, batches, state.schedule, None, shifts)
    for key, expected in state.net.state_dict().items():
        assert arrays[key].tobytes() == expected.tobytes(), key


def test_two_steps_per_epoch_are_measured_the_second_is_the_last_with_a_full_batch(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    for name in ("copy_of", "gradient_norms", "update_ratios"):
        monkeypatch.setattr(symptoms, name, lambda *_, name=name: measured.append(name) or {})
    net = Classifier(recipe().model, digits.input_shape, 10)
    watcher = hints.Watcher(net, digits.train.images[:102], 10, 32, 0.1)
    for epoch in range(2):
        for i, _ in enumerate(watcher.batches(np.arange(102)[start : start + 32] for start in (0, 32, 64, 96))):
            assert measured == (["copy_of"] if i in (0, 2) else [])
            measured.clear()
            watcher.step(1 + i + 4 * epoch, 2.0, 0.1)
            assert measured == (["gradient_norms", "update_ratios"] if i in (0, 2) else [])
            measured.clear()
