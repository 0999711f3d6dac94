"""Values at the edges of the range, other dtypes, byte orders and layouts, and axes of numbers and of empty arrays."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch
from op_cases import CASES, run

from minigrad import Tensor, ops

inf, nan = np.inf, np.nan
each_operation = pytest.mark.parametrize("cases", CASES.values(), ids=CASES)


def gradient(call: Any, *arrays: Any, dtype: Any = np.float32, g: float = 1.0) -> Any:
    """The gradients of `call` at arrays of `dtype`, one or a list."""
    tensors = [Tensor(np.asarray(a, dtype), requires_grad=True) for a in arrays]
    y = call(*tensors)
    y.backward(np.full(y.shape, g, y.dtype))
    gradients = [t.grad for t in tensors]
    return gradients if len(gradients) > 1 else gradients[0]


# Intermediates that are not representable, or that cancel.

# (operation, input, gradient of the output, gradient of the input); each once lost all of its digits.
EXACT: list[tuple[Any, float, float, float]] = [
    (lambda b: ops.divide(np.float32(1e20), b), 1e20, 1, -1e-20),
    (lambda b: ops.divide(np.float32(1e-25), b), 1e-25, 1, -1e25),
    (ops.reciprocal, 1e25, 1e30, -1e-20),
    (ops.rsqrt, 1e-30, 1e-20, -5e24),
    (ops.square, 1e-38, 2e38, 4),
    (ops.expm1, -20.0, 1, np.exp(-20.0)),
    (ops.log10, 3e38, 1e10, 1e10 / 3e38 / np.log(10)),
    (ops.tanh, 10.0, 1, np.cosh(10.0) ** -2.0),
    (ops.tanh, -100.0, 1, 0),
    (ops.arcsin, 1 - 2.0**-24, 1, (2.0**-24 * (2 - 2.0**-24)) ** -0.5),
    (ops.arctan, 1e20, 1e20, 1e-20),
    (ops.sigmoid, 20.0, 1, np.exp(-20.0) / (1 + np.exp(-20.0)) ** 2),
    (ops.elu, -20.0, 1, np.exp(-20.0)),
    (ops.gelu, -8.0, 1, math.erfc(8 / math.sqrt(2)) / 2 - 8 * math.exp(-32) / math.sqrt(2 * math.pi)),
    (lambda a: ops.gelu(a, "tanh"), 1e20, 1, 1),
    (lambda a: ops.gelu(a, "tanh"), -1e20, 1, 0),
    (lambda a: ops.softplus(a, 10.0), 1e38, 1, 1),
    (lambda a: ops.std(ops.stack([a, -a])), 1e25, 1, 1),
    (lambda a: ops.std(ops.stack([a, -a])), 1e-25, 1, 1),
]


@pytest.mark.parametrize(("call", "a", "g", "expected"), EXACT)
def test_a_gradient_is_accurate_although_a_square_is_not_representable_or_a_difference_cancels(
    call: Any, a: float, g: float, expected: float
) -> None:
    with np.errstate(over="ignore", under="ignore", invalid="raise"):
        np.testing.assert_allclose(gradient(call, a, g=g), expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:overflow")
def test_values_in_the_tails_keep_their_digits() -> None:
    x = np.array([-9, -5, 5], np.float32)
    np.testing.assert_allclose(ops.gelu(x), [-1.01572e-18, -1.433258e-06, 4.9999986], rtol=1e-5)
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(float) ** 3)
    np.testing.assert_allclose(ops.gelu(x, "tanh"), x / (1 + np.exp(-2 * u)), rtol=2e-5)
    np.testing.assert_allclose(ops.softplus(np.float32(3e38), 10.0), np.float32(3e38))
    losses = ops.binary_cross_entropy_with_logits(np.array([-50, 50], np.float32), np.array([0, 1]), None, "none")
    np.testing.assert_allclose(losses, np.full(2, np.exp(-50)), rtol=1e-5)


def test_the_gradient_of_a_product_whose_value_underflows_is_the_product_of_the_others() -> None:
    np.testing.assert_allclose(gradient(ops.prod, [1e-30, 1e-30, 2.0]), [2e-30, 2e-30, 0], rtol=1e-6)
    np.testing.assert_array_equal(gradient(ops.prod, [0.0, 3.0, 2.0]), [6, 0, 0])


def test_the_deviations_of_large_numbers_sum_to_zero() -> None:
    a = np.random.default_rng(0).normal(1e6, 1, 1000)
    exact = gradient(ops.var, a.astype(np.float32), dtype=float)
    np.testing.assert_allclose(gradient(ops.var, a), exact, rtol=0.01, atol=1e-6)


def test_nan_gets_the_gradient_that_torch_gives_it() -> None:
    np.testing.assert_array_equal(gradient(ops.maximum, [nan, 1.0, 2.0], [0.0, nan, 2.0]), [[1, 1, 0.5], [1, 1, 0.5]])
    np.testing.assert_array_equal(gradient(ops.relu, [nan, -1.0]), [1, 0])
    np.testing.assert_array_equal(gradient(lambda a: ops.clip(a, -1, 1), [nan, 3.0, 0.5]), [0, 0, 1])


# Pooling.


def test_max_pooling_gives_the_gradient_to_pixels_and_never_to_padding() -> None:
    rng = np.random.default_rng(0)
    for trial in range(60):
        x = rng.choice([-inf, nan, 1.0, 2.0, inf], size=(2, 1, 4, 5), p=[0.5, 0.1, 0.1, 0.2, 0.1])
        kernel = tuple(map(int, rng.integers(1, 4, 2)))
        padding, stride = (
            tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
            tuple(map(int, rng.integers(1, 3, 2))),
        )
        t = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.max_pool2d(t, kernel, stride, padding)
        expected.sum().backward()
        a = Tensor(x, requires_grad=True)
        y = ops.max_pool2d(a, kernel, stride, padding)
        y.backward(np.ones(y.shape))
        np.testing.assert_array_equal(y.data, expected.detach().numpy(), err_msg=str(trial))
        np.testing.assert_array_equal(a.grad, t.grad.numpy(), err_msg=str(trial))


def test_max_pooling_of_negative_integers_ignores_the_padding() -> None:
    y = ops.max_pool2d(np.full((1, 1, 2, 2), -3, np.int8), 2, padding=1)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -3))


# Dtypes and layouts.


def test_means_and_maxima_of_many_float16_elements_have_a_gradient() -> None:
    n = 70_000
    ones = np.ones(n)
    np.testing.assert_array_equal(gradient(ops.mean, ones, dtype=np.float16, g=100), np.float16(100 / n))
    np.testing.assert_array_equal(gradient(ops.max, ones, dtype=np.float16, g=100), np.float16(100 / n))
    assert ops.mean(np.ones(n, np.float16)) == 1
    assert ops.std(np.array([300.0, -300.0], np.float16)) == 300
    labels = np.zeros(n, int)
    g = gradient(lambda x: ops.cross_entropy(x, labels), np.zeros((n, 2)), dtype=np.float16, g=1000)
    np.testing.assert_array_equal(g[:, 1], np.float16(500 / n))


FORMATS = {"float16": 4e-3, "longdouble": 1e-12, ">f4": 1e-4, ">f8": 1e-12}


@pytest.mark.parametrize("dtype", FORMATS)
@each_operation
def test_other_floating_formats_give_the_same_and_are_kept(cases: list[tuple[Any, ...]], dtype: str) -> None:
    tolerance = FORMATS[dtype]
    for i, (fn, *inputs) in enumerate(cases):
        arrays = [x.astype(dtype) if isinstance(x, np.ndarray) else x for x in inputs]
        wide = [x.astype(float) if isinstance(x, np.ndarray) else x for x in arrays]
        (expected, others), (found, tensors) = run(fn, wide), run(fn, arrays)
        assert found.dtype.kind == "f"
        assert found.dtype.itemsize == np.dtype(dtype).itemsize, f"case {i}"
        np.testing.assert_allclose(found.data, expected.data, 3 * tolerance, tolerance, err_msg=f"case {i}")
        for t, other in zip(tensors, others, strict=True):
            assert t.grad.dtype == dtype
            np.testing.assert_allclose(t.grad, other.grad, 5 * tolerance, 5 * tolerance, err_msg=f"case {i}")


UNARY = ["sigmoid", "exp", "tanh", "softplus", "gelu", "sqrt", "negative", "abs", "square", "mean", "std", "softmax"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, bool])
@pytest.mark.parametrize("name", UNARY)
def test_integers_become_float32_with_and_without_tensors(name: str, dtype: type) -> None:
    a = np.array([1, 0, 1]).astype(dtype)
    expected = getattr(ops, name)(a.astype(np.float32))
    for found in (getattr(ops, name)(a), getattr(ops, name)(Tensor(a)).data):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_operands_beside_a_floating_array_get_its_dtype() -> None:
    np.testing.assert_array_equal(ops.multiply(np.ones(2), 0.1), [0.1, 0.1])
    np.testing.assert_array_equal(ops.subtract(np.array([1], np.uint8), np.array([2], np.uint8)), [-1])
    assert ops.add(np.ones(2, np.float32), np.float64(0.1)).dtype == np.float32
    assert ops.add(np.ones(2, np.float32), np.arange(2)).dtype == np.float32
    assert ops.power(np.array([2]), -1) == 0.5


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.ones(2, complex), "complex128"),
        (1j, "complex128"),
        ([1j], "complex128"),
        (np.complex64(1j), "complex64"),
        ("a", "<U1"),
        (np.array(["2020"], "M8[Y]"), r"datetime64\[Y\]"),
        (np.array([None]), "object"),
    ],
)
def test_what_is_not_a_real_number_is_refused_with_its_dtype(x: Any, dtype: str) -> None:
    calls = [lambda: ops.multiply(Tensor([1.0], requires_grad=True), x)]
    if "M8" not in np.asarray(x).dtype.str:  # plain arrays of dates can be moved
        calls.append(lambda: ops.exp(x))
    for call in calls:
        with pytest.raises(TypeError, match=rf"argument \d has dtype {dtype}.*; expected real numbers\Z"):
            call()


@each_operation
def test_a_broadcast_array_gives_the_same_as_its_copy(cases: list[tuple[Any, ...]]) -> None:
    for i, (fn, *inputs) in enumerate(cases):
        if any(isinstance(x, np.ndarray) and not x.ndim for x in inputs):
            continue
        views = [np.broadcast_to(x[:1], x.shape) if isinstance(x, np.ndarray) else x for x in inputs]
        copies = [x.copy() if isinstance(x, np.ndarray) else x for x in views]
        (found, tensors), (expected, others) = run(fn, views), run(fn, copies)
        np.testing.assert_allclose(found.data, expected.data, 1e-12, 1e-14, err_msg=f"case {i}")
        for t, other in zip(tensors, others, strict=True):
            np.testing.assert_allclose(t.grad, other.grad, 1e-12, 1e-14, err_msg=f"case {i}")


# Axes.

ALONG = {
    **{name: getattr(np, name) for name in ("sum", "mean", "var", "std", "prod", "max", "min")},
    "norm": lambda a, axis, keepdims: np.sqrt(np.sum(a * a, axis, keepdims=keepdims)),
    "logsumexp": lambda a, axis, keepdims: np.log(np.sum(np.exp(a), axis, keepdims=keepdims)),
}


def along(name: str) -> Any:
    return lambda a, axis, keepdims: getattr(ops, name)(a, axis=axis, keepdims=keepdims)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("shape", [(3,), (2, 0), (0, 2), (1, 3), (2, 1, 3)])
@pytest.mark.parametrize("name", ALONG)
def test_a_reduction_along_any_axes_is_numpys_or_is_refused_before_the_backward_pass(name: str, shape: Any) -> None:
    for axis in (None, 0, -1, 1, -2, 5, (), (0,), (0, 1), (-1, 0), (0, 0), (0, -2)):
        for keepdims in (False, True):
            a = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
            x = Tensor(a, requires_grad=True)
            try:
                expected = ALONG[name](a, axis=axis, keepdims=keepdims)
            except ValueError:
                with pytest.raises(ValueError, match=rf"\A{name}: operands of shape "):
                    along(name)(x, axis, keepdims)
                continue
            y = along(name)(x, axis, keepdims)
            np.testing.assert_allclose(y.data, expected, rtol=1e-12)
            y.backward(np.ones(y.shape))
            assert x.grad.shape == shape


@pytest.mark.parametrize("name", [*ALONG, "softmax", "log_softmax", "cumsum"])
def test_axis_0_of_a_number_is_the_number_as_in_torch(name: str) -> None:
    theirs = {"max": "amax", "min": "amin"}.get(name, name)
    options = {"correction": 0} if name in ("var", "std") else {}
    function = torch.linalg.vector_norm if name == "norm" else getattr(torch, theirs)
    for axis in (0, -1):
        t, x = torch.tensor(0.7, requires_grad=True), Tensor(np.float32(0.7), requires_grad=True)
        expected, y = function(t, dim=axis, **options), getattr(ops, name)(x, axis=axis)
        expected.backward()
        y.backward()
        assert (y.shape, x.grad.shape) == ((), ())
        np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-6)
        if name != "std":  # torch has NaN, because it divides by the deviation, which is 0
            np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=rf"\A{name}: .*axis 1 is out of bounds"):
        getattr(ops, name)(Tensor(1.0), axis=1)


@pytest.mark.parametrize("axis", [1.0, "x", (0, None)])
@pytest.mark.parametrize("name", ["sum", "var", "max", "softmax", "logsumexp", "norm"])
def test_an_axis_that_is_not_an_int_is_refused_by_name(name: str, axis: Any) -> None:
    with pytest.raises(ValueError, match=rf"\A{name}: .*expected an int, a tuple of ints or None") as caught:
        getattr(ops, name)(Tensor(np.ones((2, 3))), axis=axis)
    assert repr(axis) in str(caught.value)


def test_concatenate_without_an_axis_flattens_as_numpy_does() -> None:
    a, b = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(2.0, requires_grad=True)
    y = ops.concatenate([a, b], axis=None)
    np.testing.assert_array_equal(y.data, [1, 1, 1, 1, 2])
    y.backward(np.arange(5.0))
    np.testing.assert_array_equal(a.grad, [[0, 1], [2, 3]])
    assert b.grad == 4


ODD: dict[str, Any] = {
    "stack": lambda x: ops.stack([x, x], axis=None),
    "concatenate": lambda x: ops.concatenate([x, x], axis=1.5),
    "split": lambda x: ops.split(x, 2.0),
    "take": lambda x: ops.take(x, [0], axis=1.0),
    "pad": lambda x: ops.pad(x, 1.5),
    "tile": lambda x: ops.tile(x, None),
    "flip": lambda x: ops.flip(x, 1.0),
    "expand_dims": lambda x: ops.expand_dims(x, None),
    "transpose": lambda x: ops.transpose(x, 1),
    "cumsum": lambda x: ops.cumsum(x, (0, 1)),
    "einsum": lambda x: ops.einsum(3, x),
    "elu": lambda x: ops.elu(x, None),
    "dropout": lambda x: ops.dropout(x, "a"),
    "var": lambda x: ops.var(x, ddof=None),
}


@pytest.mark.parametrize("name", ODD)
def test_an_option_of_another_type_is_refused_in_one_line_that_names_the_operation(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"\A{name}: ") as caught:
        ODD[name](Tensor(np.ones((2, 2)), requires_grad=True))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ops.tril(Tensor(1.0)), "tril: operands of shape (): expected at least 1 axis"),
        (lambda: ops.embedding([0], Tensor(1.0)), "embedding: weight (); expected (m, width)"),
        (
            lambda: ops.max_pool2d(np.ones((1, 1, 3, 3)), 1.5),
            "max_pool2d: operands of shape (1, 1, 3, 3): kernel_size 1.5; expected an int or two ints,"
            " for the height and the width",
        ),
        (
            lambda: ops.layer_norm(np.ones((2, 3)), ()),
            "layer_norm: operands of shape (2, 3): normalized_shape (); expected at least one axis",
        ),
    ],
)
def test_arguments_without_a_meaning_are_refused(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole sentence is compared)
        call()
    assert str(caught.value) == sentence


def test_ordinary_values_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("tanh", "arctan", "erf", "gelu", "sigmoid", "silu", "elu", "expm1", "softplus"):
            for a in (-1e4, -1.0, 0.0, 1.0, 50.0):
                gradient(getattr(ops, name), a)
