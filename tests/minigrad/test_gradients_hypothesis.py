"""Gradients over random shapes, axes and indices."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, gradcheck, ops

few = settings(max_examples=40)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)


def values(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """From 0.3 to 2, where every elementwise operation is smooth."""
    return np.random.default_rng([seed, *shape]).uniform(0.3, 2, shape)


def weighed(fn: Any) -> Any:
    """`fn` times fixed weights, so that a gradient in the wrong place shows."""

    def call(*args: Any) -> Any:
        y = fn(*args)
        return y * values(y.shape, 9)

    return call


@few
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
@pytest.mark.parametrize("op", [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power], ids=lambda op: op.__name__)
def test_binary_operations_broadcast(op: Any, both: hnp.BroadcastableShapes) -> None:
    a, b = (values(shape, i) for i, shape in enumerate(both.input_shapes))
    assert ops.add(a, b).shape == both.result_shape
    assert gradcheck(weighed(op), a, b)


@few
@given(shapes)
@pytest.mark.parametrize(
    "op",
    [ops.negative, ops.exp, ops.log, ops.sqrt, ops.tanh, ops.sigmoid, ops.relu],
    ids=lambda op: op.__name__,
)
def test_unary_operations_keep_the_shape(op: Any, shape: tuple[int, ...]) -> None:
    a = values(shape, 0)
    assert op(a).shape == shape
    assert gradcheck(weighed(op), a)


@few
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=3), st.booleans())
@pytest.mark.parametrize("name", ["sum", "mean", "logsumexp"])
def test_reductions_take_any_axes(name: str, data: st.DataObject, shape: tuple[int, ...], keepdims: bool) -> None:
    axis = data.draw(
        st.none() | st.integers(-len(shape), len(shape) - 1) | hnp.valid_tuple_axes(len(shape), min_size=1),
        label="axis",
    )
    op, a = getattr(ops, name), values(shape, 0)
    plain = {"sum": np.sum, "mean": np.mean, "logsumexp": lambda *x, **k: np.log(np.sum(np.exp(x[0]), x[1], **k))}
    np.testing.assert_allclose(op(a, axis, keepdims), plain[name](a, axis, keepdims=keepdims), rtol=1e-13)
    assert gradcheck(weighed(lambda t: op(t, axis, keepdims)), a)


@few
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=3))
@pytest.mark.parametrize("op", [ops.softmax, ops.log_softmax], ids=lambda op: op.__name__)
def test_softmax_takes_any_axis(op: Any, data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1), label="axis")
    a = values(shape, 0)
    assert gradcheck(weighed(lambda t: op(t, axis)), a)
    probabilities = op(a, axis) if op is ops.softmax else np.exp(op(a, axis))
    np.testing.assert_allclose(probabilities.sum(axis), 1, rtol=1e-13)


@few
@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=3))
def test_matmul_takes_stacks_and_vectors(both: hnp.BroadcastableShapes) -> None:
    a, b = (values(shape, i) for i, shape in enumerate(both.input_shapes))
    np.testing.assert_array_equal(ops.matmul(a, b), a @ b)
    assert gradcheck(weighed(ops.matmul), a, b)


def check_index(shape: tuple[int, ...], index: Any) -> None:
    """Each element's gradient is the sum of the weights of the places it was read at."""
    x = Tensor(values(shape, 0), requires_grad=True)
    y = x[index]
    weights = values(y.shape, 1)
    (y * weights).sum().backward()
    expected = np.zeros(shape)
    np.add.at(expected, index, weights)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-13)


@settings(max_examples=100)
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=4))
def test_basic_indices(data: st.DataObject, shape: tuple[int, ...]) -> None:
    check_index(shape, data.draw(hnp.basic_indices(shape, allow_newaxis=True), label="index"))


@settings(max_examples=100)
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=4))
def test_integer_array_indices(data: st.DataObject, shape: tuple[int, ...]) -> None:
    index = data.draw(hnp.integer_array_indices(shape), label="index")
    check_index(shape, index)
    check_index(shape, tuple(part.tolist() for part in index))


@few
@given(st.data(), hnp.array_shapes(max_dims=4, max_side=3))
def test_transpose_takes_any_permutation(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axes = data.draw(st.permutations(range(len(shape))), label="axes")
    axes = tuple(a - len(shape) * data.draw(st.booleans()) for a in axes)
    x = Tensor(values(shape, 0), requires_grad=True)
    y = ops.transpose(x, axes)
    weights = values(y.shape, 1)
    (y * weights).sum().backward()
    moved = np.moveaxis(weights, range(len(shape)), [a % len(shape) for a in axes])
    np.testing.assert_array_equal(x.grad, moved)


@few
@given(st.lists(st.sampled_from("+*-/"), max_size=12), st.integers(0, 2**32))
def test_any_graph_of_shared_tensors_has_the_gradient_of_finite_differences(steps: list[str], seed: int) -> None:
    rules: dict[str, Any] = {
        "+": ops.add,
        "-": lambda p, q: p - ops.sigmoid(q),
        "*": lambda p, q: p * ops.tanh(q),
        "/": lambda p, q: p / (q * q + 1),
    }

    def build(a: Any, b: Any) -> Any:
        rng = np.random.default_rng(seed)
        pool = [a, b]
        for step in steps:
            p, q = (pool[i] for i in rng.integers(0, len(pool), 2))
            pool.append(rules[step](p, q))
        return pool[-1] + ops.sum(pool[len(pool) // 2]) + ops.add(a, b)

    assert gradcheck(weighed(build), values((2, 3), 0), values((3,), 1), rtol=1e-4, atol=1e-6)
