"""Options of Lightning for training: each has its effect, and the run folder contains the result."""

from __future__ import annotations

import csv
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning_helpers import CNN, call, epochs, flags, in_numpy, interrupted, kept, measured, same_weights

from lightning_module.model import LitClassifier
from minigrad.runs import history, metrics

Weights = dict[str, np.ndarray]

EMA = ("--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay", "0.8")
SWA = (
    *("--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs", "0.05"),
    *("--trainer.callbacks.swa_epoch_start", "2", "--trainer.callbacks.annealing_epochs", "1"),
    *("--trainer.max_epochs", "5"),
)
OVERFIT = ("--model.hidden", "[64]", "--model.learning_rate", "0.3", "--trainer.max_epochs", "40")
STEPS, RATE = 27, 0.1  # of 3 epochs of 130 vectors


def checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of tensors and primitives."""
    return torch.load(path, map_location="cpu", weights_only=True)


def state(path: str | Path) -> Weights:
    """Return the network's weights in a checkpoint, by their names in weights.safetensors."""
    actual = checkpoint(path)["state_dict"]
    assert all(name.startswith("net.") for name in actual), list(actual)
    return {name.removeprefix("net."): t.numpy() for name, t in actual.items() if not name.endswith("tracked")}


def same(actual: Weights, expected: Weights, tolerance: float = 0.0) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=tolerance, err_msg=name)


def distance(a: Weights, b: Weights) -> float:
    """Return the Euclidean distance between two sets of weights, over all of them."""
    return float(np.sqrt(sum(((a[name].astype(np.float64) - b[name]) ** 2).sum() for name in a)))


@pytest.fixture(scope="module")
def plain(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without any of these options."""
    out = tmp_path_factory.mktemp("plain") / "out"
    assert call(*flags(easy, out)) == 0
    return out


@pytest.fixture(scope="module")
def start(easy: str, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """The initial weights of such a run."""
    out = tmp_path_factory.mktemp("start") / "out"
    assert call(*flags(easy, out, "--trainer.max_epochs", "0")) == 0
    return kept(out)


# Steps.


def test_clipping_by_norm_limits_each_step(plain: Path, start: Weights, easy: str) -> None:
    assert call(*flags(easy, "out", "--trainer.gradient_clip_val", "0.01")) == 0
    assert 0 < distance(kept("out"), start) <= STEPS * RATE * 0.01 * 1.001
    assert distance(kept(plain), start) > 10 * STEPS * RATE * 0.01, "otherwise nothing was clipped"


def test_clipping_by_value_limits_each_weight(plain: Path, start: Weights, easy: str) -> None:
    words = ("--trainer.gradient_clip_val", "0.001", "--trainer.gradient_clip_algorithm", "value")
    assert call(*flags(easy, "out", *words)) == 0
    moved = max(np.abs(kept("out")[name] - start[name]).max() for name in start)
    assert 0 < moved <= STEPS * RATE * 0.001 * 1.001


def test_two_batches_of_16_are_one_of_32(easy: str) -> None:
    even = ("--data.validation_size", "32", "--data.batch_size")  # leaves 128 to train on
    assert call(*flags(easy, "whole", *even, "32")) == 0
    assert call(*flags(easy, "parts", *even, "16", "--trainer.accumulate_grad_batches", "2")) == 0
    same(kept("parts"), kept("whole"), 1e-6)
    assert call(*flags(easy, "short", *even, "16")) == 0
    assert distance(kept("short"), kept("whole")) > 0.1, "otherwise the batch size has no effect"
    assert [checkpoint(f"{out}/last.ckpt")["global_step"] for out in ("whole", "parts", "short")] == [12, 12, 24]


def test_a_learning_rate_monitor_logs_what_the_schedule_does(easy: str) -> None:
    words = ("--model.schedule", "cosine", "--trainer.callbacks+=LearningRateMonitor")
    assert call(*flags(easy, "out", *words, "--trainer.callbacks.logging_interval", "epoch")) == 0
    with Path("out/metrics.csv").open(newline="") as file:
        rates = [float(row["lr-SGD"]) for row in csv.DictReader(file) if row["lr-SGD"]]
    assert rates[0] == pytest.approx(RATE)
    assert rates[1:] == pytest.approx([row[-1] for row in epochs("out")][:-1]), "a row has the rate at its epoch's end"
    assert all(b < a for a, b in pairwise(rates))


# Precision and compilation.


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        *(("bf16-mixed", np.float32), ("16-mixed", np.float32), ("64-true", np.float64)),
        pytest.param("bf16-true", np.float32, marks=pytest.mark.slow),  # which NumPy doesn't know
        pytest.param("16-true", np.float32, marks=pytest.mark.slow),
    ],
)
def test_other_precisions_learn(precision: str, dtype: type, easy: str, plain: Path) -> None:
    assert call(*flags(easy, "out", "--trainer.precision", precision)) == 0
    assert measured("out")["test_accuracy"] > 0.8  # chance is a third
    assert {array.dtype for array in kept("out").values()} == {np.dtype(dtype)}
    net, data = in_numpy("out")
    scored = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert scored["test_loss"] == pytest.approx(measured("out")["test_loss"], rel=0.05)
    nearness = distance(kept("out"), kept(plain))
    assert 0 < nearness < 0.2, "the same training with other rounding"


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_compiled_it_gives_the_same_weights(network: str, easy: str, few: str) -> None:
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    data, words = (few, CNN) if network == "cnn" else (easy, ("--model.hidden", "[9, 6]"))
    assert call(*flags(data, "eager", *words)) == 0
    torch._dynamo.reset()
    assert call(*flags(data, "compiled", *words, "--compile")) == 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "otherwise nothing was compiled"
    same(kept("compiled"), kept("eager"), 1e-5)
    for name in ("last", "best"):
        assert state(f"compiled/{name}.ckpt").keys() == state(f"eager/{name}.ckpt").keys()
    same(state("compiled/last.ckpt"), kept("compiled"))


# Logging.


def test_tensorboard_has_the_history_and_the_pictures(few: str) -> None:
    pytest.importorskip("tensorboard")
    assert call(*flags(few, "out", "--tensorboard")) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows, scalars, images = history.read(Path("out/history.csv")), {}, set()
    for path in Path("out/tensorboard").glob("events.out.tfevents.*"):
        events = EventAccumulator(str(path))
        events.Reload()
        scalars |= {tag: [point.value for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        images |= set(events.Tags()["images"])
    for tag in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert scalars[tag] == pytest.approx([getattr(row, tag) for row in rows], rel=1e-6)
    assert scalars["test_loss"] == pytest.approx([measured("out")["test_loss"]], rel=1e-6)
    assert images == {"confusion", "mistakes", "reliability"}
    assert Path("out/metrics.csv").exists(), "in addition to the log of every run"
    assert "tensorflow" not in sys.modules


def test_without_the_flag_there_is_no_tensorboard_folder(plain: Path) -> None:
    assert not (plain / "tensorboard").exists()


# Averaged weights.


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[Weights]:
    """The weights after each step."""
    kept_weights: list[Weights] = []

    def keep(self: LitClassifier, *_: Any) -> None:
        kept_weights.append({name: array.copy() for name, array in self.weights().items()})

    monkeypatch.setattr(LitClassifier, "on_train_batch_end", keep)
    return kept_weights


def test_an_exponential_average_is_what_is_kept(easy: str, plain: Path, stepped: list[Weights]) -> None:
    assert call(*flags(easy, "out", *EMA)) == 0
    assert len(stepped) == STEPS
    average = stepped[0]
    for weights in stepped[1:]:
        average = {name: 0.8 * average[name] + 0.2 * weights[name] for name in average}
    same(kept("out"), average, 1e-6)
    same(stepped[-1], kept(plain))  # averaging leaves the training as it was
    assert distance(kept("out"), kept(plain)) > 0.01, "otherwise the average equals the last weights"
    for name in ("last", "best"):  # the last epoch is the best
        same(state(f"out/{name}.ckpt"), kept("out"))
    net, data = in_numpy("out")
    scored = metrics.score(net.predict(data.validation.images), data.validation.labels)
    assert epochs("out")[-1][3] == pytest.approx(scored["loss"], rel=1e-5), "the average is what is validated"
    tested = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert measured("out")["test_loss"] == pytest.approx(tested["test_loss"], rel=1e-5)


def test_averaging_from_yaml(easy: str) -> None:
    own = {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.8}}
    Path("more.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [own]}}))
    assert call(*flags(easy, "yaml", "--config", "more.yaml")) == 0
    assert call(*flags(easy, "flags", *EMA)) == 0
    same_weights("yaml", "flags")


def test_with_early_stopping_the_average_that_was_best_is_kept(hard: str) -> None:
    assert call(*flags(hard, "out", *OVERFIT, *EMA, "--early_stopping.patience", "3")) == 0
    losses = [row[3] for row in epochs("out")]
    best = int(np.argmin(losses)) + 1
    assert best < len(losses) == best + 3 < 40, "otherwise it has not stopped early"
    assert checkpoint("out/best.ckpt")["epoch"] + 1 == best
    same(kept("out"), state("out/best.ckpt"))
    assert distance(kept("out"), state("out/last.ckpt")) > 0.01
    net, data = in_numpy("out")
    scored = metrics.score(net.predict(data.validation.images), data.validation.labels)
    assert scored["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_a_resumed_averaged_run_equals_an_uninterrupted_one(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*flags(easy, "whole", *EMA)) == 0
    assert interrupted(monkeypatch, 21, lambda: call(*flags(easy, "parts", *EMA))) == 130
    assert call(*flags(easy, "parts", *EMA, "--ckpt_path", "last")) == 0
    assert epochs("parts") == epochs("whole")
    same_weights("parts", "whole")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Weights]:
    """The weights at the start of each epoch."""
    kept_weights: list[Weights] = []

    def keep(self: LitClassifier) -> None:
        kept_weights.append({name: array.copy() for name, array in self.weights().items()})

    monkeypatch.setattr(LitClassifier, "on_train_epoch_start", keep)
    return kept_weights


def test_stochastic_weight_averaging_keeps_its_average(easy: str, begun: list[Weights]) -> None:
    assert call(*flags(easy, "out", *SWA)) == 0
    assert len(begun) == 5
    # Lightning takes the weights that an epoch begins with, from the second one on.
    average = {name: np.mean([weights[name] for weights in begun[1:]], axis=0) for name in begun[0]}
    same(kept("out"), average, 1e-6)
    assert distance(kept("out"), state("out/last.ckpt")) > 0.01, "otherwise the average equals the last weights"
    assert epochs("out")[-1][-1] == pytest.approx(0.05), "the rate that was asked for"
    net, data = in_numpy("out")
    tested = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert measured("out")["test_loss"] == pytest.approx(tested["test_loss"], rel=1e-5)


# From Python.


@pytest.mark.parametrize(
    "way", ["batch norm", "averaged", *(pytest.param(way, marks=pytest.mark.slow) for way in ("plain", "cnn"))]
)
def test_a_checkpoint_loads_from_python(way: str, easy: str, few: str) -> None:
    data, words = {
        "plain": (easy, ()),
        "batch norm": (easy, ("--model.batch_norm", "true", "--model.hidden", "[8, 5]", "--model.dropout", "0.3")),
        "averaged": (easy, EMA),
        "cnn": (few, CNN),
    }[way]
    assert call(*flags(data, "out", *words)) == 0
    checkpoint("out/last.ckpt")
    module = LitClassifier.load_from_checkpoint("out/last.ckpt")
    module.cpu().eval()
    net, dataset = in_numpy("out")
    with torch.inference_mode():
        answers = module(torch.from_numpy(dataset.test.images)).numpy()
    np.testing.assert_allclose(answers, net.predict(dataset.test.images), rtol=1e-4, atol=1e-5)


def test_bfloat16_throughout_learns(easy: str) -> None:
    assert call(*flags(easy, "out", "--trainer.precision", "bf16-true")) == 0
    assert measured("out")["test_accuracy"] > 0.8
    assert {array.dtype for array in kept("out").values()} == {np.dtype(np.float32)}, "NumPy has no bfloat16"
    net, data = in_numpy("out")
    scored = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert scored["test_loss"] == pytest.approx(measured("out")["test_loss"], rel=0.05)


def test_the_config_of_an_averaged_run_runs_again(easy: str, recwarn: pytest.WarningsRecorder) -> None:
    assert call(*flags(easy, "a", *SWA)) == 0
    assert not [w for w in recwarn if "serialize" in str(w.message)]
    assert call("fit", "--config", "a/config.yaml", "--trainer.default_root_dir", "b") == 0
    assert Path("a/weights.safetensors").read_bytes() == Path("b/weights.safetensors").read_bytes()


def test_the_pass_for_batch_norm_statistics_is_not_an_epoch(easy: str) -> None:
    assert call(*flags(easy, "out", *SWA, "--model.batch_norm", "true")) == 0
    assert [row[0] for row in epochs("out")] == [1, 2, 3, 4, 5]
    assert measured("out")["epochs"] == 5
    net, data = in_numpy("out")
    tested = metrics.test_metrics(net.predict(data.test.images), data.test.labels)
    assert measured("out")["test_loss"] == pytest.approx(tested["test_loss"], rel=1e-5)


def test_without_checkpoints_too_the_average_that_was_best_is_kept(hard: str) -> None:
    words = (*OVERFIT, *EMA, "--early_stopping.patience", "3")
    assert call(*flags(hard, "a", *words)) == 0
    assert call(*flags(hard, "b", *words, "--trainer.enable_checkpointing", "false")) == 0
    assert epochs("a") == epochs("b")
    for name, array in kept("a").items():
        np.testing.assert_array_equal(kept("b")[name], array)
