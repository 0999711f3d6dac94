"""Bugs that autograd engines have had without a word: wrong sums, lost gradients, leaks of dtype and of memory."""

from __future__ import annotations

import copy
import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from op_cases import CASES

from minigrad import Tensor, nn, ops, optim


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.disable()
    yield
    gc.enable()


# Sums of gradients.


def test_a_branch_that_does_not_reach_the_loss_leaves_the_gradient_alone() -> None:
    x = leaf(1, 2)
    h = x * 3
    _unused = h * 100
    (h * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [6, 6])


def test_a_reused_weight_gets_the_sum_of_its_gradients() -> None:
    w = leaf(2)
    (w * 3 + w * w * 5).sum().backward()
    np.testing.assert_array_equal(w.grad, [3 + 2 * 2 * 5])


def test_a_gradient_shared_by_two_operands_is_not_added_into() -> None:
    a, b = leaf(1, 1), leaf(1, 1)
    s = a + b
    (s * 2 + a * 3).sum().backward()
    np.testing.assert_array_equal(a.grad, [5, 5])
    np.testing.assert_array_equal(b.grad, [2, 2])


def test_a_sum_of_a_tensor_with_itself_does_not_write_into_a_read_only_buffer() -> None:
    a = leaf(1, 2)
    (a + a).sum().backward()
    np.testing.assert_array_equal(a.grad, [2, 2])


def test_a_diamond_is_passed_once_all_its_sides_are_summed() -> None:
    x = leaf(0.5)
    y = x * 2
    z = y * y + y
    (z * y).sum().backward()  # y^3 + y^2, y = 2x: 2 (3 y^2 + 2 y) = 10 at y = 1
    np.testing.assert_allclose(x.grad, [10])


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_a_read_only_gradient_is_added_to_from_every_side(shape: tuple[int, ...]) -> None:
    a = Tensor(np.ones(shape), requires_grad=True)
    s = a + a
    (s.sum() + s.mean() * s.size + a.sum()).backward()
    np.testing.assert_array_equal(a.grad, np.full(shape, 5))


def test_gradients_that_are_views_of_one_buffer_are_not_added_into() -> None:
    # reshape and transpose hand the same buffer on; the sums in a must not show in b.
    a, b = Tensor(np.ones((2, 3)), requires_grad=True), Tensor(np.ones((3, 2)), requires_grad=True)
    s = a.T + b
    (s.reshape(2, 3) * 2 + a * 3).sum().backward()
    np.testing.assert_array_equal(a.grad, np.full((2, 3), 5))
    np.testing.assert_array_equal(b.grad, np.full((3, 2), 2))


def test_a_gradient_kept_from_one_pass_does_not_change_in_the_next() -> None:
    x = leaf(1, 2)
    (x * 2).sum().backward()
    kept, x.grad = x.grad, None
    (x * 3).sum().backward()
    np.testing.assert_array_equal(kept, [2, 2])
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_copied_tensor_is_a_leaf_of_its_own() -> None:
    # A copy that kept the original's place in the order would share its gradient.
    a = leaf(1, 1)
    b = copy.deepcopy(a)
    (a * 2 + b * 3).sum().backward()
    np.testing.assert_array_equal(a.grad, [2, 2])
    np.testing.assert_array_equal(b.grad, [3, 3])


# Graphs that are deep, or used up.


@pytest.mark.parametrize(("depth", "backward"), [(20_000, True), (100_000, False)])
def test_depth_is_unlimited(depth: int, backward: bool) -> None:
    x = leaf(1)
    y = x
    for _ in range(depth):
        y = y + 1.0
    if backward:
        y.sum().backward()
        np.testing.assert_array_equal(x.grad, [1])
    del y  # freeing a graph that was never used must not recurse either


def test_a_second_backward_is_refused_and_changes_no_gradient() -> None:
    x = leaf(1, 2)
    loss = (x * x).sum()
    loss.backward()
    before = x.grad.copy()
    with pytest.raises(RuntimeError, match="retain_graph"):
        loss.backward()
    np.testing.assert_array_equal(x.grad, before)


def test_a_new_head_on_a_freed_graph_is_refused_and_changes_no_gradient() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    h = x * x
    h.sum().backward()
    before = x.grad.copy()
    with pytest.raises(RuntimeError, match="multiply"):
        (h * w).sum().backward()
    np.testing.assert_array_equal(x.grad, before)
    assert w.grad is None


def test_a_second_backward_through_a_shared_trunk_names_the_way_out() -> None:
    x = leaf(1, 2)
    h = x.exp()
    (h * 2).sum().backward()
    with pytest.raises(RuntimeError, match=r"'exp' was freed by an earlier backward.*retain_graph=True"):
        (h * 3).sum().backward()


# Operations outside the tape.


@pytest.mark.parametrize(
    "fn",
    [np.exp, np.abs, np.sum, np.mean, np.argmax, np.asarray, np.transpose, lambda t: np.concatenate([t, t])],
    ids=["exp", "abs", "sum", "mean", "argmax", "asarray", "transpose", "concatenate"],
)
def test_numpy_refuses_a_tensor_instead_of_losing_its_gradient(fn) -> None:
    with pytest.raises(TypeError):
        fn(leaf(1, 2))


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, t: np.add(a, t),
        lambda a, t: np.matmul(a, t),
        lambda a, t: np.maximum(t, 0),
        lambda a, t: np.where(a > 0, t, a),
        lambda a, t: np.stack([t, a]),
        lambda a, t: np.dot(a, t),
        lambda a, t: np.einsum("i,i", a, t),
        lambda a, t: np.linalg.norm(t),
    ],
    ids=["add", "matmul", "maximum", "where", "stack", "dot", "einsum", "norm"],
)
def test_numpy_refuses_a_tensor_beside_an_array_too(fn: Any) -> None:
    with pytest.raises(TypeError):
        fn(np.ones(2, np.float32), leaf(1, 2))


def test_a_class_is_no_place_for_a_forgotten_gradient() -> None:
    # A misspelt attribute, such as x.requires_gradient = True, would be taken without a word.
    with pytest.raises(AttributeError):
        leaf(1).requires_gradient = True


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


@pytest.mark.parametrize(
    "other", [np.float64(0.5), np.array([1, 0]), np.array([True, False]), [1.0, 0.0], 0.5], ids=repr
)
def test_float32_stays_float32_on_the_right_and_on_the_way_back(other: Any) -> None:
    x = leaf(1, 2)
    y = other * x + (other - x) / 3 - other
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad, np.asarray(other) * np.ones(2) - 1 / 3, rtol=1e-6)


ONE_HOT = np.eye(2, dtype=np.int64)


BESIDE: dict[str, Any] = {
    "mse_loss": lambda x: ops.mse_loss(x, ONE_HOT),
    "binary_cross_entropy": lambda x: ops.binary_cross_entropy_with_logits(x, ONE_HOT),
    "with float64 weights": lambda x: ops.binary_cross_entropy_with_logits(
        x, ONE_HOT, np.ones(2), pos_weight=np.ones(2)
    ),
    "cross_entropy with float64 weights": lambda x: ops.cross_entropy(x, np.array([0, 1]), np.ones(2)),
    "nll_loss with float64 weights": lambda x: ops.nll_loss(x, np.array([0, 1]), np.ones(2)),
    "matmul": lambda x: x @ ONE_HOT,
    "linear": lambda x: ops.linear(x, ONE_HOT),
    "einsum": lambda x: ops.einsum("ij,jk->ik", x, ONE_HOT),
    "where": lambda x: ops.where(ONE_HOT > 0, x, np.float64(0)),
    "where with integers": lambda x: ops.where(ONE_HOT > 0, x, ONE_HOT),
    "maximum": lambda x: ops.maximum(x, np.float64(0)),
    "clip": lambda x: ops.clip(x, np.float64(0), np.ones(2)),
    "concatenate": lambda x: ops.concatenate([x, ONE_HOT]),
    "stack": lambda x: ops.stack([x, ONE_HOT]),
    "stack of numbers": lambda x: ops.stack([x.sum(), np.float64(0.5)]),
    "pad": lambda x: ops.pad(x, 1, np.float64(0.5)),
    "leaky_relu": lambda x: ops.leaky_relu(x, np.float64(0.1)),
    "elu": lambda x: ops.elu(x, np.float64(0.1)),
    "softplus": lambda x: ops.softplus(x, np.float64(2)),
    "huber_loss": lambda x: ops.huber_loss(x, ONE_HOT, delta=np.float64(0.1)),
    "dropout": lambda x: ops.dropout(x, np.float64(0.1)),
    "label_smoothing": lambda x: ops.cross_entropy(x, np.array([0, 1]), label_smoothing=np.float64(0.1)),
    "norm": lambda x: ops.norm(x, np.float64(3)),
    "var": lambda x: ops.var(x, ddof=np.float64(1)),
    "std": lambda x: ops.std(x, ddof=np.float64(1)),
    "layer_norm": lambda x: ops.layer_norm(x, 2, eps=np.float64(1e-5)),
    "batch_norm": lambda x: ops.batch_norm(x, None, None, eps=np.float64(1e-5)),
    "batch_norm in training": lambda x: ops.batch_norm(x, np.zeros(2), np.ones(2), training=True),
    "batch_norm at evaluation": lambda x: ops.batch_norm(x, np.zeros(2), np.ones(2)),
}


@pytest.mark.parametrize("call", BESIDE.values(), ids=BESIDE)
def test_float32_stays_float32_through(call: Any) -> None:
    x = Tensor(np.array([[1, -2], [3, 0.5]], np.float32), requires_grad=True)
    y = call(x)
    assert y.dtype == np.float32
    for _, pullback, _ in y._edges:
        assert np.asarray(pullback(np.ones_like(y.data))).dtype == np.float32


def test_float64_keeps_its_digits_beside_a_python_number() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    tenth = [
        (x * 0.1)[0],
        (x - 1 + [0.1, 0.1])[0],
        ops.maximum(0.1, x - 2)[0],
        ops.where([True, False], x, 0.1)[1],
        ops.concatenate([x, [0.1]])[2],
        ops.stack([x.sum(), 0.1])[1],
    ]
    assert [t.item() for t in tenth] == [0.1] * 6


# Labels.


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "u8", ">i4"], ids=str)
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss], ids=lambda f: f.__name__)
def test_labels_of_any_integer_are_those_of_int64(loss: Any, dtype: Any) -> None:
    # Of 300 rows and 10 classes no eight bits can hold a place, though each label fits them.
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(300, 10)), rng.integers(0, 10, 300)
    results = []
    for given in (labels, labels.astype(dtype)):
        x = Tensor(z, requires_grad=True)
        y = loss(x, given, reduction="none")
        y.sum().backward()
        results.append((y.data, x.grad))
    np.testing.assert_array_equal(*(value for value, _ in results))
    np.testing.assert_array_equal(*(gradient for _, gradient in results))


@pytest.mark.parametrize("n", [100, 200])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss], ids=lambda f: f.__name__)
def test_labels_of_eight_bits_do_not_wrap_round(loss: Any, n: int) -> None:
    # So many rows fit eight bits, but rows times classes do not.
    z = np.random.default_rng(0).normal(size=(n, 10))
    labels = np.arange(n) % 10
    assert loss(z, labels.astype(np.uint8)) == loss(z, labels)


# A number where an array is expected.


def test_an_operand_may_be_a_number_and_the_gradient_is_right() -> None:
    x = leaf(1, 2)
    y = ops.outer(x, 2.0)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])
    x.grad = None
    ops.einsum("i,->i", x, 3.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


# Memory.


def test_a_graph_is_freed_by_reference_count_alone() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(1, 2)
        h = (x.reshape(1, 2) @ x.reshape(2, 1)).softmax() + x.sum()
        seen = weakref.ref(h)
        loss = (h * h).sum()
        del h
        assert seen() is not None, "the graph holds it"
        del loss
        assert seen() is None
    finally:
        gc.enable()


def test_backward_lets_go_of_the_graph() -> None:
    gc.disable()
    try:
        x = leaf(1, 2)
        h = x * x
        seen = weakref.ref(h)
        loss = h.sum()
        del h
        loss.backward()
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", CASES)
def test_an_operation_makes_no_cycle(name: str) -> None:
    # A pullback that held its own result, and not only arrays, would keep it for the collector.
    for fn, *inputs in CASES[name]:
        y = fn(*[Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) else x for x in inputs])
        seen, value = weakref.ref(y), y._edges
        assert value
        del y, value
        assert seen() is None


class Small(nn.Module):
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.first, self.second = nn.Linear(3, 4, rng=rng), nn.Linear(4, 2, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x).tanh())


def train(steps: int) -> Iterator[int]:
    """Yield the number of each step that was taken."""
    model = Small()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, labels = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32), np.array([0, 1, 1, 0, 1])
    for i in range(steps):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), labels)
        if i % 7 == 0:
            loss.data  # noqa: B018
            del loss  # a graph that nobody goes back through
        else:
            loss.backward()
            optimizer.step()
        yield i


@pytest.mark.usefixtures("no_collector")
def test_memory_is_flat_over_many_steps() -> None:
    tracemalloc.start()
    try:
        sizes = {}
        for i in train(1500):
            if i in (499, 1499):
                sizes[i] = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # 1,000 graphs, each of more than 1,000 bytes.
    assert abs(sizes[1499] - sizes[499]) < 20_000


@pytest.mark.usefixtures("no_collector")
def test_no_object_is_left_over_after_many_steps() -> None:
    gc.collect()
    counts = {}
    for i in train(4000):
        if i in (999, 3999):
            counts[i] = len(gc.get_objects())
    assert abs(counts[3999] - counts[999]) < 1000  # 3,000 graphs of several objects
    assert gc.collect() < 1000
