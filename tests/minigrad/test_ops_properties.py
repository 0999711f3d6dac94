"""Gradients over random shapes (from none to four axes, some of size 0), axes, indices and settings."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from op_cases import weighed

from minigrad import Tensor, gradcheck, no_grad, ops

few = settings(max_examples=25)
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
filled = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3)
pairs = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3)


def values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """From 0.3 to 0.95, where every elementwise operation is smooth; no two alike."""
    rng = np.random.default_rng([seed, *shape])
    n = int(np.prod(shape))
    return (0.3 + 0.65 * (rng.permutation(n) + rng.uniform(0.3, 0.7, n)) / max(n, 1)).reshape(shape)


def check(fn: Any, *arrays: np.ndarray) -> np.ndarray:
    """Gradients against central differences along a random direction for each input; returns the value.

    An error in any element shows in a random direction, and one difference costs two calls
    where gradcheck's cost two for each element.
    """
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    out = fn(*tensors)
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.5, 1.5, out.shape)
    out.backward(weights)
    for i, t in enumerate(tensors):
        direction = rng.choice([-1.0, 1.0], t.shape) * rng.uniform(0.5, 1.5, t.shape)
        sides = []
        with no_grad():
            for h in (1e-6, -1e-6):
                moved = [x.data + h * direction if j == i else x.data for j, x in enumerate(tensors)]
                sides.append(np.sum(weights * fn(*map(Tensor, moved)).data))
        gradient = np.zeros(t.shape) if t.grad is None else t.grad
        assert gradient.shape == t.shape
        found, expected = np.sum(gradient * direction), (sides[0] - sides[1]) / 2e-6
        scale = np.sum(np.abs(gradient * direction)) + np.sum(np.abs(weights * out.data))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8 * (1 + scale), err_msg=f"input {i}")
    return out.data


def any_axis(data: st.DataObject, shape: tuple[int, ...]) -> Any:
    """None, an axis from either end, or several."""
    n = len(shape)
    if not n:
        return data.draw(st.sampled_from([None, ()]), label="axis")
    return data.draw(st.none() | st.integers(-n, n - 1) | hnp.valid_tuple_axes(n), label="axis")


def one_axis(data: st.DataObject, shape: tuple[int, ...]) -> int:
    return data.draw(st.integers(-len(shape), len(shape) - 1), label="axis")


# Elementwise.


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
@few
@given(pairs)
def test_binary_operations_broadcast(name: str, both: hnp.BroadcastableShapes) -> None:
    a, b = (values(shape, i) for i, shape in enumerate(both.input_shapes))
    value = check(getattr(ops, name), a, b)
    assert value.shape == both.result_shape
    np.testing.assert_array_equal(value, getattr(np, name)(a, b))


@few
@given(pairs, st.data())
def test_where_broadcasts_with_its_condition(both: hnp.BroadcastableShapes, data: st.DataObject) -> None:
    a, b = (values(shape, i) for i, shape in enumerate(both.input_shapes))
    condition = data.draw(hnp.arrays(bool, both.result_shape), label="condition")
    value = check(lambda x, y: ops.where(condition, x, y), a, b)
    np.testing.assert_array_equal(value, np.where(condition, a, b))


@pytest.mark.parametrize(
    "name",
    [
        *("abs", "arcsin", "arctan", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p", "log2", "log10", "negative"),
        *("reciprocal", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh"),
        *("elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus"),
    ],
)
@settings(max_examples=12)
@given(shapes, st.booleans())
def test_unary_operations_keep_the_shape(name: str, shape: tuple[int, ...], negative: bool) -> None:
    positive = name in ("log", "log1p", "log2", "log10", "rsqrt", "sqrt")
    a = -values(shape) if negative and not positive else values(shape)
    assert check(getattr(ops, name), a).shape == shape


@few
@given(shapes, st.none() | st.floats(0, 1), st.none() | st.floats(0, 1))
def test_clip_stops_the_gradient_outside_its_bounds(shape: tuple[int, ...], low: Any, high: Any) -> None:
    x = Tensor(values(shape), requires_grad=True)
    y = ops.clip(x, low, high)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, x.data if low is high is None else np.clip(x.data, low, high))
    np.testing.assert_array_equal(x.grad, y.data == x.data)


@few
@given(shapes, st.floats(0, 0.95), st.integers(0, 2**32))
def test_dropout_keeps_or_drops_each_element_and_its_gradient(shape: tuple[int, ...], p: float, seed: int) -> None:
    x = Tensor(values(shape), requires_grad=True)
    y = ops.dropout(x, p, rng=np.random.default_rng(seed))
    y.sum().backward()
    kept = y.data != 0
    np.testing.assert_allclose(y.data, np.where(kept, x.data / (1 - p), 0), rtol=1e-14)
    np.testing.assert_allclose(x.grad, np.where(kept, 1 / (1 - p), 0), rtol=1e-14)


# Along axes.

PLAIN = {
    "sum": np.sum,
    "mean": np.mean,
    "var": np.var,
    "std": np.std,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "norm": lambda a, axis, keepdims: np.sqrt(np.sum(a * a, axis, keepdims=keepdims)),
    "logsumexp": lambda a, axis, keepdims: np.log(np.sum(np.exp(a), axis, keepdims=keepdims)),
}


@pytest.mark.parametrize("name", PLAIN)
@few
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=3), st.booleans())
def test_reductions_take_any_axes(name: str, data: st.DataObject, shape: tuple[int, ...], keepdims: bool) -> None:
    axis = any_axis(data, shape)
    op, a = getattr(ops, name), values(shape)
    value = check(lambda t: op(t, axis=axis, keepdims=keepdims), a)
    np.testing.assert_allclose(value, PLAIN[name](a, axis=axis, keepdims=keepdims), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["sum", "prod", "norm", "logsumexp"])
@few
@given(st.data(), shapes, st.booleans())
def test_reductions_of_nothing_are_neutral(
    name: str, data: st.DataObject, shape: tuple[int, ...], keepdims: bool
) -> None:
    assume(0 in shape)
    axis = any_axis(data, shape)
    x = Tensor(values(shape), requires_grad=True)
    y = getattr(ops, name)(x, axis=axis, keepdims=keepdims)
    assert y.shape == np.sum(x.data, axis, keepdims=keepdims).shape
    neutral = {"sum": 0, "prod": 1, "norm": 0, "logsumexp": -np.inf}[name]
    np.testing.assert_array_equal(y.data, np.full(y.shape, neutral))
    y.backward(np.ones(y.shape))
    assert x.grad.shape == shape


@pytest.mark.parametrize("name", ["var", "std"])
@few
@given(st.data(), hnp.array_shapes(max_dims=3, min_side=2, max_side=3), st.sampled_from([0, 0.5, 1, 1.5]))
def test_ddof_is_numpys(name: str, data: st.DataObject, shape: tuple[int, ...], ddof: float) -> None:
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), label="axis")
    a = values(shape)
    value = check(lambda t: getattr(ops, name)(t, axis, ddof), a)
    np.testing.assert_allclose(value, getattr(np, name)(a, axis, ddof=ddof), rtol=1e-12)


@pytest.mark.parametrize("name", ["max", "min"])
@few
@given(st.data(), filled, st.booleans())
def test_ties_share_the_gradient_in_equal_parts(
    name: str, data: st.DataObject, shape: tuple[int, ...], keepdims: bool
) -> None:
    a = data.draw(hnp.arrays(float, shape, elements=st.sampled_from([0.0, 1.0, 2.0])), label="a")
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), label="axis")
    x = Tensor(a, requires_grad=True)
    getattr(ops, name)(x, axis, keepdims).sum().backward()
    hit = a == getattr(np, name)(a, axis, keepdims=True)
    np.testing.assert_allclose(x.grad, hit / hit.sum(axis, keepdims=True), rtol=1e-14)


@few
@given(st.data(), filled, st.sampled_from([0.5, 1, 2, 3, np.inf]))
def test_the_norm_of_any_order(data: st.DataObject, shape: tuple[int, ...], ord: float) -> None:
    axis = one_axis(data, shape)
    a = values(shape) * np.where(values(shape, 1) > 0.6, 1, -1)
    value = check(lambda t: ops.norm(t, ord, axis), a)
    np.testing.assert_allclose(value, np.linalg.norm(a, ord, axis), rtol=1e-12)


@few
@given(st.data(), filled)
def test_the_product_has_the_right_gradient_whatever_zeros_stand_in_it(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    a = data.draw(hnp.arrays(float, shape, elements=st.sampled_from([0.0, 0.0, 0.5, -1.5, 2.0])), label="a")
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), label="axis")
    x = Tensor(a, requires_grad=True)
    y = ops.prod(x, axis)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, np.prod(a, axis))
    lines = a.reshape(1, -1) if axis is None else np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis])
    others = np.array([[np.prod(np.delete(line, i)) for i in range(len(line))] for line in lines])
    found = x.grad.reshape(1, -1) if axis is None else np.moveaxis(x.grad, axis, -1).reshape(others.shape)
    np.testing.assert_allclose(found, others, rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@few
@given(st.data(), hnp.array_shapes(max_dims=4, max_side=3))
def test_softmax_takes_any_axis(name: str, data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = one_axis(data, shape)
    value = check(lambda t: getattr(ops, name)(t, axis), values(shape))
    probabilities = value if name == "softmax" else np.exp(value)
    np.testing.assert_allclose(probabilities.sum(axis), 1, rtol=1e-13)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "cumsum"])
@few
@given(st.data(), hnp.array_shapes(max_dims=3, min_side=0, max_side=2))
def test_an_axis_may_be_empty(name: str, data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = one_axis(data, shape)
    x = Tensor(values(shape), requires_grad=True)
    y = getattr(ops, name)(x, axis)
    y.backward(np.ones(y.shape))
    assert x.grad.shape == shape


@few
@given(st.data(), shapes)
def test_cumsum_is_a_sum_of_all_before(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), label="axis") if shape else None
    value = check(lambda t: ops.cumsum(t, axis), values(shape))
    np.testing.assert_array_equal(value, np.cumsum(values(shape), axis))


# Products.


@few
@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3))
def test_matmul_takes_stacks_vectors_and_empty_matrices(both: hnp.BroadcastableShapes) -> None:
    a, b = (values(shape, i) for i, shape in enumerate(both.input_shapes))
    np.testing.assert_array_equal(check(ops.matmul, a, b), a @ b)


@few
@given(shapes, shapes)
def test_outer_flattens(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    a, b = values(one), values(other, 1)
    np.testing.assert_array_equal(check(ops.outer, a, b), np.outer(a, b))


@few
@given(
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_linear_takes_any_leading_axes(leading: tuple[int, ...], inputs: int, outputs: int, bias: bool) -> None:
    arrays = [values((*leading, inputs)), values((outputs, inputs), 1), *([values((outputs,), 2)] if bias else [])]
    value = check(ops.linear, *arrays)
    expected = arrays[0] @ arrays[1].T + (arrays[2] if bias else 0)
    np.testing.assert_allclose(value, expected, rtol=1e-13)


@settings(max_examples=100)
@given(st.lists(st.text("ijkl", max_size=3), min_size=1, max_size=3), st.data())
def test_einsum_of_any_subscripts(terms: list[str], data: st.DataObject) -> None:
    used = sorted(set("".join(terms)))
    kept = data.draw(st.lists(st.sampled_from(used), unique=True) if used else st.just([]), label="result")
    sizes = {"i": 2, "j": 3, "k": 1, "l": 2}
    subscripts = ",".join(terms)
    if data.draw(st.booleans(), label="explicit"):
        subscripts += "->" + "".join(kept)
    arrays = [values(tuple(sizes[c] for c in term), n) for n, term in enumerate(terms)]
    value = check(lambda *tensors: ops.einsum(subscripts, *tensors), *arrays)
    np.testing.assert_allclose(value, np.einsum(subscripts, *arrays), rtol=1e-12)


@few
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3),
    st.sampled_from(["...ij,...jk->...ik", "i...j,jk..."]),
)
def test_einsum_of_ellipses_that_broadcast(both: hnp.BroadcastableShapes, subscripts: str) -> None:
    one, other = both.input_shapes
    if subscripts.startswith("..."):
        a, b = values((*one, 2, 3)), values((*other, 3, 2), 1)
    else:
        a, b = values((2, *one, 3)), values((3, 2, *other), 1)
    value = check(lambda x, y: ops.einsum(subscripts, x, y), a, b)
    np.testing.assert_allclose(value, np.einsum(subscripts, a, b), rtol=1e-12)


# Moving elements.


def check_index(shape: tuple[int, ...], index: Any) -> None:
    """Each element's gradient is the sum of the weights of the places it was read at."""
    x = Tensor(values(shape), requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[index])
    weights = values(y.shape, 1)
    y.backward(weights)
    expected = np.zeros(shape)
    np.add.at(expected, index, weights)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-13)


@settings(max_examples=100)
@given(st.data(), hnp.array_shapes(max_dims=4, max_side=4))
def test_basic_indices(data: st.DataObject, shape: tuple[int, ...]) -> None:
    check_index(shape, data.draw(hnp.basic_indices(shape, allow_newaxis=True), label="index"))


@settings(max_examples=100)
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=4))
def test_integer_array_indices(data: st.DataObject, shape: tuple[int, ...]) -> None:
    index = data.draw(hnp.integer_array_indices(shape), label="index")
    check_index(shape, index)
    check_index(shape, tuple(part.tolist() for part in index))


@few
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
def test_boolean_masks(data: st.DataObject, shape: tuple[int, ...]) -> None:
    leading = data.draw(st.integers(0, len(shape)), label="axes of the mask")
    check_index(shape, data.draw(hnp.arrays(bool, shape[:leading]), label="mask"))


@few
@given(st.data(), st.lists(st.integers(-3, 2), max_size=6))
def test_a_slice_beside_repeated_integers(data: st.DataObject, rows: list[int]) -> None:
    part = data.draw(st.slices(4), label="slice")
    check_index((3, 4), (np.array(rows, int), part))
    check_index((4, 3), (part, np.array(rows, int)))
    check_index((4, 2, 3), (part, None, 1, np.array(rows, int)))


@few
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=3))
def test_take_is_numpys_and_adds_up_repeated_reads(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1), label="axis")
    n = int(np.prod(shape)) if axis is None else shape[axis]
    places = hnp.arrays(
        int, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3), elements=st.integers(-n, n - 1)
    )
    index = data.draw(places, label="index")
    value = check(lambda t: ops.take(t, index, axis), values(shape))
    np.testing.assert_array_equal(value, np.take(values(shape), index, axis))


@few
@given(hnp.arrays(int, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), elements=st.integers(0, 3)))
def test_embedding_adds_up_repeated_rows(index: np.ndarray) -> None:
    x = Tensor(values((4, 2)), requires_grad=True)
    y = ops.embedding(index, x)
    np.testing.assert_array_equal(y.data, x.data[index])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad[:, 0], np.bincount(index.ravel(), minlength=4))


@few
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, max_side=3))
def test_transpose_takes_any_permutation(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axes = data.draw(st.permutations(range(len(shape))), label="axes")
    axes = tuple(a - len(shape) * data.draw(st.booleans()) for a in axes)
    x = Tensor(values(shape), requires_grad=True)
    y = ops.transpose(x, axes)
    weights = values(y.shape, 1)
    (y * weights).sum().backward()
    moved = np.moveaxis(weights, range(len(shape)), [a % len(shape) for a in axes])
    np.testing.assert_array_equal(x.grad, moved)


@few
@given(st.data(), shapes)
def test_rearrangements_are_numpys(data: st.DataObject, shape: tuple[int, ...]) -> None:
    n = len(shape)
    axes = st.integers(-n, n - 1) if n else st.nothing()
    shift = data.draw(st.integers(-4, 4), label="shift")
    axis = any_axis(data, shape)
    new = data.draw(st.integers(-n - 1, n), label="new axis")
    calls: list[Any] = [
        lambda m, a: m.flip(a, axis),
        lambda m, a: m.roll(a, shift, axis if axis != () else None),  # NumPy's takes no empty tuple
        lambda m, a: m.expand_dims(a, new),
        lambda m, a: m.reshape(a, -1) if a.size else a * 1,
        lambda m, a: m.squeeze(a),
        lambda m, a: m.transpose(a),
    ]
    if n:
        one, other = data.draw(axes, label="one"), data.draw(axes, label="other")
        calls.append(lambda m, a: m.swapaxes(a, one, other))
    if n >= 2:
        k = data.draw(st.integers(-3, 3), label="k")
        calls += [lambda m, a: m.tril(a, k), lambda m, a: m.triu(a, k)]
    for i, call in enumerate(calls):
        value = check(lambda t, call=call: call(ops, t), values(shape))
        np.testing.assert_array_equal(value, call(np, values(shape)), err_msg=str(i))


@few
@given(st.data(), hnp.array_shapes(max_dims=4, min_side=0, max_side=3))
def test_flatten_joins_any_neighbouring_axes(data: st.DataObject, shape: tuple[int, ...]) -> None:
    first = data.draw(st.integers(0, len(shape) - 1), label="start_dim")
    last = data.draw(st.integers(first, len(shape) - 1), label="end_dim")
    joined = (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
    for start, end in ((first, last), (first - len(shape), last - len(shape))):
        value = check(lambda t, start=start, end=end: ops.flatten(t, start, end), values(shape))
        np.testing.assert_array_equal(value, values(shape).reshape(joined))


@few
@given(pairs)
def test_broadcast_to_sums_over_the_repetitions(both: hnp.BroadcastableShapes) -> None:
    a = values(both.input_shapes[0])
    value = check(lambda t: ops.broadcast_to(t, both.result_shape), a)
    np.testing.assert_array_equal(value, np.broadcast_to(a, both.result_shape))


@few
@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), st.lists(st.integers(0, 3), max_size=4))
def test_tile_sums_over_the_copies(shape: tuple[int, ...], reps: list[int]) -> None:
    value = check(lambda t: ops.tile(t, tuple(reps)), values(shape))
    np.testing.assert_array_equal(value, np.tile(values(shape), tuple(reps)))


@few
@given(st.data(), hnp.array_shapes(max_dims=3, min_side=0, max_side=3), st.floats(-2, 2))
def test_pad_takes_any_widths(data: st.DataObject, shape: tuple[int, ...], border: float) -> None:
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    widths = data.draw(st.integers(0, 2) | pair | st.tuples(*[pair] * len(shape)), label="widths")
    value = check(lambda t: ops.pad(t, widths, border), values(shape))
    np.testing.assert_array_equal(value, np.pad(values(shape), widths, constant_values=border))


@few
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=3), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_concatenate_takes_parts_of_any_size(data: st.DataObject, shape: tuple[int, ...], sizes: list[int]) -> None:
    axis = one_axis(data, shape)
    whole = len(shape) + axis if axis < 0 else axis
    arrays = [values((*shape[:whole], n, *shape[whole + 1 :]), i) for i, n in enumerate(sizes)]
    value = check(lambda *tensors: ops.concatenate(tensors, axis), *arrays)
    np.testing.assert_array_equal(value, np.concatenate(arrays, axis))


@few
@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), st.integers(1, 3))
def test_stack_takes_any_new_axis(data: st.DataObject, shape: tuple[int, ...], n: int) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)), label="axis")
    arrays = [values(shape, i) for i in range(n)]
    value = check(lambda *tensors: ops.stack(tensors, axis), *arrays)
    np.testing.assert_array_equal(value, np.stack(arrays, axis))


@few
@given(st.data(), hnp.array_shapes(max_dims=3, min_side=0, max_side=4))
def test_split_is_undone_by_concatenate(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = one_axis(data, shape)
    n = shape[axis]
    sections = st.sampled_from([k for k in range(1, 5) if n % k == 0])
    cuts = data.draw(sections | st.lists(st.integers(0, n), max_size=3).map(sorted), label="cuts")
    x = Tensor(values(shape), requires_grad=True)
    parts = ops.split(x, cuts, axis)
    for part, expected in zip(parts, np.split(x.data, cuts, axis), strict=True):
        np.testing.assert_array_equal(part.data, expected)
    value = check(lambda t: ops.concatenate(ops.split(t, cuts, axis), axis), x.data)
    np.testing.assert_array_equal(value, x.data)


# Images.


def naive_conv2d(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> np.ndarray:
    """Convolution as its definition has it: a loop over outputs, rows and columns."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    (n, _, height, width), (o, c, kh, kw) = x.shape, w.shape
    rows = (height - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (width - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((n, o, rows, columns))
    for k in range(o):
        channels = slice((k // (o // groups)) * c, (k // (o // groups) + 1) * c)
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride[0], j * stride[1]
                patch = x[
                    :,
                    channels,
                    top : top + dilation[0] * kh : dilation[0],
                    left : left + dilation[1] * kw : dilation[1],
                ]
                y[:, k, i, j] = np.sum(patch[:, :, :kh, :kw] * w[k], axis=(1, 2, 3)) + b[k]
    return y


one_or_two = st.tuples(st.integers(1, 2), st.integers(1, 2))


@settings(max_examples=40)
@given(st.data(), one_or_two, st.tuples(st.integers(0, 2), st.integers(0, 2)), one_or_two, st.integers(1, 2))
def test_conv2d_with_any_settings(data: st.DataObject, stride: Any, padding: Any, dilation: Any, groups: int) -> None:
    size = st.integers(1, 3)
    n, c, o, kh, kw = (data.draw(size, label=label) for label in ("n", "c", "o", "kernel height", "kernel width"))
    height, width = (data.draw(st.integers(3, 6), label=label) for label in ("height", "width"))
    assume(dilation[0] * (kh - 1) < height + 2 * padding[0] and dilation[1] * (kw - 1) < width + 2 * padding[1])
    x, w, b = values((n, c * groups, height, width)), values((o * groups, c, kh, kw), 1), values((o * groups,), 2)
    value = check(lambda *tensors: ops.conv2d(*tensors, stride, padding, dilation, groups), x, w, b)
    np.testing.assert_allclose(value, naive_conv2d(x, w, b, stride, padding, dilation, groups), rtol=1e-12)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@settings(max_examples=40)
@given(st.data(), one_or_two, st.none() | one_or_two)
def test_pooling_with_any_settings(name: str, data: st.DataObject, kernel: Any, stride: Any) -> None:
    padding = tuple(data.draw(st.integers(0, k // 2), label="padding") for k in kernel)
    x = values(
        data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(2, 5), st.integers(2, 5)), label="shape")
    )
    value = check(lambda t: getattr(ops, name)(t, kernel, stride, padding), x)
    border = -np.inf if name == "max_pool2d" else 0
    padded = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2), constant_values=border)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, (2, 3))
    step = stride or kernel
    expected = windows[:, :, :: step[0], :: step[1]]
    expected = expected.max((4, 5)) if name == "max_pool2d" else expected.mean((4, 5))
    np.testing.assert_allclose(value, expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["conv2d", "max_pool2d", "avg_pool2d"])
def test_an_empty_batch_of_images_has_an_empty_gradient(name: str) -> None:
    x = Tensor(np.zeros((0, 2, 4, 4)), requires_grad=True)
    w = Tensor(values((3, 2, 2, 2)), requires_grad=True)
    y = ops.conv2d(x, w) if name == "conv2d" else getattr(ops, name)(x, 2)
    assert y.shape[0] == 0
    y.sum().backward()
    assert x.grad.shape == x.shape
    if name == "conv2d":
        np.testing.assert_array_equal(w.grad, np.zeros(w.shape))


# Normalisation.


@few
@given(hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=3), st.booleans(), st.sampled_from([1e-5, 0.1]))
def test_batch_norm_of_any_shape(shape: tuple[int, ...], affine: bool, eps: float) -> None:
    channels = shape[1]
    parameters = [values((channels,), 1), values((channels,), 2)] if affine else []
    for training in (True, False):
        value = check(
            lambda x, *p, training=training: ops.batch_norm(
                x, np.zeros(channels), np.full(channels, 2.0), *p, training=training, eps=eps
            ),
            values(shape),
            *parameters,
        )
        assert value.shape == shape
    value = ops.batch_norm(values(shape), None, None, training=True, eps=0)
    axes = (0, *range(2, len(shape)))
    np.testing.assert_allclose(value.mean(axes), 0, atol=1e-12)
    np.testing.assert_allclose(value.var(axes), 1, rtol=1e-11)


@few
@given(st.data(), hnp.array_shapes(max_dims=4, min_side=2, max_side=3), st.booleans())
def test_layer_norm_of_any_shape(data: st.DataObject, shape: tuple[int, ...], affine: bool) -> None:
    last = shape[-data.draw(st.integers(1, len(shape)), label="axes") :]
    parameters = [values(last, 1), values(last, 2)] if affine else []
    check(lambda x, *p: ops.layer_norm(x, last, *p), values(shape), *parameters)
    value = ops.layer_norm(values(shape), last, eps=0)
    axes = tuple(range(len(shape) - len(last), len(shape)))
    np.testing.assert_allclose(value.mean(axes), 0, atol=1e-12)
    np.testing.assert_allclose(value.var(axes), 1, rtol=1e-11)


# Losses.

reductions = st.sampled_from(["mean", "sum", "none"])


def reduced(losses: np.ndarray, reduction: str, total: float | None = None) -> Any:
    if reduction == "none":
        return losses
    return losses.sum() / (1 if reduction == "sum" else losses.size if total is None else total)


@few
@given(filled, reductions, st.sampled_from([0.1, 1.0]))
def test_losses_of_differences(shape: tuple[int, ...], reduction: Any, delta: float) -> None:
    x, t = values(shape), values(shape, 1) + 1e-3
    d = x - t
    assume(np.all(np.abs(np.abs(d) - delta) > 1e-4) and np.all(np.abs(d) > 1e-4))  # no kink within a step
    huber = np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2))
    for name, options, losses in (
        ("mse_loss", {}, d * d),
        ("l1_loss", {}, np.abs(d)),
        ("huber_loss", {"delta": delta}, huber),
    ):
        value = check(lambda *z, name=name, options=options: getattr(ops, name)(*z, reduction, **options), x, t)
        np.testing.assert_allclose(value, reduced(losses, reduction), rtol=1e-12)


@few
@given(filled, reductions, st.booleans(), st.booleans())
def test_binary_cross_entropy(shape: tuple[int, ...], reduction: Any, weighted: bool, positive: bool) -> None:
    x, t = 4 * values(shape) - 2.5, values(shape, 1)
    w = values(shape[-1:], 2) if weighted else None
    p = values(shape[-1:], 3) + 1 if positive else None
    s = 1 / (1 + np.exp(-x))
    losses = -(1 if w is None else w) * ((1 if p is None else p) * t * np.log(s) + (1 - t) * np.log(1 - s))
    value = check(lambda *z: ops.binary_cross_entropy_with_logits(*z, w, reduction, p), x, t)
    np.testing.assert_allclose(value, reduced(losses, reduction), rtol=1e-11)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@few
@given(st.data(), st.integers(1, 4), reductions, st.booleans(), st.sampled_from([0.0, 0.2, 1.0]))
def test_losses_of_labels(
    name: str, data: st.DataObject, classes: int, reduction: Any, weighted: bool, e: float
) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=5), label="labels"))
    x = 4 * values((len(labels), classes))
    w = values((classes,), 2) if weighted else None
    weight = np.ones(classes) if w is None else w
    if name == "nll_loss":
        q, log_p, options = np.eye(classes)[labels], x, {}
    else:
        q, options = (1 - e) * np.eye(classes)[labels] + e / classes, {"label_smoothing": e}
        log_p = np.log(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))
    losses = -(q * weight * log_p).sum(axis=1)
    value = check(lambda z: getattr(ops, name)(z, labels, w, reduction, **options), x)
    np.testing.assert_allclose(value, reduced(losses, reduction, weight[labels].sum()), rtol=1e-11, atol=1e-14)


# Graphs.


@settings(max_examples=40)
@given(st.lists(st.sampled_from("+*-/m[p"), max_size=12), st.integers(0, 2**32))
def test_any_graph_of_shared_tensors_has_the_gradient_of_finite_differences(steps: list[str], seed: int) -> None:
    rules: dict[str, Any] = {
        "+": ops.add,
        "-": lambda p, q: p - ops.sigmoid(q),
        "*": lambda p, q: p * ops.tanh(q),
        "/": lambda p, q: p / (q * q + 1),
        "m": lambda p, q: ops.softmax(p + q) + p.mean(),
        "[": lambda p, q: ops.tanh(p)[..., [0, 2, 2]] + q,
        "p": lambda p, q: p - ops.logsumexp(p, keepdims=True) + q[..., ::-1],
    }

    def build(a: Any, b: Any) -> Any:
        rng = np.random.default_rng(seed)
        pool = [a, b]
        for step in steps:
            p, q = (pool[i] for i in rng.integers(0, len(pool), 2))
            pool.append(rules[step](p, q))
        return pool[-1] + ops.sum(pool[len(pool) // 2]) + ops.add(a, b)

    assert gradcheck(weighed(build), values((2, 3)), values((3,), 1), rtol=1e-4, atol=1e-6)
