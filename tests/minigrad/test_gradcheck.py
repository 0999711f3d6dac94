"""The check itself: it passes what is right and refuses what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import Array, Tensor, gradcheck, operation, ops


@operation
def doubled(a: Array):
    return a * 2, lambda g: g * 3  # wrong on purpose


@operation
def frozen_softmax(a: Array):
    e = np.exp(a)
    return e / e.sum(), lambda g: g * 0  # wrong on purpose


def test_it_passes_a_right_gradient() -> None:
    assert gradcheck(lambda a, b: (a @ b).tanh(), np.ones((2, 3)), np.full((3, 2), 0.1))


def test_it_refuses_a_wrong_gradient_and_names_the_input() -> None:
    with pytest.raises(AssertionError, match="input 1"):
        gradcheck(lambda a, b: a + doubled(b), np.ones(2), np.ones(2))


def test_it_sees_a_wrong_gradient_that_the_plain_sum_would_hide() -> None:
    # The outputs of a softmax sum to 1, so the gradient of their bare sum is 0 whatever the rule says.
    with pytest.raises(AssertionError, match="input 0"):
        gradcheck(frozen_softmax, np.array([1.0, 2.0, 3.0]))


def test_it_works_in_float64_whatever_it_is_given() -> None:
    seen = []

    def fn(x: Tensor) -> Tensor:
        seen.append(x.dtype)
        return x * x

    assert gradcheck(fn, np.array([1, 2], np.float32))
    assert set(seen) == {np.dtype(np.float64)}


def test_inputs_that_are_no_floats_are_passed_as_they_are() -> None:
    assert gradcheck(ops.cross_entropy, np.array([[0.1, 0.2], [0.4, 0.3]]), np.array([0, 1]))
    assert gradcheck(lambda x, n: x[:n] * 2, np.ones(3), 2)


def test_an_input_that_does_not_matter_has_gradient_0() -> None:
    assert gradcheck(lambda a, b: a * 2, np.ones(2), np.ones(2))


def test_every_floating_input_is_a_tensor_in_every_call() -> None:
    assert gradcheck(lambda a, b: a.exp() * b.exp(), np.ones(2), np.ones(2))
