"""08 cross-entropy: the loss of a classifier.

A network returns scores z (n, classes), the logits, for n images. labels (n,)
are the right classes, as integers. With p = softmax of each row of z (see
exercise 07), the loss is

    loss = mean over the n rows of -ln p[row, label of the row]

Compute -ln p_t as ln(sum over k of e^(z_k)) - z_t, after subtracting the
largest element of each row, since p_t may be rounded to 0 and ln 0 is -inf.

To compute d(loss)/dz, subtract 1 from p in each row, at the position of its
label, and divide by n. The pullback multiplies this by g.
"""

import numpy as np


def cross_entropy(z, labels):
    """Return (loss, pullback) for the mean cross-entropy of logits z (n, classes) and labels (n,).

    loss is a number. The pullback takes g, a number, and returns an array of
    z's shape. z and labels must not be changed. labels has no gradient.
    """
    n = len(z)
    rows = np.arange(n)
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - z[rows, labels]).mean()

    def pullback(g):
        d_z = e / total
        d_z[rows, labels] -= 1
        return g * d_z / n

    return loss, pullback
