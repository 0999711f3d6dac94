"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import Array, operation
from ..tape import unbroadcast

__all__ = ["einsum", "linear", "matmul", "outer"]


def _check(name: str, a: np.ndarray, b: np.ndarray) -> None:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        raise ValueError(f"{name}: {np.shape(a)} @ {np.shape(b)}: a number has no axis to sum over; use multiply")
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
def outer(a: Array, b: Array):
    """y_ij = a_i b_j, of the flattened operands.   dL/da_i = sum_j g_ij b_j,  dL/db_j = sum_i a_i g_ij."""
    return (
        np.outer(a, b),
        lambda g: (g @ np.ravel(b)).reshape(np.shape(a)),
        lambda g: (np.ravel(a) @ g).reshape(np.shape(b)),
    )


def _spelt_out(subscripts: str, arrays: tuple[np.ndarray, ...]) -> tuple[list[str], str]:
    """einsum's subscripts with letters for ellipses and the output always given: (["ij", "jk"], "ik").

    Raises:
        ValueError: there are not as many terms as operands.
    """
    terms, arrow, result = subscripts.replace(" ", "").partition("->")
    inputs = terms.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} has {len(inputs)} terms; {len(arrays)} operands were given")
    if not arrow:
        letters = sorted(set(terms) - set(",."))
        result = ("..." if "..." in terms else "") + "".join(c for c in letters if terms.count(c) == 1)
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in subscripts]
    hidden = [np.ndim(a) - len(term.replace("...", "")) for term, a in zip(inputs, arrays, strict=True)]
    most = max([n for term, n in zip(inputs, hidden, strict=True) if "..." in term], default=0)
    inputs = [
        term.replace("...", "".join(spare[most - n : most]) if n > 0 else "")
        for term, n in zip(inputs, hidden, strict=True)
    ]
    return inputs, result.replace("...", "".join(spare[:most]))


@operation
def _einsum(*operands: Array, subscripts: str):
    inputs, result = _spelt_out(subscripts, operands)

    def pullback(i: int) -> Any:
        term, a = inputs[i], operands[i]
        distinct = "".join(dict.fromkeys(term))
        others = [x for j, x in enumerate(operands) if j != i]
        spelt = [s for j, s in enumerate(inputs) if j != i]
        seen = set(result).union(*spelt)
        reached = "".join(c for c in distinct if c in seen)

        def back(g: np.ndarray) -> np.ndarray:
            d = np.einsum(f"{','.join([result, *spelt])}->{reached}", g, *others, optimize=True)
            # An index that stands in this operand alone was summed: there g is repeated.
            d = np.expand_dims(d, [k for k, c in enumerate(distinct) if c not in seen])
            out = np.zeros(a.shape, g.dtype)
            # A writable view; all of `out` unless an index repeats.
            diagonal = np.einsum(f"{term}->{distinct}", out) if term else out
            np.copyto(diagonal, unbroadcast(d, diagonal.shape))
            return out

        return back

    return np.einsum(subscripts, *operands, optimize=True), *(pullback(i) for i in range(len(operands)))


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation, as numpy.einsum: y_result = sum over all other indices of the product of the operands.

    dL/da is again one: of g and the other operands, with a's own term as the result.

    Raises:
        ValueError: subscripts and operands don't match.
    """
    return _einsum(*operands, subscripts=subscripts)


@operation
def linear(input: Array, weight: Array, bias: Array | None = None):
    """y = x W^T + b, for x (..., in), W (out, in), b (out,).

    dL/dx = g W,  dL/dW = g^T x,  dL/db = 1^T g, the sum over the batch.

    Raises:
        ValueError: the width of x is not W's, or b's length not W's height.
    """
    if input.ndim == 0 or weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: input {input.shape} and weight {weight.shape}: expected (..., in) and (out, in), the same in"
        )
    x = input if input.ndim == 2 else input.reshape(-1, weight.shape[1])
    y = x.dot(weight.T)
    if bias is not None:
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"linear: bias {bias.shape}; expected {weight.shape[:1]}")
        y += bias
    if input.ndim != 2:
        y = y.reshape(*input.shape[:-1], len(weight))

    def rows(g: np.ndarray) -> np.ndarray:
        return g if g.ndim == 2 else g.reshape(-1, len(weight))

    def dx(g: np.ndarray) -> np.ndarray:
        # In the input's own memory order, since what made it will go back through it.
        out = np.empty_like(x, dtype=g.dtype)
        return np.matmul(rows(g), weight, out=out).reshape(input.shape)

    def dw(g: np.ndarray) -> np.ndarray:
        # (x^T g)^T in a Fortran-ordered buffer: the product that BLAS is fast at, in the weight's own order.
        out = np.empty(weight.shape, g.dtype, order="F")
        np.dot(x.T, rows(g), out=out.T)
        return out

    def db(g: np.ndarray) -> np.ndarray:
        return np.ones(len(x), g.dtype).dot(rows(g))  # as a product, which BLAS sums more quickly

    return y, dx, dw, db
