"""12 digits: read handwritten digits, with batches, cross-entropy and Adam.

The data: images of 8 x 8 pixels, as rows of 64 numbers from 0 to 1, and their
labels, 0 to 9. The network has one hidden layer:

    hidden = relu(x w1 + b1)         (n, hidden)
    logits = hidden w2 + b2          (n, 10)

One epoch uses every image once, in batches, in a new random order. At least
88 % of the test images, which `train` does not get, must be classified
correctly. 30 epochs with hidden = 64, batches of 32 and lr = 0.005 are enough.
"""

import numpy as np

from minigrad.study.exercises import mine

engine = mine(__file__, "04_backward")
Node, operation, backward = engine.Node, engine.operation, engine.backward
add = operation(mine(__file__, "05_broadcasting").add)
matmul = operation(mine(__file__, "06_matmul").matmul)
cross_entropy_rule = mine(__file__, "08_cross_entropy").cross_entropy
train_step = mine(__file__, "09_sgd").train_step
Adam = mine(__file__, "10_adam").Adam


@operation
def relu(x):
    """Compute max(x, 0), element by element."""
    return np.maximum(x, 0), lambda g: g * (x > 0)


def cross_entropy(logits, labels):
    """Return the loss, a node of shape (), of the node logits (n, 10) and the array labels (n,)."""
    return operation(lambda z: cross_entropy_rule(z, labels))(logits)


def initial_weights(inputs, hidden, rng, dtype=np.float64):
    """Return random weights, a dict of nodes: "w1" (inputs, hidden), "b1" (hidden,), "w2" (hidden, 10), "b2" (10,)."""
    w1 = rng.normal(0, (2 / inputs) ** 0.5, (inputs, hidden))
    w2 = rng.normal(0, (1 / hidden) ** 0.5, (hidden, 10))
    arrays = {"w1": w1, "b1": np.zeros(hidden), "w2": w2, "b2": np.zeros(10)}
    return {name: Node(array.astype(dtype)) for name, array in arrays.items()}


def minibatches(n, batch_size, rng):
    """Return a list of index arrays that together contain each of 0 ... n - 1 once, in random order.

    Each array has batch_size indices, and the last one has the rest, if there
    is a rest. rng is a NumPy generator: rng.permutation(n) is 0 ... n - 1 in
    random order.
    """
    raise NotImplementedError


def logits_of(weights, x):
    """Return the logits, a node of shape (n, 10). x is an array of shape (n, inputs)."""
    raise NotImplementedError


def predict(weights, x):
    """Return the class with the largest logit for each row of x (n, inputs), an array of n integers."""
    raise NotImplementedError


def fit(weights, x, labels, epochs, batch_size, lr, rng):
    """Train `weights` for some epochs with Adam, and return the loss of each step, a list of numbers.

    x (n, inputs) and labels (n,) are arrays. Call minibatches(n, batch_size, rng) once per epoch.
    """
    raise NotImplementedError


def train(x, labels):
    """Return weights, a dict of nodes, trained on x (1437, 64) and labels (1437,)."""
    raise NotImplementedError
