"""The class: its operators, its methods and its comparisons."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from op_cases import positive

from minigrad import Tensor, ops

COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "other",
    [
        2.0,
        np.float64(2),
        np.array([1.0, 2.0, 3.0]),
        np.array([[2.0], [1.0]]),
        Tensor([3.0, 2.0, 1.0]),
        Tensor([3.0, 2.0, 1.0], requires_grad=True),
    ],
    ids=["number", "NumPy number", "array", "broadcast", "tensor", "tensor with gradient"],
)
def test_a_comparison_is_that_of_the_arrays(compare: Any, other: Any) -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    plain = other.data if isinstance(other, Tensor) else other
    for found, expected in [(compare(x, other), compare(x.data, plain)), (compare(other, x), compare(plain, x.data))]:
        assert type(found) is np.ndarray
        assert found.dtype == bool
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_a_comparison_of_numbers_is_a_truth(compare: Any) -> None:
    assert bool(compare(Tensor(1.0), Tensor(2.0))) == compare(1.0, 2.0)


def test_a_comparison_may_be_an_index() -> None:
    x = Tensor([1.0, -2.0, 3.0], requires_grad=True)
    x[x > 0].sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 0, 1])


def test_a_comparison_may_be_a_condition() -> None:
    x = Tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = ops.where(x > 0, x, x * 0.1)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [1, 0.1, 1])


def test_a_comparison_may_be_an_operand_and_keeps_float32() -> None:
    x = Tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = x * (x > 0)
    assert y.dtype == np.float32
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 0, 1])


def test_a_tensor_is_found_in_a_dict_and_a_set_as_itself() -> None:
    a, b = Tensor([1.0, 2.0]), Tensor([1.0, 2.0])
    assert {a: "a", b: "b"}[b] == "b"
    assert len({a, b, a}) == 2
    assert hash(a) != hash(b)


def test_a_tensor_of_one_element_is_as_true_as_the_element() -> None:
    assert Tensor(1.0)
    assert not Tensor([0.0])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([1.0, 2.0]))


def test_argmax_is_a_plain_array() -> None:
    x = Tensor([[1.0, 3.0], [4.0, 2.0]], requires_grad=True)
    for found, expected in [(x.argmax(), 2), (x.argmax(0), [1, 0]), (x.argmax(-1), [1, 0])]:
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, expected)


def test_operators_and_methods_are_the_operations() -> None:
    a, b = Tensor(positive(2, 2)), Tensor(positive(2, 2))
    c = Tensor(positive(2, 1, 3))
    pairs = [
        (a + b, ops.add(a, b)),
        (a - b, ops.subtract(a, b)),
        (a * b, ops.multiply(a, b)),
        (a / b, ops.divide(a, b)),
        (a**b, ops.power(a, b)),
        (a @ b, ops.matmul(a, b)),
        (-a, ops.negative(a)),
        (abs(-a), ops.abs(-a)),
        (1 + a, ops.add(1, a)),
        (1 - a, ops.subtract(1, a)),
        (2 * a, ops.multiply(2, a)),
        (1 / a, ops.divide(1, a)),
        (2**a, ops.power(2, a)),
        (a.data @ b, ops.matmul(a, b)),
        (a[1], ops.getitem(a, 1)),
        ((-a).abs(), ops.abs(-a)),
        (a.exp(), ops.exp(a)),
        (a.log(), ops.log(a)),
        (a.sqrt(), ops.sqrt(a)),
        (a.square(), ops.square(a)),
        (a.sin(), ops.sin(a)),
        (a.cos(), ops.cos(a)),
        (a.tanh(), ops.tanh(a)),
        (a.sigmoid(), ops.sigmoid(a)),
        (a.relu(), ops.relu(a)),
        (a.clip(0.5, 1), ops.clip(a, 0.5, 1)),
        (a.clip(max=1), ops.clip(a, None, 1)),
        (a.sum(0), ops.sum(a, 0)),
        (a.mean(1, keepdims=True), ops.mean(a, 1, True)),
        (a.var(1, 1, True), ops.var(a, axis=1, ddof=1, keepdims=True)),
        (a.std(1, 1, True), ops.std(a, axis=1, ddof=1, keepdims=True)),
        (a.prod(1, True), ops.prod(a, axis=1, keepdims=True)),
        (a.max(1, True), ops.max(a, axis=1, keepdims=True)),
        (a.min(1, True), ops.min(a, axis=1, keepdims=True)),
        (a.norm(1, 0, True), ops.norm(a, ord=1, axis=0, keepdims=True)),
        (a.cumsum(1), ops.cumsum(a, axis=1)),
        (a.logsumexp(0, True), ops.logsumexp(a, axis=0, keepdims=True)),
        (a.softmax(0), ops.softmax(a, 0)),
        (a.log_softmax(0), ops.log_softmax(a, 0)),
        (a.reshape(4), ops.reshape(a, 4)),
        (a.reshape(1, -1), ops.reshape(a, (1, -1))),
        (a.reshape((4, 1)), ops.reshape(a, (4, 1))),
        (a.transpose(1, 0), ops.transpose(a, (1, 0))),
        (c.transpose((2, 0, 1)), ops.transpose(c, (2, 0, 1))),
        (a.transpose(), ops.transpose(a)),
        (a.T, ops.transpose(a)),
        (c.swapaxes(0, -1), ops.swapaxes(c, 0, -1)),
        (c.squeeze(), ops.squeeze(c)),
        (c.squeeze(1), ops.squeeze(c, 1)),
        (c.flatten(), ops.flatten(c)),
        (c.flatten(1), ops.flatten(c, 1, -1)),
    ]
    for i, (found, expected) in enumerate(pairs):
        assert type(found) is Tensor
        assert found.shape == expected.shape, f"pair {i}"
        np.testing.assert_array_equal(found.data, expected.data, err_msg=f"pair {i}")
