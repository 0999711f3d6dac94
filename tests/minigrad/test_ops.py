"""Every rule against finite differences, in both dtypes, from any memory layout, and in its corners."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, gradcheck, ops

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.3, 2, shape)


def nonzero(*shape: int) -> np.ndarray:
    """Away from 0, where relu has a kink and division none."""
    return positive(*shape) * RNG.choice([-1.0, 1.0], shape)


# For each operation: (function, *inputs). Floating inputs are differentiated.
CASES: dict[str, list[tuple[Any, ...]]] = {
    "add": [(ops.add, normal(2, 3), normal(2, 3)), (ops.add, normal(2, 3, 1), normal(4)), (ops.add, normal(3), 2.0)],
    "subtract": [(ops.subtract, normal(2, 3), normal(3)), (lambda a: 1 - a, normal(3))],
    "multiply": [(ops.multiply, normal(2, 3), normal(2, 1)), (lambda a: a * a, normal(3))],
    "divide": [(ops.divide, normal(2, 3), nonzero(3)), (lambda a: 2 / a, nonzero(3))],
    "negative": [(ops.negative, normal(2, 3))],
    "power": [
        (ops.power, positive(2, 3), normal(3)),
        (lambda a: a**3, nonzero(4)),
        (lambda a: a**-2, nonzero(4)),
        (lambda a: 2**a, normal(4)),
    ],
    "exp": [(ops.exp, normal(2, 3))],
    "log": [(ops.log, positive(2, 3))],
    "sqrt": [(ops.sqrt, positive(2, 3))],
    "tanh": [(ops.tanh, normal(2, 3))],
    "sigmoid": [(ops.sigmoid, normal(2, 3))],
    "relu": [(ops.relu, nonzero(2, 3))],
    "dropout": [(lambda a: ops.dropout(a, 0.4, rng=np.random.default_rng(3)), normal(4, 5))],
    "matmul": [
        (ops.matmul, normal(2, 3), normal(3, 4)),
        (ops.matmul, normal(3), normal(3)),
        (ops.matmul, normal(2, 3), normal(3)),
        (ops.matmul, normal(3), normal(3, 4)),
        (ops.matmul, normal(5, 1, 2, 3), normal(2, 3, 4)),
    ],
    "linear": [(ops.linear, normal(5, 3), normal(4, 3), normal(4)), (ops.linear, normal(5, 3), normal(4, 3))],
    "cross_entropy": [(lambda z: ops.cross_entropy(z, np.array([0, 2, 2, 1])), normal(4, 3))],
    "sum": [
        (ops.sum, normal(2, 3)),
        (lambda a: ops.sum(a, -1), normal(2, 3)),
        (lambda a: ops.sum(a, (0, -1), keepdims=True), normal(2, 3, 2)),
    ],
    "mean": [(ops.mean, normal(2, 3)), (lambda a: ops.mean(a, (0, -1)), normal(2, 3, 2))],
    "logsumexp": [(ops.logsumexp, normal(2, 3)), (lambda a: ops.logsumexp(a, None, True), normal(2, 3))],
    "softmax": [(ops.softmax, normal(2, 3)), (lambda a: ops.softmax(a, 0), normal(2, 3))],
    "log_softmax": [(ops.log_softmax, normal(2, 3)), (lambda a: ops.log_softmax(a, 0), normal(2, 3))],
    "reshape": [(lambda a: ops.reshape(a, (3, -1)), normal(2, 6)), (lambda a: ops.reshape(a, -1), normal(2, 3))],
    "transpose": [(ops.transpose, normal(2, 3)), (lambda a: ops.transpose(a, (1, -1, 0)), normal(2, 3, 4))],
    "getitem": [
        (lambda a: a[1], normal(3, 2)),
        (lambda a: a[..., ::-2, None], normal(3, 4)),
        (lambda a: a[np.array([0, 2, 0, 0])], normal(3, 2)),
        (lambda a: a[[0, 0], [1, 1]], normal(3, 2)),
        (lambda a: a[(1, 1), :], normal(3, 2)),
        (lambda a: a[np.array([True, False, True])], normal(3, 2)),
    ],
}
EACH = [pytest.param(*case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)]
EACH = [pytest.param(p.values[0], p.values[1:], id=p.id) for p in EACH]
each_case = pytest.mark.parametrize(("fn", "inputs"), EACH)


def weighed(fn: Any) -> Any:
    """`fn` times fixed weights: of the bare sum of a softmax, every gradient would be 0."""

    def call(*args: Any) -> Any:
        y = fn(*args)
        return y * np.random.default_rng(1).uniform(0.5, 2, y.shape).astype(y.dtype)

    return call


def run(fn: Any, arrays: list[Any]) -> tuple[Tensor, list[Tensor]]:
    tensors = [Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) else a for a in arrays]
    out = weighed(fn)(*tensors)
    out.sum().backward()
    return out, [t for t in tensors if isinstance(t, Tensor)]


def test_every_operation_is_in_the_table() -> None:
    assert sorted(CASES) == sorted(ops.__all__)


@each_case
def test_gradient_equals_finite_differences(fn: Any, inputs: tuple[Any, ...]) -> None:
    assert gradcheck(weighed(fn), *inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_value_and_gradient_keep_the_dtype(fn: Any, inputs: tuple[Any, ...], dtype: type) -> None:
    arrays = [x.astype(dtype) if isinstance(x, np.ndarray) else x for x in inputs]
    assert fn(*[Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]).dtype == dtype
    _, tensors = run(fn, arrays)
    for t in tensors:
        assert type(t.grad) is np.ndarray
        assert (t.grad.dtype, t.grad.shape) == (dtype, t.shape)


@each_case
def test_float32_is_kept_on_the_way_back_too(fn: Any, inputs: tuple[Any, ...]) -> None:
    # The tape casts what a pullback returns, which would hide a leak inside it.
    tensors = [Tensor(x.astype(np.float32), requires_grad=True) if isinstance(x, np.ndarray) else x for x in inputs]
    out = fn(*tensors)
    for _, pullback in out._edges:
        assert np.asarray(pullback(np.ones_like(out.data))).dtype == np.float32


@pytest.mark.parametrize("layout", ["read-only", "strided", "Fortran", "reversed"])
@each_case
def test_inputs_of_any_layout_give_the_same_and_are_never_written_to(
    fn: Any, inputs: tuple[Any, ...], layout: str
) -> None:
    def laid_out(x: np.ndarray) -> np.ndarray:
        if layout == "read-only":
            y = x.copy()
            y.flags.writeable = False
            return y
        if layout == "strided":
            return np.repeat(x, 2, axis=-1)[..., ::2]
        return np.asfortranarray(x) if layout == "Fortran" else np.ascontiguousarray(x[::-1])[::-1]

    plain, plain_tensors = run(fn, [x.copy() if isinstance(x, np.ndarray) else x for x in inputs])
    arrays = [laid_out(x) if isinstance(x, np.ndarray) else x for x in inputs]
    found, tensors = run(fn, arrays)
    np.testing.assert_allclose(found.data, plain.data, rtol=1e-13, atol=1e-15)
    for t, p, x in zip(tensors, plain_tensors, [x for x in inputs if isinstance(x, np.ndarray)], strict=True):
        np.testing.assert_allclose(t.grad, p.grad, rtol=1e-13, atol=1e-15)
        np.testing.assert_array_equal(t.data, x)


# float32 beside what NumPy 2 would promote it with.


@pytest.mark.parametrize(
    "other",
    [
        np.sqrt(1 / 784),
        np.sum(np.array([True, False, True])),
        np.float64(0.5),
        np.eye(3, dtype=np.int64)[1],
        np.array([1, 2, 3], np.uint8),
        np.array([True, False, True]),
        [1, 2, 3],
        2,
        0.5,
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}",
)
@pytest.mark.parametrize("op", [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power], ids=lambda op: op.__name__)
def test_float32_stays_float32_beside(op: Any, other: Any) -> None:
    x = Tensor(np.array([1, 2, 3], np.float32), requires_grad=True)
    with np.errstate(divide="ignore"):
        y = op(x, other)
    assert y.dtype == np.float32


def test_float32_stays_float32_beside_an_operand_given_by_name() -> None:
    x = Tensor(np.array([1, 2, 3], np.float32), requires_grad=True)
    assert ops.multiply(x, b=np.array([1, 2, 3])).dtype == np.float32
    assert ops.multiply(x, b=np.float64(0.5)).dtype == np.float32


def test_pixels_divided_by_255_are_float32() -> None:
    assert (Tensor(np.array([0, 255], np.uint8)) / 255).dtype == np.float32


def test_a_float32_number_stays_float32() -> None:
    x = Tensor(3.0, requires_grad=True)
    assert ((x * np.sqrt(0.5) - 1) / 3).dtype == np.float32


# Corners.


def test_large_inputs_neither_overflow_nor_warn() -> None:
    big = Tensor(np.array([[1e4, -1e4, 0]], np.float32), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ops.sigmoid(big).data, [[1, 0, 0.5]])
        np.testing.assert_array_equal(ops.softmax(big).data, [[1, 0, 0]])
        np.testing.assert_array_equal(ops.log_softmax(big).data, [[0, -2e4, -1e4]])
        np.testing.assert_array_equal(ops.logsumexp(big).data, [1e4])
        loss = ops.cross_entropy(big, np.array([1]))
        loss.backward()
    assert loss.item() == 2e4
    np.testing.assert_array_equal(big.grad, [[1, -1, 0]])


def test_relu_has_gradient_0_at_the_kink() -> None:
    x = Tensor([-1.0, 0.0, 1.0], requires_grad=True)
    x.relu().sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1])


def test_powers_of_zero_have_the_gradients_of_calculus() -> None:
    x = Tensor([0.0, 0.0, 0.0], requires_grad=True)
    p = Tensor([0.0, 1.0, 2.0], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.power(x, p).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])
    np.testing.assert_array_equal(p.grad, [0, 0, 0])


def test_an_element_read_twice_gets_twice_the_gradient() -> None:
    for index in (np.array([0, 0, 2]), [0, 0, 2], ((0, 0, 2),), range(-2, 2)):
        x = Tensor(np.ones(3), requires_grad=True)
        x[index].sum().backward()
        expected = np.zeros(3)
        np.add.at(expected, index, 1)
        np.testing.assert_array_equal(x.grad, expected, err_msg=str(index))


def test_an_index_may_be_a_tensor_of_integers() -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[Tensor(np.array([2, 2]))]
    np.testing.assert_array_equal(y.data, [3, 3])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 2])


def test_cross_entropy_is_the_mean_negative_log_probability() -> None:
    z, labels = normal(5, 4), np.array([3, 0, 1, 1, 2])
    probabilities = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(5), labels]).mean()
    np.testing.assert_allclose(ops.cross_entropy(z, labels), expected, rtol=1e-14)


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([-1, 0]), np.array([0]), np.array([[0, 1]])])
def test_cross_entropy_refuses_labels_that_do_not_fit(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"cross_entropy.*labels"):
        ops.cross_entropy(Tensor(np.zeros((2, 3))), labels)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((3,), (2,)), ((2, 4, 3), (3, 3, 1)), ((), (2,))])
def test_matmul_names_itself_and_both_shapes(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="matmul") as caught:
        Tensor(np.ones(shapes[0])) @ Tensor(np.ones(shapes[1]))
    assert all(str(s) in str(caught.value) for s in shapes)


def test_linear_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"linear: x \(2, 3\) and weight \(4, 5\)"):
        ops.linear(Tensor(np.ones((2, 3))), np.ones((4, 5)))


@pytest.mark.parametrize("op", [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power], ids=lambda op: op.__name__)
def test_a_shape_error_names_the_operation_and_both_shapes(op: Any) -> None:
    with pytest.raises(ValueError, match=op.__name__) as caught:
        op(Tensor(np.ones((2, 3))), Tensor(np.ones((2, 4))))
    text = str(caught.value).replace(" ", "")
    assert "(2,3)" in text
    assert "(2,4)" in text


def test_dropout_keeps_the_expectation_and_drops_the_gradient_with_the_value() -> None:
    x = Tensor(np.ones((200, 200), np.float32), requires_grad=True)
    y = ops.dropout(x, 0.25, np.random.default_rng(0))
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.data.mean() - 1) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_operators_and_methods_are_the_operations() -> None:
    a, b = Tensor(positive(2, 2)), Tensor(positive(2, 2))
    pairs = [
        (a + b, ops.add(a, b)),
        (a - b, ops.subtract(a, b)),
        (a * b, ops.multiply(a, b)),
        (a / b, ops.divide(a, b)),
        (a**b, ops.power(a, b)),
        (a @ b, ops.matmul(a, b)),
        (-a, ops.negative(a)),
        (1 + a, ops.add(1, a)),
        (1 - a, ops.subtract(1, a)),
        (2 * a, ops.multiply(2, a)),
        (1 / a, ops.divide(1, a)),
        (2**a, ops.power(2, a)),
        (a.data @ b, ops.matmul(a, b)),
        (a.exp(), ops.exp(a)),
        (a.log(), ops.log(a)),
        (a.sqrt(), ops.sqrt(a)),
        (a.tanh(), ops.tanh(a)),
        (a.sigmoid(), ops.sigmoid(a)),
        (a.relu(), ops.relu(a)),
        (a.sum(0), ops.sum(a, 0)),
        (a.mean(1, keepdims=True), ops.mean(a, 1, True)),
        (a.softmax(0), ops.softmax(a, 0)),
        (a.log_softmax(0), ops.log_softmax(a, 0)),
        (a.reshape(4), ops.reshape(a, 4)),
        (a.reshape(1, -1), ops.reshape(a, (1, -1))),
        (a.transpose(1, 0), ops.transpose(a, (1, 0))),
        (a.transpose(), ops.transpose(a)),
        (a.T, ops.transpose(a)),
    ]
    for i, (found, expected) in enumerate(pairs):
        assert type(found) is Tensor
        np.testing.assert_array_equal(found.data, expected.data, err_msg=f"pair {i}")


def test_values_are_numpys() -> None:
    a, b = positive(2, 3), positive(3)
    for name in ("add", "subtract", "multiply", "divide", "power"):
        np.testing.assert_array_equal(getattr(ops, name)(a, b), getattr(np, name)(a, b))
    for name in ("exp", "log", "sqrt", "tanh", "negative", "sum", "mean", "transpose"):
        np.testing.assert_array_equal(getattr(ops, name)(a), getattr(np, name)(a))
    np.testing.assert_allclose(ops.sigmoid(a), 1 / (1 + np.exp(-a)), rtol=1e-14)
    np.testing.assert_allclose(ops.logsumexp(a), np.log(np.exp(a).sum(-1)), rtol=1e-14)
    np.testing.assert_allclose(ops.log_softmax(a), np.log(ops.softmax(a)), rtol=1e-13)
    np.testing.assert_allclose(ops.linear(a, np.eye(3), b), a + b, rtol=1e-14)


# reshape and transpose take a tuple too, as NumPy's and torch's do.


def test_a_shape_may_be_given_as_a_tuple() -> None:
    x = Tensor(np.arange(6.0))
    assert x.reshape((2, 3)).shape == (2, 3)
    assert x.reshape(2, 3).transpose((1, 0)).shape == (3, 2)
