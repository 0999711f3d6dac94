"""Products of matrices."""

from __future__ import annotations

import numpy as np

from ..tape import Array, operation


def _check(name: str, a: np.ndarray, b: np.ndarray) -> None:
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"{name}: {a.shape} @ {b.shape}: a number has no axis to sum over; use multiply")
    inner, other = a.shape[-1], b.shape[-2 if b.ndim > 1 else -1]
    if inner != other:
        raise ValueError(f"{name}: {a.shape} @ {b.shape}: inner sizes {inner} and {other} differ")


@operation
def matmul(a: Array, b: Array):
    """y = a b, over the last two axes.   dL/da = g b^T,  dL/db = a^T g.

    From y_ij = sum_k a_ik b_kj: dL/da_ik = sum_j g_ij b_kj. A vector is a
    matrix of one row (left) or one column (right) that then disappears.

    Raises:
        ValueError: the inner sizes differ, or an operand has no axis.
    """
    _check("matmul", a, b)
    rows = a if a.ndim > 1 else a[None, :]
    columns = b if b.ndim > 1 else b[:, None]

    def whole(g: np.ndarray) -> np.ndarray:
        if b.ndim == 1:
            g = np.expand_dims(g, -1)
        return np.expand_dims(g, -2) if a.ndim == 1 else g

    def da(g: np.ndarray) -> np.ndarray:
        out = whole(g) @ columns.swapaxes(-1, -2)
        return out[..., 0, :] if a.ndim == 1 else out

    def db(g: np.ndarray) -> np.ndarray:
        out = rows.swapaxes(-1, -2) @ whole(g)
        return out[..., 0] if b.ndim == 1 else out

    return a @ b, da, db


@operation
def linear(x: Array, weight: Array, bias: Array | None = None):
    """y = x W^T + b, for x (n, in), W (out, in), b (out,).

    dL/dx = g W,  dL/dW = g^T x,  dL/db = sum of g over the batch.

    Raises:
        ValueError: x is no matrix, or its width is not W's.
    """
    if x.ndim != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"linear: x {x.shape} and weight {weight.shape}: expected x (n, {weight.shape[1]})")
    y = x @ weight.T
    if bias is not None:
        y += bias

    def dw(g: np.ndarray) -> np.ndarray:
        # (x^T g)^T in a Fortran-ordered buffer: the product that BLAS is fast at, in the weight's own order.
        out = np.empty(weight.shape, g.dtype, order="F")
        np.matmul(x.T, g, out=out.T)
        return out

    return y, lambda g: g @ weight, dw, lambda g: g.sum(axis=0)
