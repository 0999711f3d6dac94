"""Arrays that were changed in place between an operation and the backward pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from op_cases import CASES

from minigrad import Array, Tensor, grad, nn, no_grad, operation, tape
from minigrad.tape import mark_changed

CHANGED = "changed in place after it was recorded"


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values), requires_grad=True)


def shift(x: Tensor, by: float = 1.0) -> None:
    """What an optimizer's step does: change the array itself."""
    x.data.__iadd__(by)
    mark_changed(x)


def test_the_other_operand_was_changed() -> None:
    d, g = leaf(2.0), leaf(5.0)
    f = d * g
    loss_d, loss_g = (f * f).sum(), (5 * f).sum()
    loss_d.backward(retain_graph=True)
    shift(d)
    g.grad = None
    with pytest.raises(RuntimeError, match=rf"multiply: the gradient of operand b needs .*shape \(1,\).*{CHANGED}"):
        loss_g.backward()
    assert g.grad is None


REFUSED: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "an operand": lambda w, c: (w * w, w),
    "a constant": lambda w, c: (w * c, c),
    "a view": lambda w, c: (w * c.T, c),
    "the array behind a view": lambda w, c: (w * c[:, :1], c),
    "an operand, through detach": lambda w, c: (w * w, w.detach()),
    "an operand that was transposed": lambda w, c: (c @ w.T, c),
    "a saved result": lambda w, c: (lambda y: (y, y))(w.exp()),
    "a result of getitem": lambda w, c: (lambda y: (y * y, y))(w[0]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pullback_that_reads_a_changed_array_is_refused(case: str) -> None:
    w, c = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.ones((2, 2)))
    y, changed = REFUSED[case](w, c)
    loss = y.sum()
    shift(changed)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()
    assert w.grad is None


ALLOWED: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "a sum": lambda w, c: (w + c, w),
    "a sum's constant": lambda w, c: (w + c, c),
    "a scaled operand": lambda w, c: (w * 2.0, w),
    "the value of a product": lambda w, c: (lambda y: (y, y))(w * c),
    "the operand of exp, which keeps its value": lambda w, c: (w.exp(), w),
    "a tensor that is not in the graph": lambda w, c: (w * w, c),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_a_pullback_that_does_not_read_the_changed_array_is_allowed(case: str) -> None:
    w, c = Tensor(np.ones((2, 2)), requires_grad=True), Tensor(np.full((2, 2), 3.0))
    y, changed = ALLOWED[case](w, c)
    expected = grad(lambda w: ALLOWED[case](w, Tensor(np.full((2, 2), 3.0)))[0].sum())(w.data.copy())
    loss = y.sum()
    shift(changed)
    loss.backward()
    np.testing.assert_allclose(w.grad, expected)


def test_a_change_before_the_operation_is_none() -> None:
    w = leaf(1.0, 2.0)
    shift(w)
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [4, 6])


def test_a_new_array_at_the_place_of_a_changed_one_has_not_changed() -> None:
    w = leaf(1.0, 2.0)
    for _ in range(200):
        with no_grad():
            x = Tensor(np.ones(2))
            x += 1
            del x
        (w * np.ones(2)).sum().backward()


def test_only_the_part_of_the_graph_that_is_visited_counts() -> None:
    w, v = leaf(1.0), leaf(2.0)
    unused = w * w
    loss = (v * v).sum()
    shift(w)
    loss.backward()
    np.testing.assert_array_equal(v.grad, [4])
    with pytest.raises(RuntimeError, match=CHANGED):
        unused.sum().backward()


@pytest.mark.parametrize(
    "hold",
    [lambda a: [a], lambda a: {"a": a}, lambda a: (1, (a,)), lambda a: lambda: a, lambda a: SimpleNamespace(a=a)],
    ids=["list", "dict", "tuple", "function", "object"],
)
def test_an_array_is_found_wherever_a_pullback_holds_it(hold: Any) -> None:
    @operation
    def double(a: Array):
        held = hold(a)
        return a * 2, lambda g: g * 2 if held else g

    w = leaf(1.0)
    y = double(w)
    shift(w)
    with pytest.raises(RuntimeError, match="double"):
        y.sum().backward()


def test_batch_statistics_that_change_in_training_are_no_obstacle() -> None:
    layer = nn.BatchNorm1d(2)
    x = Tensor(np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32), requires_grad=True)
    first = layer(x).square().sum()
    mark_changed(layer.running_mean)
    mark_changed(layer.running_var)
    first.backward()
    assert x.grad is not None


# `backward` must not compute with changed numbers, and it must not refuse a program for an array that is not needed.


COARSE = ("clip", "power")  # the gradient depends on the operand, but not for all numbers: that of a^1 is 1


@pytest.mark.parametrize("name", CASES)
def test_a_pullback_holds_the_arrays_that_its_gradient_depends_on_and_no_others(name: str) -> None:
    for fn, *inputs in CASES[name]:
        arrays = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]
        for i, tracked in itertools.product(arrays, arrays):
            tensors = [Tensor(x.copy(), k == tracked) if k in arrays else x for k, x in enumerate(inputs)]
            y = fn(*tensors)
            expected = gradient(y)
            tensors[i].data[...] = -2 * inputs[i] - 0.1
            mark_changed(tensors[i])
            try:
                actual, refused = gradient(y), False
            except RuntimeError:
                tape.changes.clear()
                with np.errstate(all="ignore"):
                    actual, refused = gradient(y), True
            same = np.array_equal(actual, expected, equal_nan=True)
            assert same != refused or (refused and name in COARSE), f"gradient of {tracked}, changed {i}"


def gradient(y: Tensor) -> np.ndarray:
    weights = np.random.default_rng(1).uniform(0.5, 2, y.shape)
    return tape.propagate(y, weights, retain_graph=True)[0][1]
