"""06 matmul: the pullbacks of the matrix product.

The product of a (n, k) and b (k, m) has the elements

    value_ij = sum over p of a_ip b_pj        (n, m)

The loss depends on a_ip through row i of the value, whose gradients are g_ij:

    d(loss)/d(a_ip) = sum over j of g_ij b_pj
    d(loss)/d(b_pj) = sum over i of g_ij a_ip

Write both sums as matrix products. x.T is the transpose of x.
"""


def matmul(a, b):
    """Return (value, pullback of a, pullback of b) for the matrix product of a (n, k) and b (k, m).

    Each pullback takes g, an array of shape (n, m). The first returns an
    array of shape (n, k), the second one of shape (k, m).
    """
    raise NotImplementedError
