"""04 backward: the loop that computes all gradients.

A Node stores an array (`value`) and its `edges`: a list of pairs (operand,
pullback), one pair for each node that the value was computed from. `order`
numbers the nodes in the order in which they were created. `operation` turns a
rule, as in exercise 03, into a function of nodes that records the edges.

`backward` starts at the last node, the root, and goes back along the edges:

1. The gradient of the root with respect to itself is 1.
2. Visit a node: the sum of the gradients that have arrived at it is its
   gradient. Store it in `node.grad`. For each edge, pullback(gradient) is a
   contribution to the gradient of the operand: add it to those that have
   arrived there.
3. Visit each node once, and only when all contributions have arrived. A node
   is newer than its operands, so always visit the newest of the waiting nodes.
"""

import itertools

import numpy as np

clock = itertools.count()


class Node:
    """An array, the edges that lead to the nodes it was computed from, and its gradient."""

    def __init__(self, value, edges=()):
        self.value = np.asarray(value)
        self.edges = list(edges)
        self.order = next(clock)
        self.grad = None


def operation(rule):
    """Turn a rule over arrays into a function over nodes."""

    def apply(*operands):
        value, *pullbacks = rule(*(node.value for node in operands))
        return Node(value, zip(operands, pullbacks, strict=True))

    return apply


def backward(root):
    """Set `grad` of root, and of every node that it was computed from.

    root.value is a number (an array of shape ()). Each grad is an array of
    its node's shape. Earlier values of `grad` are replaced. Some pullbacks
    return g itself, so do not change gradients in place (with +=).
    A graph may have thousands of nodes in a row: use a loop, not recursion.
    """
    raise NotImplementedError
