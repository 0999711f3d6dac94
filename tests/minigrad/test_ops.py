"""Every rule against finite differences, in both dtypes, from any memory layout, and in its corners."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from op_cases import CASES, normal, positive, run, weighed

from minigrad import Tensor, gradcheck, no_grad, ops
from minigrad.ops import elementwise

EACH = [
    pytest.param(case[0], case[1:], id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)
]
each_case = pytest.mark.parametrize(("fn", "inputs"), EACH)
each_operation = pytest.mark.parametrize("cases", CASES.values(), ids=CASES)


def leaves(inputs: Any, dtype: type = np.float64) -> list[Any]:
    return [Tensor(x.astype(dtype), requires_grad=True) if isinstance(x, np.ndarray) else x for x in inputs]


def test_every_operation_is_in_the_table() -> None:
    assert sorted(CASES) == sorted(ops.__all__)
    assert all(CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_an_operation_call_that_operation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A case that called another one would leave its own untested.
    called: list[int] = []
    own = getattr(ops, name)
    monkeypatch.setattr(ops, name, lambda *args, **options: called.append(1) or own(*args, **options))
    for i, (fn, *inputs) in enumerate(CASES[name]):
        called.clear()
        fn(*leaves(inputs))
        assert called or fn is own, f"case {i}"


@each_case
def test_gradient_equals_finite_differences(fn: Any, inputs: tuple[Any, ...]) -> None:
    assert gradcheck(weighed(fn), *inputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_operation
def test_value_and_gradient_keep_the_dtype(cases: list[tuple[Any, ...]], dtype: type) -> None:
    for i, (fn, *inputs) in enumerate(cases):
        assert fn(*leaves(inputs, dtype)).dtype == dtype, f"case {i}"
        _, tensors = run(fn, [x.astype(dtype) if isinstance(x, np.ndarray) else x for x in inputs])
        for t in tensors:
            assert type(t.grad) is np.ndarray
            assert (t.grad.dtype, t.grad.shape) == (dtype, t.shape), f"case {i}"


@each_operation
def test_float32_is_kept_on_the_way_back_too(cases: list[tuple[Any, ...]]) -> None:
    # The tape casts what a pullback returns, which would hide a leak inside it.
    for i, (fn, *inputs) in enumerate(cases):
        queue = [fn(*leaves(inputs, np.float32))]
        for node in queue:
            for operand, pullback, _ in node._edges:
                assert np.asarray(pullback(np.ones_like(node.data))).dtype == np.float32, f"case {i}, {node._op}"
                queue.append(operand)


LAYOUTS = {
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "Fortran": lambda x: np.array(x, order="F"),
    "reversed": lambda x: np.array(x[::-1])[::-1],
}


@each_operation
def test_inputs_of_any_layout_give_the_same_and_are_never_written_to(cases: list[tuple[Any, ...]]) -> None:
    def read_only(x: np.ndarray) -> np.ndarray:
        x.flags.writeable = False
        return x

    for i, (fn, *inputs) in enumerate(cases):
        arrays = [x for x in inputs if isinstance(x, np.ndarray)]
        plain, plain_tensors = run(fn, [read_only(x.copy()) if isinstance(x, np.ndarray) else x for x in inputs])
        for layout, laid_out in LAYOUTS.items():
            which = f"case {i}, {layout}"
            found, tensors = run(fn, [read_only(laid_out(x)) if isinstance(x, np.ndarray) else x for x in inputs])
            np.testing.assert_allclose(found.data, plain.data, rtol=1e-12, atol=1e-14, err_msg=which)
            for t, p, x in zip(tensors, plain_tensors, arrays, strict=True):
                np.testing.assert_allclose(t.grad, p.grad, rtol=1e-12, atol=1e-14, err_msg=which)
                np.testing.assert_array_equal(t.data, x, err_msg=which)


@each_operation
def test_writable_inputs_are_not_written_to_either(cases: list[tuple[Any, ...]]) -> None:
    # A rule that asks first whether it may would pass the test of read-only inputs.
    for i, (fn, *inputs) in enumerate(cases):
        tensors = leaves(inputs)
        out = fn(*tensors)
        value = out.data.copy()
        out.backward(np.ones(out.shape))
        np.testing.assert_array_equal(out.data, value, err_msg=f"case {i}")
        for t, x in zip(tensors, inputs, strict=True):
            if isinstance(t, Tensor):
                np.testing.assert_array_equal(t.data, x, err_msg=f"case {i}")


@each_operation
def test_a_pullback_may_be_called_twice_and_leaves_the_gradient_it_was_given(cases: list[tuple[Any, ...]]) -> None:
    for i, (fn, *inputs) in enumerate(cases):
        out = fn(*leaves(inputs))
        given = np.random.default_rng(2).normal(size=out.shape)
        given.flags.writeable = False
        for _, pullback, _ in out._edges:
            once = np.array(pullback(given))
            np.testing.assert_array_equal(pullback(given), once, err_msg=f"case {i}")


@each_operation
def test_of_plain_arrays_comes_the_same_value_as_a_plain_array(cases: list[tuple[Any, ...]]) -> None:
    for i, (fn, *inputs) in enumerate(cases):
        of_arrays = fn(*inputs)
        assert isinstance(of_arrays, (np.ndarray, np.generic))
        np.testing.assert_array_equal(of_arrays, fn(*leaves(inputs)).data, err_msg=f"case {i}")


@each_operation
def test_no_grad_changes_no_value(cases: list[tuple[Any, ...]]) -> None:
    for i, (fn, *inputs) in enumerate(cases):
        tensors = leaves(inputs)
        recorded = fn(*tensors)
        with no_grad():
            found = fn(*tensors)
        assert recorded.requires_grad
        assert not found.requires_grad
        np.testing.assert_array_equal(found.data, recorded.data, err_msg=f"case {i}")


@each_operation
def test_nothing_is_recorded_of_tensors_that_need_no_gradient(cases: list[tuple[Any, ...]]) -> None:
    for fn, *inputs in cases:
        out = fn(*[Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs])
        assert type(out) is Tensor
        assert not out.requires_grad
        assert not out._edges


# Corners.


def test_large_inputs_neither_overflow_nor_warn() -> None:
    big = Tensor(np.array([[1e4, -1e4, 0]], np.float32), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ops.sigmoid(big).data, [[1, 0, 0.5]])
        np.testing.assert_array_equal(ops.silu(big).data, [[1e4, 0, 0]])
        np.testing.assert_array_equal(ops.gelu(big).data, [[1e4, 0, 0]])
        np.testing.assert_allclose(ops.softplus(big).data, [[1e4, 0, np.log(2)]], rtol=1e-6)
        np.testing.assert_array_equal(ops.elu(big).data, [[1e4, -1, 0]])
        np.testing.assert_array_equal(ops.softmax(big).data, [[1, 0, 0]])
        np.testing.assert_array_equal(ops.log_softmax(big).data, [[0, -2e4, -1e4]])
        np.testing.assert_array_equal(ops.logsumexp(big).data, [1e4])
        loss = ops.cross_entropy(big, np.array([1]))
        loss.backward()
    assert loss.item() == 2e4
    np.testing.assert_array_equal(big.grad, [[1, -1, 0]])


def test_the_norm_of_huge_and_of_tiny_numbers_is_neither_infinite_nor_zero() -> None:
    for scale in (1e30, 1e-30):
        x = Tensor(np.array([3, 4], np.float32) * np.float32(scale), requires_grad=True)
        y = ops.norm(x)
        y.backward()
        np.testing.assert_allclose(y.data, 5 * scale, rtol=1e-6)
        np.testing.assert_allclose(x.grad, [0.6, 0.8], rtol=1e-6)


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
    for y in (x[Tensor(np.array([2, 2]))], ops.take(x, Tensor(np.array([2, 2])))):
        np.testing.assert_array_equal(y.data, [3, 3])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 2])


def test_a_tensor_that_needs_no_gradient_may_be_an_option() -> None:
    x = Tensor([1.0, -2.0], requires_grad=True)
    y = ops.where(Tensor(np.array([True, False])), x, 0.0) + ops.clip(x, min=Tensor([0.0, 0.0]))
    np.testing.assert_array_equal(y.data, [2, 0])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 0])


def test_cross_entropy_is_the_mean_negative_log_probability() -> None:
    z, labels = normal(5, 4), np.array([3, 0, 1, 1, 2])
    probabilities = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.log(probabilities[np.arange(5), labels]).mean()
    np.testing.assert_allclose(ops.cross_entropy(z, labels), expected, rtol=1e-14)


def test_cross_entropy_is_nll_loss_of_log_softmax() -> None:
    z, labels, weight = normal(5, 4), np.array([3, 0, 1, 1, 2]), positive(4)
    for reduction in ("mean", "sum", "none"):
        np.testing.assert_allclose(
            ops.cross_entropy(z, labels, weight, reduction),
            ops.nll_loss(ops.log_softmax(z), labels, weight, reduction),
            rtol=1e-13,
        )


@pytest.mark.parametrize("shape", [(200, 200), (40, 10, 100)])
def test_dropout_keeps_the_expectation_and_drops_the_gradient_with_the_value(shape: tuple[int, ...]) -> None:
    x = Tensor(np.ones(shape, np.float32), requires_grad=True)
    y = ops.dropout(x, 0.25, rng=np.random.default_rng(0))
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(y.data.mean() - 1) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_dropout_draws_anew_without_a_generator_and_the_same_from_the_same_one() -> None:
    x = np.ones(1000)
    assert not np.array_equal(ops.dropout(x), ops.dropout(x))
    np.testing.assert_array_equal(*(ops.dropout(x, rng=np.random.default_rng(5)) for _ in range(2)))


def test_dropout_takes_a_number() -> None:
    values = {ops.dropout(Tensor(1.0), 0.5, rng=np.random.default_rng(i)).item() for i in range(20)}
    assert values == {0.0, 2.0}


def test_dropout_outside_training_is_the_input_itself() -> None:
    x = Tensor(normal(3, 4), requires_grad=True)
    y = ops.dropout(x, 0.9, training=False)
    np.testing.assert_array_equal(y.data, x.data)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones((3, 4)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_erf_without_scipy_is_the_same(monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    elementwise._special.cache_clear()
    try:
        x = Tensor(np.linspace(-4, 4, 9, dtype=dtype).reshape(3, 3), requires_grad=True)
        y = ops.erf(x)
        np.testing.assert_allclose(y.data.ravel(), [math.erf(v) for v in x.data.ravel()], rtol=1e-6)
        assert y.dtype == dtype
        assert ops.gelu(x).dtype == dtype
        assert ops.erf(np.zeros((0, 2), dtype)).shape == (0, 2)
        assert ops.erf(dtype(0.5)).dtype == dtype
    finally:
        elementwise._special.cache_clear()


def test_values_are_numpys() -> None:
    a, b = positive(2, 3), positive(3)
    for name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "outer"):
        np.testing.assert_array_equal(getattr(ops, name)(a, b), getattr(np, name)(a, b), err_msg=name)
    of_one = [
        *("abs", "arctan", "cos", "cosh", "exp", "expm1", "log", "log1p", "log2", "log10", "negative", "reciprocal"),
        *("sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "sum", "mean", "var", "prod", "max", "min"),
        *("cumsum", "transpose", "squeeze", "flip", "tril", "triu"),
    ]
    for name in of_one:
        np.testing.assert_array_equal(getattr(ops, name)(a), getattr(np, name)(a), err_msg=name)
    np.testing.assert_allclose(ops.std(a), np.std(a), rtol=1e-15)
    np.testing.assert_array_equal(ops.arcsin(a / 2), np.arcsin(a / 2))
    np.testing.assert_allclose(ops.sigmoid(a), 1 / (1 + np.exp(-a)), rtol=1e-14)
    np.testing.assert_allclose(ops.logsumexp(a), np.log(np.exp(a).sum(-1)), rtol=1e-14)
    np.testing.assert_allclose(ops.log_softmax(a), np.log(ops.softmax(a)), rtol=1e-13)
    np.testing.assert_allclose(ops.linear(a, np.eye(3), b), a + b, rtol=1e-14)


@pytest.mark.parametrize("name", ["squeeze", "flip", "roll", "pad", "tile", "take", "split", "stack", "concatenate"])
def test_shapes_are_moved_as_numpy_moves_them(name: str) -> None:
    calls: dict[str, Any] = {
        "squeeze": lambda m: m.squeeze(np.ones((1, 2, 1)), -1),
        "flip": lambda m: m.flip(np.arange(6.0).reshape(2, 3), 1),
        "roll": lambda m: m.roll(np.arange(6.0).reshape(2, 3), (1, 2), (0, 1)),
        "pad": lambda m: m.pad(np.arange(6.0).reshape(2, 3), ((1, 2), (0, 3)), constant_values=7),
        "tile": lambda m: m.tile(np.arange(6.0).reshape(2, 3), (2, 1, 2)),
        "take": lambda m: m.take(np.arange(6.0).reshape(2, 3), [[2, 0]], axis=1),
        "split": lambda m: m.concatenate(m.split(np.arange(8.0).reshape(2, 4), [3, 1], axis=1)[::-1], axis=1),
        "stack": lambda m: m.stack([np.arange(3.0), np.ones(3)], axis=-1),
        "concatenate": lambda m: m.concatenate([np.ones((2, 1)), np.zeros((2, 2))], axis=1),
    }
    np.testing.assert_array_equal(calls[name](ops), calls[name](np))
