"""The command: what it leaves, what it refuses, and going on after an interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import Command, clouds, complaints, flags

import minigrad
from minigrad import Tensor, datasets, optim, recipes, train
from minigrad.classifier import Classifier
from minigrad.runs import history, metrics, weights
from minigrad.training import build_optimizer

pytestmark = pytest.mark.usefixtures("undrawn")

LEFT = [
    *(".files.json", "checkpoint.safetensors", "curves.png", "history.csv", "metrics.json", "recipe.yaml"),
    *("reliability.png", "weights.safetensors"),
]


def measured(out: str | Path) -> dict[str, Any]:
    return json.loads(Path(out, "metrics.json").read_text())


def epochs(out: str | Path) -> list[tuple[Any, ...]]:
    """The history without its seconds, which are never the same twice."""
    return [tuple(vars(e).values())[:-1] for e in history.read(Path(out, "history.csv"))]


def same_weights(a: str | Path, b: str | Path) -> None:
    """Equal to the last bit, and so are the files."""
    (x, described_x), (y, described_y) = (weights.read(Path(p, "weights.safetensors")) for p in (a, b))
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].tobytes() == y[name].tobytes(), name
    assert described_x == described_y
    assert Path(a, "weights.safetensors").read_bytes() == Path(b, "weights.safetensors").read_bytes()


def bars_of(seed: int, count: int) -> dict[str, np.ndarray]:
    """8x8 pixels with one bar, which lies, stands or leans; moved by a pixel, it is still what it was."""
    rng = np.random.default_rng(seed)
    labels, images = np.arange(count) % 3, rng.integers(0, 60, (count, 8, 8)).astype(np.uint8)
    diagonal = np.arange(8)
    for label, image in zip(labels, images, strict=True):
        at = rng.integers(1, 7)
        where = [(at, slice(None)), (slice(None), at), (diagonal, (diagonal + at) % 8)][label]
        image[where] = 255
    cut = count * 4 // 5
    return {"x_train": images[:cut], "y_train": labels[:cut], "x_test": images[cut:], "y_test": labels[cut:]}


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> str:
    """120 images to train, 30 to test."""
    path = tmp_path_factory.mktemp("bars") / "bars.npz"
    np.savez(path, **bars_of(0, 150))
    return str(path)


# What it leaves.


@pytest.mark.usefixtures("drawn")
def test_it_learns_and_leaves_a_run_folder(easy: str, command: Command) -> None:
    result = command(*flags(easy, "out"))
    assert (result.status, complaints(result.err)) == (0, [])
    assert sorted(p.name for p in Path("out").iterdir()) == LEFT
    found = measured("out")
    assert found["test_accuracy"] > 0.8  # chance is a third
    assert found["test_accuracy"] == found["test_correct"] / found["test_images"]
    assert (found["test_images"], found["epochs"], found["parameters"]) == (40, 3, 6 * 10 + 10 + 10 * 3 + 3)
    assert result.out.strip().endswith(f"{metrics.test_accuracy_text(found)}, in out")
    rows = history.read(Path("out/history.csv"))
    assert [e.epoch for e in rows] == [1, 2, 3]
    assert rows[-1].train_loss < rows[0].train_loss
    assert all(e.learning_rate == 0.1 and e.seconds > 0 for e in rows)
    assert Path("out/curves.png").read_bytes().startswith(b"\x89PNG")


def test_it_learns_mnist(command: Command) -> None:
    assert command("--trainer.max_epochs", "1", "--out", "out").status == 0
    assert measured("out")["test_accuracy"] > 0.85
    assert measured("out")["test_images"] == 10_000


def test_the_same_seed_gives_the_same_run(easy: str, command: Command) -> None:
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        command(*flags(easy, out, "--seed_everything", seed, "--model.dropout", "0.3"))
    same_weights("a", "b")
    assert epochs("a") == epochs("b")
    assert epochs("a") != epochs("c")


def test_without_out_runs_are_numbered(easy: str, command: Command) -> None:
    words = flags(easy, "")[:-2]
    assert [command(*words).status for _ in range(2)] == [0, 0]
    assert sorted(p.name for p in Path("runs").iterdir()) == ["minigrad-1", "minigrad-2"]


def test_the_recipe_it_leaves_feeds_back_in(easy: str, command: Command) -> None:
    command(*flags(easy, "a", "--model.hidden", "[7, 5]", "--model.optimizer", "adam"))
    assert command("--config", "a/recipe.yaml", "--out", "b").status == 0
    same_weights("a", "b")
    assert Path("a/recipe.yaml").read_text() == Path("b/recipe.yaml").read_text()


def test_the_configuration_it_prints_feeds_back_in(
    easy: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags(easy, "a", "--model.hidden", "[7, 5]", "--model.learning_rate", "1e-05")
    with pytest.raises(SystemExit) as ended:
        command(*words, "--print_config")
    assert not ended.value.code
    Path("printed.yaml").write_text(capsys.readouterr().out)
    assert not Path("a").exists()
    assert command("--config", "printed.yaml").status == 0
    assert recipes.load("a/recipe.yaml").model.hidden == [7, 5]
    assert recipes.load("a/recipe.yaml").model.learning_rate == 1e-05


@pytest.mark.parametrize("name", recipes.names())
def test_each_built_in_recipe_runs(name: str, easy: str, bars: str, command: Command) -> None:
    suits = bars if recipes.load(name).model.architecture == "cnn" else easy
    result = command("--config", name, *flags(suits, "out"), "--trainer.max_epochs", "1")
    assert result.status == 0
    left, built_in = recipes.load("out/recipe.yaml"), recipes.load(name)
    assert left.model == built_in.model
    assert left.data.augment == built_in.data.augment
    assert left.trainer.max_epochs == 1


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_each_optimizer_and_activation_learns(optimizer: str, activation: str, easy: str, command: Command) -> None:
    rate = "0.5" if optimizer == "sgd" else "0.02"
    words = ("--model.optimizer", optimizer, "--model.activation", activation, "--model.learning_rate", rate)
    assert command(*flags(easy, "out", *words, "--trainer.max_epochs", "6")).status == 0
    assert measured("out")["test_accuracy"] > 0.8


CNN = ("--model.architecture", "cnn", "--model.channels", "[4, 6]", "--model.kernel_size", "3", "--model.hidden", "[]")
NORM = ("--model.batch_norm", "true")
SHIFT = ("--data.augment", "shift")
ONE_CYCLE = ("--model.schedule", "one_cycle")
RMSPROP = ("--model.optimizer", "rmsprop", "--model.learning_rate", "0.01")
ADAM = ("--model.optimizer", "adam", "--model.learning_rate", "0.02")


@pytest.mark.parametrize(
    "words",
    [CNN, (*CNN, *NORM), (*CNN, *SHIFT), (*CNN, *NORM, *SHIFT, *ONE_CYCLE), (*NORM, "--model.hidden", "[20]")],
    ids=["cnn", "normed", "shifted", "all at once", "normed mlp"],
)
def test_it_learns_bars(words: tuple[str, ...], bars: str, command: Command) -> None:
    result = command(*flags(bars, "out", *words, *ADAM, "--trainer.max_epochs", "15"))
    assert (result.status, complaints(result.err)) == (0, [])
    assert measured("out")["test_accuracy"] > 0.8  # chance is a third
    net = Classifier(recipes.load("out/recipe.yaml").model, (8, 8), 3)
    assert measured("out")["parameters"] == sum(p.size for p in net.parameters())
    if "cnn" in words:
        assert "8x8, 4-6 channels of 3x3, then 24-3" in result.out


def test_an_epoch_moves_each_training_image_and_no_other(bars: str, command: Command) -> None:
    # At a rate of 0 the weights at the end are those that every image was shown to.
    still = (*CNN, "--model.learning_rate", "0", "--seed_everything", "5")
    command(*flags(bars, "moved", *still, *SHIFT))
    command(*flags(bars, "still", *still))
    same = [row[3:5] for row in epochs("still")]
    assert [row[3:5] for row in epochs("moved")] == same
    assert measured("moved") == measured("still")
    data = datasets.load(bars, 30, 5)
    net = Classifier(recipes.load("moved/recipe.yaml").model, (8, 8), 3)
    net.load_state_dict(weights.read("moved/weights.safetensors")[0])
    losses = []
    for epoch, row in enumerate(epochs("moved")):
        shifts = datasets.epoch_shifts(len(data.train.labels), 5, epoch)
        expected = metrics.score(net.predict(datasets.shifted(data.train.images, shifts)), data.train.labels)
        assert row[1] == pytest.approx(expected["loss"], rel=1e-5)
        assert row[2] == expected["accuracy"]
        losses.append(row[1])
    assert len(set(losses)) == 3, "each epoch moves them anew"
    unmoved = metrics.score(net.predict(data.train.images), data.train.labels)
    assert epochs("still")[0][1] == pytest.approx(unmoved["loss"], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_cycle_goes_up_for_3_steps_in_10_and_then_down(optimizer: str, easy: str, command: Command) -> None:
    words = (*ONE_CYCLE, "--model.optimizer", optimizer, "--model.learning_rate", "0.05", "--trainer.max_epochs", "6")
    assert command(*flags(easy, "out", *words)).status == 0
    steps = 9 * 6  # 130 images in batches of 16
    top, last = 0.3 * steps - 1, steps - 1

    def rate(t: int) -> float:
        low, part = (0.05 / 25, t / top) if t <= top else (0.05 / 25 / 1e4, 1 - (t - top) / (last - top))
        return low + (0.05 - low) * (1 - np.cos(np.pi * part)) / 2

    rates = [row[-1] for row in epochs("out")]
    np.testing.assert_allclose(rates, [rate(9 * epoch) for epoch in range(1, 7)], rtol=1e-9)
    assert max(rates) == rates[1]


@pytest.mark.parametrize("size", ["0", "30"])
def test_one_cycle_of_a_single_step_runs(size: str, easy: str, command: Command) -> None:
    words = ("--data.validation_size", size, "--data.batch_size", str(160 - int(size)), "--trainer.max_epochs", "1")
    assert command(*flags(easy, "out", *words, *ONE_CYCLE)).status == 0
    assert len(epochs("out")) == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", optim.SGD), ("rmsprop", optim.RMSprop), ("adam", optim.Adam), ("adamw", optim.AdamW)]
)
def test_the_optimizer_is_the_one_named_with_the_settings_of_the_recipe(name: Any, kind: type) -> None:
    momentum = 0.4 if name == "sgd" else 0.0
    model = recipes.Model(optimizer=name, learning_rate=0.3, weight_decay=0.2, momentum=momentum)
    optimizer = build_optimizer([Tensor([1.0], requires_grad=True)], model)
    assert type(optimizer) is kind
    assert (optimizer.lr, optimizer.weight_decay, getattr(optimizer, "momentum", 0.0)) == (0.3, 0.2, momentum)


def test_it_runs_without_validation(easy: str, command: Command) -> None:
    assert command(*flags(easy, "out", "--data.validation_size", "0")).status == 0
    assert [row[3:5] for row in epochs("out")] == [(None, None)] * 3


def test_cosine_moves_the_rate_to_0(easy: str, command: Command) -> None:
    command(*flags(easy, "out", "--model.schedule", "cosine"))
    rates = [row[-1] for row in epochs("out")]
    np.testing.assert_allclose(rates, [0.1 * (1 + np.cos(np.pi * t / 3)) / 2 for t in (1, 2, 3)], atol=1e-12)


def test_the_validation_figures_are_of_the_weights_at_the_end(easy: str, command: Command) -> None:
    command(*flags(easy, "out"))
    data = datasets.load(easy, 30, 42)
    w, _ = weights.read("out/weights.safetensors")
    hidden = np.maximum(data.validation.images @ w["hidden.0.weight"].T + w["hidden.0.bias"], 0)
    expected = metrics.score(hidden @ w["output.weight"].T + w["output.bias"], data.validation.labels)
    assert epochs("out")[-1][4] == expected["accuracy"]
    assert epochs("out")[-1][3] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["data[small].npz", "[/b].npz"])
def test_it_says_the_path_of_the_data_as_it_was_given(name: str, easy: str, command: Command) -> None:
    # Square brackets are markup to the library that prints.
    Path(name).parent.mkdir(exist_ok=True)
    shutil.copy(easy, name)
    result = command(*flags(name, "out"))
    assert result.status == 0
    assert f"{name}: 130 to train" in result.out


# Weights.

KINDS = {
    "cnn": (*CNN, *ADAM),
    "normed": (*NORM, *RMSPROP),
    "normed cnn": (*CNN, *NORM, *ADAM, *SHIFT, "--model.hidden", "[7]"),
    "normed cnn's best epoch": (*CNN, *NORM, *ADAM, "--early_stopping.patience", "1", "--trainer.max_epochs", "9"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_each_kind_evaluate_to_what_they_were_trained_to(kind: str, bars: str, command: Command) -> None:
    assert command(*flags(bars, "a", *KINDS[kind])).status == 0
    start = ("--model.weights", "a/weights.safetensors", "--trainer.max_epochs", "0")
    assert command(*flags(bars, "b", *KINDS[kind], *start)).status == 0
    a, b = measured("a"), measured("b")
    assert (b["test_correct"], b["test_loss"], b["epochs"]) == (a["test_correct"], a["test_loss"], 0)
    found, again = (weights.read(f"{run}/weights.safetensors")[0] for run in ("a", "b"))
    assert found.keys() == again.keys()
    assert any("running_mean" in name for name in found) == ("normed" in kind)
    for name, array in found.items():
        np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize(
    ("saved", "wanted", "name"),
    [
        ((), NORM, "hidden.0.bias"),
        (NORM, (), "hidden.0.bias"),
        ((), (*CNN, "--model.hidden", "[10]"), "conv.0.bias"),
        (CNN, (*CNN, "--model.kernel_size", "5"), "conv.0.weight has shape (4, 1, 3, 3); expected (4, 1, 5, 5)"),
    ],
    ids=["without norm", "with norm", "mlp for a cnn", "another window"],
)
def test_weights_of_another_kind_are_refused(
    saved: tuple[str, ...],
    wanted: tuple[str, ...],
    name: str,
    bars: str,
    command: Command,
    refused: Callable[..., str],
) -> None:
    command(*flags(bars, "a", *saved))
    text = refused(*flags(bars, "b", *wanted, "--model.weights", "a/weights.safetensors"))
    assert text.startswith("model.weights: a/weights.safetensors")
    assert name in text


def test_weights_evaluate_to_what_they_were_trained_to(easy: str, command: Command) -> None:
    command(*flags(easy, "a", "--model.dropout", "0.2"))
    start = ("--model.weights", "a/weights.safetensors")
    assert command(*flags(easy, "b", *start, "--trainer.max_epochs", "0")).status == 0
    a, b = measured("a"), measured("b")
    assert (b["test_correct"], b["test_loss"], b["epochs"]) == (a["test_correct"], a["test_loss"], 0)
    assert epochs("b") == []
    for name, array in weights.read("a/weights.safetensors")[0].items():
        np.testing.assert_array_equal(weights.read("b/weights.safetensors")[0][name], array)


def test_training_starts_from_the_weights_given(easy: str, command: Command) -> None:
    command(*flags(easy, "a"))
    frozen = ("--model.weights", "a/weights.safetensors", "--model.learning_rate", "0")
    command(*flags(easy, "b", *frozen))
    for name, array in weights.read("a/weights.safetensors")[0].items():
        np.testing.assert_array_equal(weights.read("b/weights.safetensors")[0][name], array)


# Early stopping.

OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "40")


def test_early_stopping_keeps_the_best_epoch(hard: str, command: Command) -> None:
    assert command(*flags(hard, "stopped", *OVERFIT, "--early_stopping.patience", "3")).status == 0
    losses = [row[3] for row in epochs("stopped")]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 3 < 40, "it must have stopped for this test to say anything"
    # The same run, made just as long as its best epoch.
    command(*flags(hard, "short", *OVERFIT[:-1], str(best)))
    for name, array in weights.read("short/weights.safetensors")[0].items():
        np.testing.assert_array_equal(weights.read("stopped/weights.safetensors")[0][name], array)
    assert measured("stopped")["test_loss"] == measured("short")["test_loss"]
    assert measured("stopped")["epochs"] == best + 3


# Going on.

WAYS = {
    "sgd": (),
    "momentum": ("--model.momentum", "0.9", "--model.learning_rate", "0.05"),
    "dropout": ("--model.dropout", "0.4", "--model.hidden", "[12, 8]"),
    "adam": ("--model.optimizer", "adam", "--model.learning_rate", "0.01", "--model.dropout", "0.2"),
    "adamw": ("--model.optimizer", "adamw", "--model.weight_decay", "0.1", "--model.learning_rate", "0.01"),
    "cosine": ("--model.schedule", "cosine"),
    "early stopping": (*OVERFIT, "--early_stopping.patience", "3"),
    "early stopping by accuracy": (
        *OVERFIT,
        "--early_stopping.patience",
        "3",
        "--early_stopping.monitor",
        "val_accuracy",
    ),
    "plateau": (*OVERFIT, "--trainer.max_epochs", "14", "--model.schedule", "reduce_on_plateau"),
    "rmsprop": RMSPROP,
    "one cycle": (*ONE_CYCLE, "--model.momentum", "0.9", "--model.learning_rate", "0.05"),
    "batch norm": (*NORM, *ADAM, "--model.hidden", "[12, 8]"),
    "cnn": (*CNN, *SHIFT, *ADAM),
    "all at once": (*CNN, *NORM, *SHIFT, *RMSPROP, *ONE_CYCLE, "--model.hidden", "[9]", "--model.dropout", "0.3"),
    "best epoch of a normed cnn": (*CNN, *NORM, *ADAM, "--early_stopping.patience", "2"),
}


def interrupt(monkeypatch: pytest.MonkeyPatch, method: str, at: int) -> None:
    """Ctrl-C when the report hears of the at-th epoch or step."""
    report = train.ProgressReport
    real, seen = getattr(report, method), []

    def call(self: Any, *args: Any) -> None:
        real(self, *args)
        seen.append(1)
        if len(seen) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(report, method, call)


@pytest.fixture(scope="module")
def whole(hard: str, bars: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of an uninterrupted run, which is trained once per module: `whole(way, *words)`."""
    folders: dict[tuple[str, ...], Path] = {}

    def call(way: str, *words: str) -> Path:
        key = (*words, *WAYS[way])
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("whole") / "run"
            train.main(flags(bars if "cnn" in key else hard, folders[key], *key))
        return folders[key]

    return call


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("method", "at", "kept"), [("epoch", 2, 2), ("step", 7 * 2 + 3, 2), ("step", 2, 0)])
def test_a_run_that_goes_on_equals_one_that_never_stopped(
    way: str,
    method: str,
    at: int,
    kept: int,
    hard: str,
    bars: str,
    whole: Callable[..., Path],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = ("--trainer.max_epochs", "6", *WAYS[way])
    data = bars if "cnn" in size else hard  # 90 images to train in both, 6 steps per epoch
    uninterrupted = whole(way, "--trainer.max_epochs", "6")
    with monkeypatch.context() as m:
        interrupt(m, method, at)
        stopped = command(*flags(data, "parts", *size))
    assert stopped.status == 130
    assert f"{kept} completed epochs are kept in parts" in stopped.err
    assert "--resume" in stopped.err
    assert not Path("parts/metrics.json").exists()
    assert Path("parts/history.csv").exists() == bool(kept)
    assert not kept or len(epochs("parts")) == kept
    assert command(*flags(data, "parts", *size, "--resume")).status == 0
    assert epochs("parts") == epochs(uninterrupted)
    same_weights("parts", uninterrupted)
    assert measured("parts") == measured(uninterrupted)
    if way == "plateau":
        assert epochs(uninterrupted)[-1][-1] < 0.3, "the rate must have moved for this test to say anything"


@pytest.mark.parametrize("way", ["early stopping", "early stopping by accuracy", "plateau"])
def test_what_was_waited_for_is_remembered(
    way: str, hard: str, whole: Callable[..., Path], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = whole(way)
    count = len(epochs(uninterrupted))
    for at in range(max(1, count - 8), count, 2):  # some of these are in the middle of a wait
        with monkeypatch.context() as m:
            interrupt(m, "epoch", at)
            command(*flags(hard, "parts", *WAYS[way], "--overwrite"))
        command(*flags(hard, "parts", *WAYS[way], "--resume"))
        assert epochs("parts") == epochs(uninterrupted), at
        same_weights("parts", uninterrupted)


def test_a_run_killed_between_history_and_checkpoint_goes_on_from_the_checkpoint(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(*flags(easy, "whole"))
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 2)
        command(*flags(easy, "parts"))
    rows = history.read(Path("parts/history.csv"))
    history.write(Path("parts/history.csv"), [*rows, replace(rows[-1], epoch=len(rows) + 1)])
    command(*flags(easy, "parts", "--resume"))
    assert epochs("parts") == epochs("whole")
    same_weights("parts", "whole")


def test_a_history_shorter_than_the_checkpoint_is_refused(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 2)
        command(*flags(easy, "out"))
    history.write(Path("out/history.csv"), history.read(Path("out/history.csv"))[:1])
    assert "history.csv" in refused(*flags(easy, "out", "--resume"))


def test_a_run_stopped_while_it_saves_does_not_promise_what_it_has_not_kept(
    easy: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:

        def never(*_: object) -> None:
            raise KeyboardInterrupt

        m.setattr("minigrad.checkpoint.save", never)
        stopped = command(*flags(easy, "out"))
    assert "0 completed epochs are kept" in stopped.err


def test_a_longer_run_goes_on_too(easy: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command(*flags(easy, "whole", "--trainer.max_epochs", "5"))
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 2)
        command(*flags(easy, "parts"))
    assert command(*flags(easy, "parts", "--trainer.max_epochs", "5", "--resume", "true")).status == 0
    assert epochs("parts") == epochs("whole")


def test_a_finished_run_is_left_as_it_is(easy: str, command: Command) -> None:
    command(*flags(easy, "out"))
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("out").iterdir()}
    result = command(*flags(easy, "out", "--resume"))
    assert result.status == 0
    assert "left as it is" in result.out
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("out").iterdir()} == before


def test_resume_with_nothing_there_starts_afresh(easy: str, command: Command) -> None:
    assert command(*flags(easy, "out", "--resume")).status == 0
    assert len(epochs("out")) == 3


@pytest.mark.parametrize(
    ("flag", "value", "before"),
    [
        ("--model.hidden", "[5]", "[10]"),
        ("--model.learning_rate", "0.2", "0.1"),
        ("--seed_everything", "7", "42"),
        ("--data.batch_size", "8", "16"),
        ("--model.batch_norm", "True", "False"),
        ("--model.schedule", "one_cycle", "constant"),
        ("--model.optimizer", "rmsprop", "sgd"),
    ],
)
def test_resume_with_another_recipe_is_refused(
    flag: str,
    value: str,
    before: str,
    easy: str,
    command: Command,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 1)
        command(*flags(easy, "out"))
    text = refused(*flags(easy, "out", "--resume", flag, value))
    for word in ("--resume", flag.removeprefix("--"), value, before):
        assert word in text


def test_resume_from_a_damaged_checkpoint_is_refused(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 1)
        command(*flags(easy, "out"))
    path = Path("out/checkpoint.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    text = refused(*flags(easy, "out", "--resume"))
    assert "checkpoint.safetensors" in text
    assert "model.weights" not in text, "the user gave --resume, not that key"


def test_resume_from_a_checkpoint_of_something_else_is_refused(
    easy: str, command: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as m:
        interrupt(m, "epoch", 1)
        command(*flags(easy, "out"))
    path = Path("out/checkpoint.safetensors")
    arrays, metadata = weights.read(path)
    for other in ({"x": np.ones(1)}, {name: a[:1] for name, a in arrays.items() if a.ndim}):
        for described in ({}, metadata):
            weights.write(path, other, described)
            assert "--resume: out/checkpoint.safetensors" in refused(*flags(easy, "out", "--resume"))


# What it refuses, and that nothing is lost by it.

BAD = {
    "path": ("--data.path", "nowhere.npz"),
    "recipe": ("--config", "nope"),
    "key": ("--model.foo", "1"),
    "hidden": ("--model.hidden", "[0]"),
    "negative hidden": ("--model.hidden", "[-3]"),
    "rate": ("--model.learning_rate", "fast"),
    "optimizer": ("--model.optimizer", "lion"),
    "kind": ("--model.architecture", "rnn"),
    "cnn on vectors": ("--model.architecture", "cnn"),
    "no channels": ("--model.channels", "[]", "--model.architecture", "cnn"),
    "channels": ("--model.channels", "[0]"),
    "even window": ("--model.kernel_size", "4"),
    "augment": ("--data.augment", "flip"),
    "shift of vectors": ("--data.augment", "shift"),
    "schedule": ("--model.schedule", "linear"),
    "momentum of another": ("--model.momentum", "0.9", "--model.optimizer", "rmsprop"),
    "batch of one": ("--data.batch_size", "129", "--model.batch_norm", "true"),
    "batches of one": ("--data.batch_size", "1", "--model.batch_norm", "true"),
    "batch": ("--data.batch_size", "0"),
    "large batch": ("--data.batch_size", "131"),
    "validation": ("--data.validation_size", "160"),
    "epochs": ("--trainer.max_epochs", "-1"),
    "weights": ("--model.weights", "nowhere.safetensors"),
    "other weights": ("--model.weights", "out/weights.safetensors", "--model.hidden", "[3]"),
}


@pytest.fixture(scope="module")
def finished(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which tests copy."""
    path = tmp_path_factory.mktemp("finished") / "out"
    train.main(flags(easy, path))
    return path


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_is_one_sentence_and_costs_no_earlier_run(
    mistake: str, easy: str, finished: Path, refused: Callable[..., str]
) -> None:
    shutil.copytree(finished, "out")
    before = {p.name: p.read_bytes() for p in Path("out").iterdir()}
    words = BAD[mistake]
    text = refused(*flags(easy, "out"), "--overwrite", *words)
    assert words[0].removeprefix("--") in text
    assert mistake == "key" or words[1].strip("[]") in text
    assert {p.name: p.read_bytes() for p in Path("out").iterdir()} == before


def test_images_that_are_pooled_away_are_one_sentence(bars: str, refused: Callable[..., str]) -> None:
    text = refused(*flags(bars, "out", *CNN, "--model.channels", "[2, 2, 2, 2]"))
    assert "model.channels: [2, 2, 2, 2] on images of 8x8; expected at most 3 convolutions" in text
    assert not Path("out").exists()


def test_a_folder_that_holds_a_run_is_refused_and_can_be_overwritten(
    easy: str, command: Command, refused: Callable[..., str]
) -> None:
    command(*flags(easy, "out"))
    before = Path("out/history.csv").read_bytes()
    assert "already holds a run" in refused(*flags(easy, "out"))
    assert Path("out/history.csv").read_bytes() == before
    assert command(*flags(easy, "out", "--overwrite", "--trainer.max_epochs", "1")).status == 0
    assert len(epochs("out")) == 1


def test_a_run_folder_under_a_file_is_refused(easy: str, refused: Callable[..., str]) -> None:
    Path("file").touch()
    assert "--out file/sub: can't be written" in refused(*flags(easy, "file/sub"))
    assert "--out file: is a file" in refused(*flags(easy, "file"))


def test_divergence_is_one_sentence(easy: str, refused: Callable[..., str]) -> None:
    text = refused(*flags(easy, "out", "--model.learning_rate", "1e30"))
    assert "model.learning_rate: 1e+30" in text
    assert "smaller" in text


@pytest.mark.parametrize("validation", ["0", "30"])
def test_divergence_in_the_very_last_step_is_seen_too(validation: str, easy: str, refused: Callable[..., str]) -> None:
    # The training loss was taken before the step that ruined the weights.
    whole = str(160 - int(validation))
    words = ("--data.validation_size", validation, "--data.batch_size", whole, "--trainer.max_epochs", "1")
    assert "model.learning_rate" in refused(*flags(easy, "out", *words, "--model.learning_rate", "1e38"))


def test_weights_whose_outputs_overflow_are_named(easy: str, command: Command, refused: Callable[..., str]) -> None:
    command(*flags(easy, "out"))
    arrays, metadata = weights.read("out/weights.safetensors")
    weights.write(Path("big.safetensors"), {name: np.full_like(a, 1e30) for name, a in arrays.items()}, metadata)
    words = ("--model.weights", "big.safetensors", "--trainer.max_epochs", "0")
    assert refused(*flags(easy, "tested"), *words).startswith("model.weights: big.safetensors: the network's outputs")


# As a process.


def started(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "minigrad.train", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(minigrad.__file__).parents[1])},
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_a_mistake_ends_the_process_with_2_and_no_traceback(easy: str) -> None:
    process = started(*flags(easy, "out", "--model.hidden", "[0]"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("python -m minigrad train: error: model.hidden: 0; expected")


def test_ctrl_c_ends_the_process_with_130_and_keeps_whole_epochs(easy: str, command: Command) -> None:
    process = started(*flags(easy, "out", "--trainer.max_epochs", "1000000"))
    deadline = time.monotonic() + 60
    while not Path("out/checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--out out --resume continues" in err
    done = epochs("out")
    assert done
    # One more epoch, and the first ones are those of a run of that length.
    longer = str(len(done) + 1)
    assert command(*flags(easy, "out", "--trainer.max_epochs", longer, "--resume")).status == 0
    assert epochs("out")[: len(done)] == done
    command(*flags(easy, "whole", "--trainer.max_epochs", longer))
    assert epochs("whole") == epochs("out")


def save_named(path: str, names: np.ndarray, **more: np.ndarray) -> None:
    """Save clouds with the names of their classes as labels."""
    arrays = clouds(0, 200, 0.5)
    labels = {key: names[arrays[key]] for key in ("y_train", "y_test")}
    np.savez(path, **{**arrays, **labels, **more})


def test_class_names_are_in_the_metrics_and_the_weights(tmp_path: Path, command: Command) -> None:
    names = np.array(["[red]cat[/]", "dog", "ant"])
    save_named("a.npz", names)
    assert command(*flags("a.npz", "a")).status == 0
    spec = weights.read_spec("a/weights.safetensors")
    assert spec.class_names == ("[red]cat[/]", "ant", "dog")
    measured = json.loads(Path("a/metrics.json").read_text())
    by_class = measured["test_accuracy_by_class"]
    assert tuple(by_class) == spec.class_names
    counts = np.bincount(datasets.load("a.npz").test.labels)
    assert round(sum(np.array(list(by_class.values())) * counts)) == measured["test_correct"]
    # Training that starts from these weights numbers the classes as they do, whatever their order in the file.
    save_named("b.npz", names, class_names=names)
    result = command(*flags("b.npz", "b", "--model.weights", "a/weights.safetensors"))
    assert "b.npz: the classes are numbered in the order of a/weights.safetensors" in result.out
    assert weights.read_spec("b/weights.safetensors").class_names == spec.class_names
    assert json.loads(Path("b/metrics.json").read_text())["test_accuracy"] >= measured["test_accuracy"] - 0.1
