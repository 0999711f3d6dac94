"""Back-propagation for teaching: its gradients are those of the fast version and of finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import by_hand
from minigrad.study import by_hand as plain

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(7, 5)), RNG.integers(0, 3, 7)
NAMES = {"w1": "hidden.0.weight", "b1": "hidden.0.bias", "w2": "output.weight", "b2": "output.bias"}


def test_its_gradients_are_those_of_the_fast_version() -> None:
    weights = plain.initial_weights(5, 4, 3)
    loss, expected, _ = by_hand.gradients({NAMES[key]: w for key, w in weights.items()}, X, LABELS)
    assert plain.loss_of(weights, X, LABELS) == pytest.approx(loss, rel=1e-14)
    for key, gradient in plain.gradients(weights, X, LABELS).items():
        np.testing.assert_allclose(gradient, expected[NAMES[key]], rtol=1e-12, atol=1e-15, err_msg=key)


def test_a_step_is_gradient_descent() -> None:
    weights = plain.initial_weights(5, 4, 3)
    before = {key: w.copy() for key, w in weights.items()}
    plain.step(weights, X, LABELS, 0.1)
    for key, gradient in plain.gradients(before, X, LABELS).items():
        np.testing.assert_array_equal(weights[key], before[key] - 0.1 * gradient)


def test_it_prints_gradients_beside_finite_differences(capsys: pytest.CaptureFixture[str]) -> None:
    plain.main()
    rows = [line.rsplit(None, 3) for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0].split("[")[0] for row in rows] == ["w1", "b1", "w2", "b2"]
    for _, gradient, estimate, difference in rows:
        assert float(gradient) != 0
        assert float(gradient) == pytest.approx(float(estimate), abs=1e-8)
        assert float(difference) < 1e-8
