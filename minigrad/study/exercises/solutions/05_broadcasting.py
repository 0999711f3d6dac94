"""05 broadcasting: the gradient of an array that was used several times.

In x + b with x of shape (4, 3) and b of shape (3,), NumPy uses b once per row.
This is broadcasting. As always, the gradients of all uses are added: that of
b is the sum over the rows, of shape (3,) again. In general, broadcasting

- adds axes at the front, as in (3,) -> (4, 3): sum over the added axes;
- repeats along an axis of length 1, as in (4, 1) -> (4, 3): sum over this
  axis, and keep it with length 1.
"""


def unbroadcast(g, shape):
    """Return g, summed over the axes that broadcasting has added or repeated.

    g is an array whose shape is the result of broadcasting an array of shape
    `shape`, a tuple. The result has that shape. g must not be changed.
    """
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    repeated = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return g.sum(axis=repeated, keepdims=True)


def add(a, b):
    """Return (value, pullback of a, pullback of b) for the value a + b.

    a and b are arrays whose shapes may differ, such as (4, 3) and (3,). Each
    pullback takes g, of value's shape, and returns an array of a's or b's shape.
    """
    return a + b, lambda g: unbroadcast(g, a.shape), lambda g: unbroadcast(g, b.shape)
