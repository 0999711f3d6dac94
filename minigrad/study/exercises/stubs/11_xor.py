"""11 xor: train a network with your own engine.

XOR of two bits is 1 if exactly one of them is 1. No linear function computes
it, but a network with one hidden layer can learn it:

    hidden = tanh(x w1 + b1)         (n, 8)
    predict = hidden w2 + b2         (n, 1)
    loss = mean of (predict - y)^2

All operations below take nodes and return a node: write add(a, b), since nodes
have no +. Most of them are your own solutions: `mine` loads the file of an
earlier exercise.
"""

import numpy as np

from minigrad.study.exercises import mine

engine = mine(__file__, "04_backward")
Node, operation, backward = engine.Node, engine.operation, engine.backward
add = operation(mine(__file__, "05_broadcasting").add)
matmul = operation(mine(__file__, "06_matmul").matmul)
square = operation(mine(__file__, "03_square").square)
SGD = mine(__file__, "09_sgd").SGD


@operation
def tanh(x):
    """Compute the hyperbolic tangent, element by element."""
    value = np.tanh(x)
    return value, lambda g: g * (1 - value * value)


@operation
def mean(x):
    """Compute the mean of all elements."""
    return x.mean(), lambda g: np.full_like(x, g / x.size)


def predict(weights, x):
    """Return the network's output, a node of shape (n, 1).

    weights is a dict of nodes: "w1" (2, hidden), "b1" (hidden,), "w2"
    (hidden, 1) and "b2" (1,). x is a node of shape (n, 2).
    """
    raise NotImplementedError


def loss_of(weights, x, y):
    """Return the loss, a node of shape (). x (n, 2) and y (n, 1) are nodes."""
    difference = add(predict(weights, x), Node(-y.value))
    return mean(square(difference))


def train(weights, x, y, lr, steps):
    """Take `steps` steps of gradient descent (SGD), which update the values of `weights`.

    The arguments are those of `loss_of`. Return a list with the loss before
    each step, as numbers. The loss is a new node in every step.
    """
    raise NotImplementedError
