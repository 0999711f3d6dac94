"""The tape in thirty lines computes the gradients of the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import Tensor, first, ops

UNARY = ("tanh", "square", "exp", "negative", "sin", "relu")
BINARY = ("add", "subtract", "multiply", "maximum", "matmul")
RULES: dict[str, Any] = {name: first.operation(getattr(ops, name).__wrapped__) for name in (*UNARY, *BINARY, "sum")}

steps = st.lists(st.tuples(st.sampled_from(UNARY + BINARY), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=12)


@settings(max_examples=60)
@given(steps, st.integers(0, 2**32 - 1))
def test_the_gradients_of_random_graphs_are_those_of_the_tape(chosen: list[tuple[str, int, int]], seed: int) -> None:
    """A graph in which each operation uses results of earlier ones, of which some are used several times or never."""
    leaves = np.random.default_rng(seed).uniform(-0.9, 0.9, (3, 3, 3))
    ours = [first.Node(x) for x in leaves]
    theirs = [Tensor(x, requires_grad=True) for x in leaves]
    for name, i, j in chosen:
        operands = (i, j) if name in BINARY else (i,)
        ours.append(RULES[name](*(ours[k % len(ours)] for k in operands)))
        theirs.append(getattr(ops, name)(*(theirs[k % len(theirs)] for k in operands)))
        if not np.abs(theirs[-1].data).max() < 1e3:  # it would overflow
            ours.pop(), theirs.pop()
    first.backward(RULES["sum"](ours[-1]))
    theirs[-1].sum().backward()
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12, atol=1e-12)


def test_a_node_used_twice_gets_the_sum() -> None:
    a = first.Node(3.0)
    b = first.add(a, a)
    first.backward(first.add(b, b))
    assert a.grad == 4


def test_depth_first_without_an_order_is_wrong() -> None:
    """The counterexample of the docstring: 6 instead of 4."""
    gradients: dict[first.Node, float] = {}

    def visit(node: first.Node, g: float) -> None:
        gradients[node] = gradients.get(node, 0.0) + g
        for operand, pullback in node.edges:
            visit(operand, pullback(gradients[node]))

    a = first.Node(3.0)
    b = first.add(a, a)
    visit(first.add(b, b), 1.0)
    assert gradients[a] == 6
