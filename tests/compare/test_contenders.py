"""The contenders' classes, without running them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from compare import contenders
from compare.contenders import base
from compare.jobs.shared import starting_weights
from compare.results.statistics import wilson_interval
from minigrad import by_hand, datasets, recipes


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
