"""The whole idea of reverse-mode differentiation in thirty lines. Read this before `tape.py`.

A *rule* computes a value from arrays and returns it together with one
*pullback* per operand: the function that turns the gradient of the value into
the gradient of that operand. The rules have the format of those in `ops/`.

`backward` visits the nodes from the newest to the oldest and sums the
gradients that arrive at each node. It relies on one fact: a node is created
after its operands, so the order of creation is a topological order. When a
node is visited, all nodes that use it have been visited, and its gradient is
complete.

Visiting the operands depth first, without such an order, is wrong:

    b = a + a
    c = b + b        dc/da = 4

The first pullback of c contributes 1 to b. Depth first, both pullbacks of b
contribute this 1 to a before c contributes its second 1 to b. Then the
gradient of b is 2, and both pullbacks contribute 2 to a. The sum at a is
1 + 1 + 2 + 2 = 6.

`tape.py` has the same loop. It also handles broadcasting, dtypes, operands
that need no gradient, arrays that change, and errors.
"""

import itertools

import numpy as np

clock = itertools.count()


class Node:
    """An array, the (operand, pullback) pairs that lead back from it, and its gradient."""

    def __init__(self, value, edges=()):
        self.value, self.edges = np.asarray(value), list(edges)
        self.grad, self.order = None, next(clock)


def operation(rule):
    """Turn a rule over arrays into a function over nodes that records the pullbacks."""

    def apply(*operands):
        value, *pullbacks = rule(*(x.value for x in operands))
        return Node(value, zip(operands, pullbacks, strict=True))

    return apply


def backward(root):
    """Set `grad` of every node that `root`, a scalar, was computed from."""
    gradients = {root: np.ones_like(root.value)}
    while gradients:
        node = max(gradients, key=lambda node: node.order)  # the newest
        node.grad = g = gradients.pop(node)
        for operand, pullback in node.edges:
            p = pullback(g)
            gradients[operand] = gradients[operand] + p if operand in gradients else p


# Two rules. `minigrad.ops` has all of them.
add = operation(lambda a, b: (a + b, lambda g: g, lambda g: g))
multiply = operation(lambda a, b: (a * b, lambda g: g * b, lambda g: g * a))
