"""Tensor.register_hook: what a hook sees, and what becomes of what it returns."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


def test_a_hook_on_a_leaf_sees_its_gradient() -> None:
    x, seen = leaf(1, 2), []
    x.register_hook(seen.append)
    (x * 3).sum().backward()
    assert len(seen) == 1
    assert type(seen[0]) is np.ndarray
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], [3, 3])
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_a_hook_within_the_graph_sees_the_gradient_there() -> None:
    x, seen = leaf(1, 2), []
    h = x * 2
    h.register_hook(seen.append)
    (h * h).sum().backward()
    np.testing.assert_array_equal(seen, [[4, 8]])
    np.testing.assert_array_equal(x.grad, [8, 16])


def test_a_hook_on_the_root_sees_where_backward_starts() -> None:
    x, seen = leaf(1, 2), []
    y = x * 2
    y.register_hook(seen.append)
    y.backward([3, 4])
    np.testing.assert_array_equal(seen, [[3, 4]])


@pytest.mark.parametrize("inner", [False, True])
def test_a_hook_is_called_once_with_the_whole_sum(inner: bool) -> None:
    x, seen = leaf(1), []
    h = x * 1 if inner else x
    h.register_hook(seen.append)
    ((h * 2 + h * 3) * h + h.exp() * 0).sum().backward()
    np.testing.assert_array_equal(seen, [[10]])
    np.testing.assert_array_equal(x.grad, [10])


def test_a_hook_is_called_at_each_pass_with_that_passes_gradient() -> None:
    x, seen = leaf(1), []
    x.register_hook(seen.append)
    loss = (x * 2).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(seen, [[2], [2]])
    np.testing.assert_array_equal(x.grad, [4])


@pytest.mark.parametrize("inner", [False, True])
def test_what_a_hook_returns_goes_on_instead(inner: bool) -> None:
    x = leaf(1, 2)
    h = x * 2 if inner else x
    h.register_hook(lambda g: g * 10)
    (h * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [60, 60] if inner else [30, 30])


def test_a_changed_gradient_reaches_only_what_lies_behind_the_hook() -> None:
    x, w = leaf(1, 2), leaf(3, 4)
    h = x * 1
    h.register_hook(lambda g: g * 0)
    (h * w + x).sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])
    np.testing.assert_array_equal(w.grad, [1, 2])


def test_a_hook_that_returns_nothing_changes_nothing() -> None:
    x = leaf(1, 2)
    x.register_hook(lambda g: None)
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])


def test_several_hooks_are_called_in_order_each_with_what_the_last_one_made() -> None:
    x, seen = leaf(1), []
    x.register_hook(lambda g: g + 1)
    x.register_hook(seen.append)
    x.register_hook(lambda g: g * 10)
    x.register_hook(seen.append)
    (x * 2).sum().backward()
    np.testing.assert_array_equal(seen, [[3], [30]])
    np.testing.assert_array_equal(x.grad, [30])


def test_a_removed_hook_is_not_called_again() -> None:
    x, seen = leaf(1), []
    first = x.register_hook(lambda g: seen.append("first"))
    x.register_hook(lambda g: seen.append("second"))
    first.remove()
    (x * 2).sum().backward()
    assert seen == ["second"]


def test_removing_a_hook_twice_leaves_its_twin_in_place() -> None:
    x, seen = leaf(1), []
    handle = x.register_hook(seen.append)
    x.register_hook(seen.append)
    handle.remove()
    handle.remove()
    (x * 2).sum().backward()
    assert len(seen) == 1


def test_a_hook_may_remove_itself() -> None:
    x, seen = leaf(1), []
    handle = x.register_hook(lambda g: (seen.append("once"), handle.remove())[1])
    x.register_hook(lambda g: seen.append("always"))
    for _ in range(2):
        (x * 2).sum().backward()
    assert seen == ["once", "always", "always"]


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("changed", [np.ones(3), np.float32(1), np.ones((1, 2))], ids=["(3,)", "()", "(1, 2)"])
def test_a_hook_that_returns_another_shape_is_refused_and_changes_no_gradient(inner: bool, changed: Any) -> None:
    x, w = leaf(1, 2), leaf(1, 1)
    h = x * 2 if inner else x
    h.register_hook(lambda g: changed)
    expected = rf"hook.*{'multiply' if inner else 'leaf'}.*expected \(2,\)"
    with pytest.raises(ValueError, match=expected):
        (h * w).sum().backward()
    assert x.grad is None
    assert w.grad is None


def test_an_error_in_a_hook_changes_no_gradient() -> None:
    def fail(_: np.ndarray) -> None:
        raise KeyError("mine")

    x, w = leaf(1, 2), leaf(1, 1)
    x.register_hook(fail)
    with pytest.raises(KeyError, match="mine"):
        (x * w).sum().backward()
    assert x.grad is None
    assert w.grad is None


def test_a_gradient_keeps_its_dtype_whatever_a_hook_returns() -> None:
    x = leaf(1, 2)
    x.register_hook(lambda g: g.astype(np.float64) * 0.5)
    h = x * 1
    h.register_hook(lambda g: [2, 4])
    h.sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad, [1, 2])


def graph(hook: Any) -> list[np.ndarray]:
    """Gradients where buffers are shared between operands, with `hook` in three places."""
    x, w = leaf(1, 2), leaf(3, 4)
    s = x + w
    t = s.reshape(2, 1)
    for tensor in (x, s, t):
        tensor.register_hook(hook)
    (t.sum() + (s + s).sum() + x.sum()).backward()
    return [x.grad, w.grad]


def test_a_hook_that_writes_to_its_array_changes_nothing() -> None:
    def spoil(g: np.ndarray) -> None:
        g[...] = 99

    np.testing.assert_array_equal(graph(spoil), graph(lambda g: None))


def test_a_hook_that_keeps_its_array_and_writes_to_it_later_changes_nothing() -> None:
    kept: list[np.ndarray] = []
    found = graph(kept.append)
    for g in kept:
        g[...] = 99
    np.testing.assert_array_equal(found, graph(lambda g: None))


def test_what_a_hook_returned_is_not_written_to_and_is_no_gradients_buffer() -> None:
    mine = np.array([5, 5], np.float32)
    x, w = leaf(1, 2), leaf(3, 4)
    s = x + w
    s.register_hook(lambda g: mine)
    (s + x).sum().backward()
    x.register_hook(lambda g: mine)
    (x * 2).sum().backward()
    np.testing.assert_array_equal(mine, [5, 5])
    np.testing.assert_array_equal(x.grad, [11, 11])
    mine[...] = 99
    np.testing.assert_array_equal(x.grad, [11, 11])
    np.testing.assert_array_equal(w.grad, [5, 5])


def test_a_hook_is_not_called_where_no_gradient_comes() -> None:
    x, seen = leaf(1), []
    aside = x * 2
    aside.register_hook(seen.append)
    (x * 3).sum().backward()
    assert seen == []


@pytest.mark.parametrize("make", [lambda: Tensor([1.0]), lambda: Tensor([1.0]) * 2, lambda: leaf(1).detach()])
def test_a_hook_where_no_gradient_will_ever_come_is_refused(make: Any) -> None:
    with pytest.raises(RuntimeError, match=r"register_hook.*does not require a gradient"):
        make().register_hook(print)


def test_a_hook_keeps_no_graph_alive() -> None:
    gc.disable()
    try:
        x, seen = leaf(1), []
        h = x * 2
        h.register_hook(seen.append)
        alive = weakref.ref(h)
        loss = h.sum()
        del h
        loss.backward()
        assert alive() is None
        assert len(seen) == 1
    finally:
        gc.enable()
