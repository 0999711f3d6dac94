"""07 softmax: turn scores into probabilities.

For each row of z, the softmax is

    p_c = e^(z_c) / sum over k of e^(z_k)

e^1000 is too large for a float. Subtract the largest element of each row from
the row first: p stays the same, and the largest exponent is then 0.

Each p_c depends on all z_k of its row. Chapter 7 of the guide derives the
pullback:

    d(loss)/d(z_c) = p_c (g_c - sum over k of g_k p_k)
"""

import numpy as np


def softmax(z):
    """Return (value, pullback) for the softmax of each row of z.

    z, value, g and pullback(g) all have the shape (n, classes). z and g must
    not be changed.
    """
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, lambda g: p * (g - (g * p).sum(axis=1, keepdims=True))
