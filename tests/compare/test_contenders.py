"""The contenders' classes, without running them."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from compare import contenders, machine
from compare.contenders import base, minigrad
from compare.contenders.base import Batches, Observer
from compare.jobs.shared import starting_weights
from compare.results.statistics import wilson_interval
from minigrad import by_hand, datasets, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Data, Model, Recipe


def test_importing_compare_and_every_contender_imports_no_framework() -> None:
    code = (
        "import sys, compare.api, compare.cli, compare.parity.matrix, compare.results.history\n"
        "from compare import contenders\n"
        "[contenders.find(n) for n in contenders.names()]\n"
        "print(sorted({'torch', 'tensorflow', 'keras', 'lightning', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_default_contenders_come_first() -> None:
    names = contenders.names()
    assert names[:5] == ["minigrad", "by_hand", "torch", "lightning", "keras"]
    assert {"keras_jax", "keras_torch"} <= set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", contenders.names())
def test_each_contender_has_a_title_and_a_way_to_install_it(name: str) -> None:
    contender = contenders.find(name)
    assert contender.title
    assert contender.trains_by
    assert bool(contender.needs) == bool(contender.install)


def test_a_missing_package_is_reported_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders.find("torch"), "needs", ("surely_not_installed",))
    why = contenders.unavailable(["minigrad", "torch"], recipes.load("simple"))
    assert why == {"torch": "needs surely_not_installed: pip install '.[lightning]'"}


def test_by_hand_predicts_in_batches_of_the_common_size(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, data = recipes.load("simple"), datasets.load("digits")
    contender, forward, sizes = contenders.find("by_hand")(), by_hand.forward, []
    contender.build(recipe, data, starting_weights(recipe, data), "float32")
    whole = contender.predict(data.test.images[:50])
    monkeypatch.setattr(base, "PREDICT_BATCH", 20)
    monkeypatch.setattr(by_hand, "forward", lambda weights, x: sizes.append(len(x)) or forward(weights, x))
    np.testing.assert_allclose(contender.predict(data.test.images[:50]), whole, rtol=1e-5)
    assert sizes == [20, 20, 10]


def test_by_hand_reports_what_it_requires() -> None:
    by_hand = contenders.find("by_hand")
    assert by_hand.unsupported(recipes.load("simple")) is None
    assert by_hand.unsupported(recipes.load("advanced")) == (
        "requires one hidden layer, no dropout, sgd at a constant rate"
    )
    assert by_hand.unsupported(recipes.load("cnn")) == (
        "requires an mlp, one hidden layer, sgd at a constant rate, no augmentation"
    )
    norm = recipes.Recipe.from_dict({"model": {"batch_norm": True}})
    assert by_hand.unsupported(norm) == "requires no batch norm"


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_intervals_are_the_published_ones(correct: int, n: int, low: float, high: float) -> None:
    # Newcombe, 1998, table I, method 3.
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)


def _train_a_cnn(threads: int, observer: Observer, monkeypatch: pytest.MonkeyPatch) -> minigrad.Contender:
    """Train a small convolutional network for an epoch, with a number of threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (512, 28, 28)).astype(np.uint8), rng.integers(0, 3, 512)
    data = Dataset(Split(images, labels), Split(images[:0], labels[:0]), Split(images[:9], labels[:9]), 3)
    recipe = Recipe(
        model=Model(architecture="cnn", channels=[2, 4], kernel_size=3, hidden=[]), data=Data(batch_size=128)
    )
    contender = minigrad.Contender()
    contender.build(recipe, data, starting_weights(recipe, data), "float64")
    contender.fit(Batches(data.train, 128, 0, 1), observer)
    return contender


def test_minigrad_gets_one_device_per_thread_and_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (_train_a_cnn(threads, Observer(), monkeypatch) for threads in (1, 2))
    assert "devices" not in one.describe()
    assert two.describe()["devices"] == 2
    for name, weight in one.state().items():
        np.testing.assert_allclose(two.state()[name], weight, rtol=1e-10, atol=1e-12)


def test_time_and_memory_of_a_contender_include_its_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[float] = []

    class AtEachStep(Observer):
        def after_steps(self, *_: object) -> None:
            children.append(machine.children_memory_mb())

    cpu, own = machine.cpu_seconds([]), time.process_time()
    _train_a_cnn(2, AtEachStep(), monkeypatch)
    assert min(children) > 20
    assert machine.cpu_seconds([]) - cpu > time.process_time() - own + 0.05  # the start of an interpreter takes longer
    assert machine.children_memory_mb() == 0
