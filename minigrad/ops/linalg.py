"""Matrix products. g is dL/dy, the gradient of the value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..operation import Array, operation
from ..tape import unbroadcast
from .fast import product_in_order, sum_of_rows, transposed_product

__all__ = ["einsum", "linear", "matmul", "outer"]


def _check(name: str, a: np.ndarray, b: np.ndarray) -> None:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        raise ValueError(f"{name}: {np.shape(a)} @ {np.shape(b)}: a scalar has no axis to sum over; use multiply")
    inner, other = a.shape[-1], b.shape[-2 if b.ndim > 1 else -1]
    if inner != other:
        raise ValueError(f"{name}: {a.shape} @ {b.shape}: inner sizes {inner} and {other} differ")


@operation
def matmul(a: Array, b: Array):
    """y = a b, over the last two axes, as in numpy.matmul.   dL/da = g b^T,  dL/db = a^T g.

    From y_ij = sum_k a_ik b_kj follows dL/da_ik = sum_j g_ij b_kj. A vector
    is treated as one row (left) or one column (right), which y does not keep.

    Raises:
        ValueError: the inner sizes differ, or an operand is a scalar.
    """
    _check("matmul", a, b)
    is_row, is_column = a.ndim == 1, b.ndim == 1
    rows = a[None, :] if is_row else a
    columns = b[:, None] if is_column else b

    def as_matrix(g: np.ndarray) -> np.ndarray:
        if is_column:
            g = np.expand_dims(g, -1)
        return np.expand_dims(g, -2) if is_row else g

    def da(g: np.ndarray) -> np.ndarray:
        out = as_matrix(g) @ columns.swapaxes(-1, -2)
        return out[..., 0, :] if is_row else out

    def db(g: np.ndarray) -> np.ndarray:
        out = rows.swapaxes(-1, -2) @ as_matrix(g)
        return out[..., 0] if is_column else out

    return a @ b, da, db


@operation
def outer(a: Array, b: Array):
    """y_ij = a_i b_j for the flattened operands.   dL/da_i = sum_j g_ij b_j,  dL/db_j = sum_i a_i g_ij."""
    a_shape, b_shape = np.shape(a), np.shape(b)
    return (
        np.outer(a, b),
        lambda g: (g @ np.ravel(b)).reshape(a_shape),
        lambda g: (np.ravel(a) @ g).reshape(b_shape),
    )


def _explicit(subscripts: str, arrays: tuple[np.ndarray, ...]) -> tuple[list[str], str]:
    """einsum's subscripts with letters instead of ellipses and with the result's: (["ij", "jk"], "ik").

    Raises:
        ValueError: the numbers of terms and operands differ.
    """
    terms, arrow, result = subscripts.replace(" ", "").partition("->")
    inputs = terms.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} has {len(inputs)} terms, but got {len(arrays)} operands")
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
    inputs, result = _explicit(subscripts, operands)

    def pullback(i: int) -> Any:
        term, shape = inputs[i], np.shape(operands[i])
        distinct = "".join(dict.fromkeys(term))
        others = [x for j, x in enumerate(operands) if j != i]
        other_terms = [s for j, s in enumerate(inputs) if j != i]
        known = set(result).union(*other_terms)
        kept = "".join(c for c in distinct if c in known)

        def back(g: np.ndarray) -> np.ndarray:
            d = np.einsum(f"{','.join([result, *other_terms])}->{kept}", g, *others, optimize=True)
            # The value is a sum over an index that only this operand has, so g is broadcast along it.
            d = np.expand_dims(d, [k for k, c in enumerate(distinct) if c not in known])
            out = np.zeros(shape, g.dtype)
            # A writable view of `out`: its diagonal if an index repeats, otherwise all of it.
            diagonal = np.einsum(f"{term}->{distinct}", out) if term else out
            np.copyto(diagonal, unbroadcast(d, diagonal.shape))
            return out

        return back

    return np.einsum(subscripts, *operands, optimize=True), *(pullback(i) for i in range(len(operands)))


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation, as in numpy.einsum: the product of the operands, summed over the indices that y lacks.

    dL/da is the einsum of g and the other operands, with a's subscripts as its result.

    Args:
        subscripts: such as "ij,jk->ik".
        operands: one per term of the subscripts.

    Raises:
        TypeError: `subscripts` is not a string.
        ValueError: subscripts and operands don't match.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts {subscripts!r}; expected a string such as 'ij,jk->ik'")
    return _einsum(*operands, subscripts=subscripts)


@operation
def linear(input: Array, weight: Array, bias: Array | None = None):
    """y = x W^T + b, (..., out).   dL/dx = g W,  dL/dW = g^T x,  dL/db = 1^T g, the sum over the batch.

    Args:
        input: x, (..., in).
        weight: W, (out, in).
        bias: b, (out,); by default none.

    Raises:
        ValueError: the shapes don't match.
    """
    if input.ndim == 0 or weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: input {input.shape} and weight {weight.shape}: expected (..., in) and (out, in) with equal in"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias {bias.shape}; expected {weight.shape[:1]}")

    def rows(a: np.ndarray) -> np.ndarray:  # all axes but the last become one
        return a if a.ndim == 2 else a.reshape(math.prod(a.shape[:-1]), a.shape[-1])

    shape, x = input.shape, rows(input)
    order: Any = "F" if x.flags.fnc else "C"
    y = x.dot(weight.T)
    if bias is not None:
        y += bias
    return (
        y if input.ndim == 2 else y.reshape(*shape[:-1], len(weight)),
        lambda g: product_in_order(order, rows(g), weight).reshape(shape),
        lambda g: transposed_product(rows(g), x),
        lambda g: sum_of_rows(rows(g)),
    )
