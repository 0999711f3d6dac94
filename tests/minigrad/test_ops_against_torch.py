"""Every operation against torch: values and gradients, also at kinks, ties, zeros and infinities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_cases import nonzero, normal, positive, within

from minigrad import Tensor, ops

torch = pytest.importorskip("torch")
F = torch.nn.functional

inf = np.inf

# What torch has no equal of.
NOT_IN_TORCH = {"dropout": "draws random numbers of its own"}

KINKS = np.array([[-2.0, -1.0, -0.5], [-0.0, 0.0, 0.5], [1.0, 1.0, 2.0]])
TIED = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-1.0, 0.0, -1.0]])
LARGE = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 9999.0]])
MASKED = np.array([[-inf, 1.0, 2.0], [-inf, -inf, 0.5], [0.0, -inf, -1.0]])
FULLY_MASKED = np.array([[-inf, -inf, -inf], [0.5, 1.0, -inf]])
ZEROS = np.array([[0.0, 2.0, -3.0], [0.0, 0.0, 4.0], [1.5, -2.0, 0.5], [0.0, 0.0, 0.0]])
LABELS = np.array([0, 2, 2])
WEIGHT = np.array([0.5, 2.0, 1.25])
MASK = np.array([[True, False, True], [False, False, True]])


def like(x: Any, array: np.ndarray) -> Any:
    """An array of x's kind (torch's or NumPy's) and dtype."""
    return torch.as_tensor(array, dtype=x.dtype) if isinstance(x, torch.Tensor) else array.astype(x.dtype)


def elementwise(name: str, theirs: Any, *inputs: np.ndarray) -> list[tuple[Any, ...]]:
    return [(getattr(ops, name), theirs, x) for x in inputs]


def along(
    name: str, theirs: Any, *inputs: np.ndarray, axes: tuple[Any, ...] = (0, -1, (0, 1)), **options: Any
) -> list[Any]:
    """Both along each of the axes; torch's `theirs(x, dim, keepdim)`."""

    def case(axis: Any, keepdims: bool) -> tuple[Any, Any]:
        return lambda a: getattr(ops, name)(a, axis=axis, keepdims=keepdims, **options), lambda a: theirs(
            a, axis, keepdims
        )

    return [
        (*case(axis, keepdims), x) for x in inputs for axis, keepdims in zip(axes, (False, True, False), strict=False)
    ]


def reductions(ours: Any, theirs: Any, *inputs: Any, **options: Any) -> list[tuple[Any, ...]]:
    """Both with each of the three reductions."""

    def case(reduction: str) -> tuple[Any, Any]:
        return (
            lambda *x: ours(*x, reduction=reduction, **options),
            lambda *x: theirs(*x, reduction=reduction, **options),
        )

    return [(*case(reduction), *inputs) for reduction in ("mean", "sum", "none")]


def classes(ours: Any, theirs: Any, x: np.ndarray, smoothings: tuple[float, ...] = ()) -> list[tuple[Any, ...]]:
    """Both with and without class weights, and with each label smoothing."""

    def case(weight: Any, reduction: str, options: dict[str, Any]) -> tuple[Any, Any]:
        return (
            lambda x: ours(x, LABELS, None if weight is None else like(x, weight), reduction, **options),
            lambda x: theirs(
                x,
                torch.as_tensor(LABELS),
                None if weight is None else like(x, weight),
                reduction=reduction,
                **options,
            ),
        )

    return [
        (*case(weight, reduction, options), x)
        for weight in (None, WEIGHT)
        for reduction in ("mean", "sum", "none")
        for options in ({}, *({"label_smoothing": s} for s in smoothings))
    ]


def both(fn: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The same call in both languages."""
    return fn, fn


def normed(training: bool, running: bool = True, **options: Any) -> tuple[Any, Any]:
    """batch_norm in both, with the running values that it leaves behind put after the value."""
    mean, var = np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.5, 2.5])

    def ours(x: Any, w: Any = None, b: Any = None) -> Any:
        m, v = (like(x, mean), like(x, var)) if running else (None, None)
        y = ops.batch_norm(x, m, v, w, b, training, **options)
        return ops.concatenate([ops.reshape(y, -1), m, v]) if running else y

    def theirs(x: Any, w: Any = None, b: Any = None) -> Any:
        m, v = (like(x, mean), like(x, var)) if running else (None, None)
        y = F.batch_norm(x, m, v, w, b, training or not running, **options)
        return torch.cat([y.reshape(-1), m, v]) if running else y

    return ours, theirs


# name -> (ours, torch's, *inputs). Floating inputs are differentiated.
TORCH: dict[str, list[tuple[Any, ...]]] = {
    "add": [(ops.add, torch.add, normal(2, 3, 1), normal(4)), (*both(lambda a: 2 + a + a), normal(3))],
    "subtract": [(ops.subtract, torch.sub, normal(2, 3, 1), normal(4)), (*both(lambda a: 1 - a), normal(3))],
    "multiply": [(ops.multiply, torch.mul, normal(2, 3, 1), normal(4)), (*both(lambda a: a * a), normal(3))],
    "divide": [
        (ops.divide, torch.div, normal(2, 3, 1), nonzero(4)),
        (ops.divide, torch.div, np.array([1.0, -1.0, 2.0]), np.array([0.0, 0.0, 1.0])),
        (*both(lambda a: 2 / a), nonzero(3)),
    ],
    "negative": elementwise("negative", torch.neg, normal(2, 3)),
    "reciprocal": elementwise("reciprocal", torch.reciprocal, nonzero(2, 3), KINKS),
    "power": [
        (ops.power, torch.pow, positive(2, 3, 1), normal(4)),
        (ops.power, torch.pow, np.array([0.0, 0.0, 0.0, 0.0, -0.0]), np.array([0.0, 0.5, 1.0, 3.0, 2.0])),
        (ops.power, torch.pow, np.array([0.0, 0.0, 2.0]), np.array([-1.0, -0.5, -1.0])),
        (ops.power, torch.pow, np.array([-2.0, -0.5, -2.0]), np.array([3.0, 2.0, 0.0])),
        *((*both(lambda a, p=p: a**p), KINKS) for p in (0, 1, 2, 3, -1)),
        (*both(lambda a: a**0.5), KINKS + 0.0),
        (*both(lambda a: 2**a), normal(4)),
        (lambda a: ops.power(0.0, a), lambda a: torch.pow(0.0, a), np.array([0.0, 0.5, 2.0])),
    ],
    "square": elementwise("square", torch.square, normal(2, 3), KINKS),
    "sqrt": elementwise("sqrt", torch.sqrt, positive(2, 3), KINKS),
    "rsqrt": elementwise("rsqrt", torch.rsqrt, positive(2, 3), KINKS),
    "exp": elementwise("exp", torch.exp, normal(2, 3), LARGE, MASKED),
    "expm1": elementwise("expm1", torch.expm1, normal(2, 3), 1e-9 * KINKS),
    "log": elementwise("log", torch.log, positive(2, 3), KINKS),
    "log1p": elementwise("log1p", torch.log1p, positive(2, 3), KINKS, 1e-9 * KINKS),
    "log2": elementwise("log2", torch.log2, positive(2, 3), KINKS),
    "log10": elementwise("log10", torch.log10, positive(2, 3), KINKS),
    "abs": elementwise("abs", torch.abs, normal(2, 3), KINKS),
    "sign": elementwise("sign", torch.sign, normal(2, 3), KINKS),
    "sin": elementwise("sin", torch.sin, 3 * normal(2, 3), KINKS),
    "cos": elementwise("cos", torch.cos, 3 * normal(2, 3), KINKS),
    "tan": elementwise("tan", torch.tan, within(-1.2, 1.2, 2, 3), KINKS),
    "sinh": elementwise("sinh", torch.sinh, normal(2, 3), KINKS),
    "cosh": elementwise("cosh", torch.cosh, normal(2, 3), KINKS),
    "tanh": elementwise("tanh", torch.tanh, normal(2, 3), KINKS, LARGE, MASKED),
    "arcsin": elementwise("arcsin", torch.arcsin, within(-0.9, 0.9, 2, 3), KINKS),
    "arctan": elementwise("arctan", torch.arctan, normal(2, 3), KINKS, LARGE),
    "erf": elementwise("erf", torch.erf, normal(2, 3), KINKS, LARGE, MASKED),
    "maximum": [
        (ops.maximum, torch.maximum, TIED, TIED[::-1].copy()),
        (ops.maximum, torch.maximum, TIED, TIED),
        (ops.maximum, torch.maximum, normal(2, 3, 1), normal(4)),
        (ops.maximum, torch.maximum, np.array([-inf, inf, 0.0]), np.array([-inf, 1.0, -inf])),
    ],
    "minimum": [
        (ops.minimum, torch.minimum, TIED, TIED[::-1].copy()),
        (ops.minimum, torch.minimum, TIED, TIED),
        (ops.minimum, torch.minimum, normal(2, 3, 1), normal(4)),
        (ops.minimum, torch.minimum, np.array([-inf, inf, 0.0]), np.array([-inf, 1.0, inf])),
    ],
    "clip": [
        (lambda a: ops.clip(a, -1, 1), lambda a: torch.clamp(a, -1, 1), KINKS),
        (lambda a: ops.clip(a, min=0.5), lambda a: torch.clamp(a, min=0.5), KINKS),
        (lambda a: ops.clip(a, max=0.0), lambda a: torch.clamp(a, max=0.0), KINKS),
        (lambda a: ops.clip(a, -1, 1), lambda a: torch.clamp(a, -1, 1), LARGE),
        (
            lambda a: ops.clip(a, like(a, WEIGHT), like(a, 1 + WEIGHT)),
            lambda a: torch.clamp(a, like(a, WEIGHT), like(a, 1 + WEIGHT)),
            KINKS,
        ),
        (lambda a: ops.clip(a, 1, -1), lambda a: torch.clamp(a, 1, -1), np.array([-2.0, 0.0, 2.0])),
    ],
    "where": [
        (
            lambda a, b: ops.where(MASK, a, b),
            lambda a, b: torch.where(torch.as_tensor(MASK), a, b),
            normal(2, 1),
            normal(3),
        ),
        (lambda a: ops.where(MASK, a, -inf), lambda a: a.masked_fill(~torch.as_tensor(MASK), -inf), normal(2, 3)),
    ],
    "sigmoid": elementwise("sigmoid", torch.sigmoid, normal(2, 3), KINKS, LARGE, MASKED),
    "softplus": [
        *elementwise("softplus", F.softplus, normal(2, 3), KINKS, LARGE),
        (lambda a: ops.softplus(a, 2.5), lambda a: F.softplus(a, 2.5), normal(2, 3)),
    ],
    "relu": elementwise("relu", F.relu, normal(2, 3), KINKS, LARGE, MASKED),
    "leaky_relu": [
        *elementwise("leaky_relu", F.leaky_relu, normal(2, 3), KINKS, MASKED),
        (lambda a: ops.leaky_relu(a, 0.3), lambda a: F.leaky_relu(a, 0.3), KINKS),
        (lambda a: ops.leaky_relu(a, 2.0), lambda a: F.leaky_relu(a, 2.0), KINKS),
    ],
    "elu": [
        *elementwise("elu", F.elu, normal(2, 3), KINKS, LARGE, MASKED),
        (lambda a: ops.elu(a, 0.4), lambda a: F.elu(a, 0.4), KINKS),
    ],
    "gelu": [
        *elementwise("gelu", F.gelu, normal(2, 3), KINKS, LARGE),
        (lambda a: ops.gelu(a, "tanh"), lambda a: F.gelu(a, approximate="tanh"), normal(2, 3)),
        (lambda a: ops.gelu(a, "tanh"), lambda a: F.gelu(a, approximate="tanh"), KINKS),
    ],
    "silu": elementwise("silu", F.silu, normal(2, 3), KINKS, LARGE),
    "sum": along("sum", torch.sum, normal(2, 3, 2)),
    "mean": along("mean", torch.mean, normal(2, 3, 2)),
    "var": [
        *along("var", lambda a, d, k: torch.var(a, d, correction=0, keepdim=k), normal(2, 3, 2), TIED),
        *along("var", lambda a, d, k: torch.var(a, d, correction=1, keepdim=k), normal(2, 3, 2), TIED, ddof=1),
        (ops.var, lambda a: torch.var(a, correction=0), normal(2, 3)),
        (lambda a: ops.var(a, ddof=1), torch.var, normal(4)),
    ],
    "std": [
        *along("std", lambda a, d, k: torch.std(a, d, correction=0, keepdim=k), normal(2, 3, 2), TIED),
        *along("std", lambda a, d, k: torch.std(a, d, correction=1, keepdim=k), normal(2, 3, 2), TIED, ddof=1),
        (lambda a: ops.std(a, ddof=1), torch.std, normal(4)),
        (ops.std, lambda a: torch.std(a, correction=0), np.full(4, 0.5)),
    ],
    "prod": [
        *along("prod", torch.prod, normal(2, 3), ZEROS, axes=(0, -1)),
        (ops.prod, torch.prod, normal(2, 3)),
        *((ops.prod, torch.prod, row) for row in ZEROS),
    ],
    "max": [*along("max", torch.amax, normal(2, 3, 2), TIED, MASKED), (ops.max, torch.amax, TIED)],
    "min": [*along("min", torch.amin, normal(2, 3, 2), TIED, MASKED), (ops.min, torch.amin, TIED)],
    "norm": [
        case
        for ord in (1, 2, 3.5, 0.5, inf)
        for case in along(
            "norm",
            lambda a, d, k, ord=ord: torch.linalg.vector_norm(a, ord, d, k),
            normal(2, 3, 2),
            TIED,
            np.where(TIED == 3, 0, TIED),
            ord=ord,
        )
    ]
    + [
        (ops.norm, torch.linalg.vector_norm, np.zeros((2, 3))),
        (lambda a: ops.norm(a, 1), lambda a: torch.linalg.vector_norm(a, 1), np.zeros(3)),
        (lambda a: ops.norm(a, 2, -1), lambda a: torch.linalg.vector_norm(a, 2, -1), ZEROS),
        (lambda a: ops.norm(a, 3, -1), lambda a: torch.linalg.vector_norm(a, 3, -1), ZEROS),
    ],
    "logsumexp": along("logsumexp", torch.logsumexp, normal(2, 3, 2), TIED, LARGE, MASKED),
    "softmax": [
        (lambda a, i=i: ops.softmax(a, i), lambda a, i=i: torch.softmax(a, i), x)
        for x in (normal(2, 3, 2), TIED, LARGE, MASKED)
        for i in (0, -1)
    ],
    "log_softmax": [
        (lambda a, i=i: ops.log_softmax(a, i), lambda a, i=i: torch.log_softmax(a, i), x)
        for x in (normal(2, 3, 2), TIED, LARGE, MASKED)
        for i in (0, -1)
    ],
    "cumsum": [
        (lambda a, i=i: ops.cumsum(a, i), lambda a, i=i: torch.cumsum(a, i), normal(2, 3, 2)) for i in (0, 1, -1)
    ],
    "broadcast_to": [
        (lambda a: ops.broadcast_to(a, (4, 2, 3)), lambda a: torch.broadcast_to(a, (4, 2, 3)), normal(2, 1))
    ],
    "concatenate": [
        (
            lambda a, b: ops.concatenate([a, b, a], -1),
            lambda a, b: torch.cat([a, b, a], -1),
            normal(2, 3),
            normal(2, 1),
        ),
        (lambda a, b: ops.concatenate([a, b]), lambda a, b: torch.cat([a, b]), normal(2, 3), normal(1, 3)),
    ],
    "embedding": [
        (
            lambda w: ops.embedding(LABELS[None], w),
            lambda w: F.embedding(torch.as_tensor(LABELS[None]), w),
            normal(4, 2),
        )
    ],
    "expand_dims": [
        (lambda a, i=i: ops.expand_dims(a, i), lambda a, i=i: torch.unsqueeze(a, i), normal(2, 3)) for i in (0, 1, -1)
    ],
    "flatten": [
        (ops.flatten, torch.flatten, normal(2, 3, 2)),
        (ops.flatten, torch.flatten, normal()),
        (lambda a: ops.flatten(a, 1), lambda a: torch.flatten(a, 1), normal(2, 3, 2)),
        (lambda a: ops.flatten(a, -3, -2), lambda a: torch.flatten(a, -3, -2), normal(2, 3, 2)),
    ],
    "flip": [
        (lambda a: ops.flip(a, (0, -1)), lambda a: torch.flip(a, (0, -1)), normal(2, 3, 2)),
        (ops.flip, lambda a: torch.flip(a, (0, 1)), normal(2, 3)),
    ],
    "getitem": [
        (*both(lambda a: a[1]), normal(3, 2)),
        (*both(lambda a: a[..., 1:, None]), normal(3, 4)),
        (*both(lambda a: a[[0, 2, 0, 0]]), normal(3, 2)),
        (*both(lambda a: a[[0, 0], [1, 1]]), normal(3, 2)),
        (*both(lambda a: a[:, [1, 1, 0]]), normal(3, 2)),
        (*both(lambda a: a[a > 0]), normal(3, 2)),
    ],
    "pad": [
        (lambda a: ops.pad(a, ((1, 2), (0, 3))), lambda a: F.pad(a, (0, 3, 1, 2)), normal(2, 3)),
        (lambda a: ops.pad(a, 1, 4.0), lambda a: F.pad(a, (1, 1, 1, 1), value=4.0), normal(2, 3)),
    ],
    "reshape": [(lambda a: ops.reshape(a, (3, -1)), lambda a: torch.reshape(a, (3, -1)), normal(2, 6))],
    "roll": [
        (lambda a: ops.roll(a, 4), lambda a: torch.roll(a, 4), normal(2, 3)),
        (lambda a: ops.roll(a, (1, -2), (0, -1)), lambda a: torch.roll(a, (1, -2), (0, -1)), normal(2, 3)),
    ],
    "split": [
        (
            lambda a: ops.concatenate(ops.split(a, [1, 4], 1)[::-1], 1),
            lambda a: torch.cat(torch.tensor_split(a, (1, 4), 1)[::-1], 1),
            normal(2, 6),
        ),
        (lambda a: ops.split(a, 3)[1], lambda a: torch.tensor_split(a, 3)[1], normal(6, 2)),
    ],
    "squeeze": [
        (ops.squeeze, torch.squeeze, normal(2, 1, 3, 1)),
        (lambda a: ops.squeeze(a, (1, -1)), lambda a: torch.squeeze(a, (1, -1)), normal(2, 1, 3, 1)),
    ],
    "stack": [
        (
            lambda a, b, i=i: ops.stack([a, b, a], i),
            lambda a, b, i=i: torch.stack([a, b, a], i),
            normal(2, 3),
            normal(2, 3),
        )
        for i in (0, 1, -1)
    ],
    "swapaxes": [(lambda a: ops.swapaxes(a, 0, -1), lambda a: torch.swapaxes(a, 0, -1), normal(2, 3, 4))],
    "take": [
        (
            lambda a: ops.take(a, [[5, 0], [5, 1]]),
            lambda a: torch.take(a, torch.tensor([[5, 0], [5, 1]])),
            normal(2, 3),
        ),
        (
            lambda a: ops.take(a, LABELS, -1),
            lambda a: torch.index_select(a, -1, torch.as_tensor(LABELS)),
            normal(2, 3),
        ),
    ],
    "tile": [
        (lambda a, n=n: ops.tile(a, n), lambda a, n=n: torch.tile(a, n), normal(2, 3))
        for n in ((2,), (2, 3), (2, 1, 3))
    ],
    "transpose": [
        (ops.transpose, lambda a: torch.permute(a, (2, 1, 0)), normal(2, 3, 4)),
        (lambda a: ops.transpose(a, (1, -1, 0)), lambda a: torch.permute(a, (1, -1, 0)), normal(2, 3, 4)),
    ],
    "tril": [(lambda a, k=k: ops.tril(a, k), lambda a, k=k: torch.tril(a, k), normal(2, 3, 4)) for k in (-1, 0, 1)],
    "triu": [(lambda a, k=k: ops.triu(a, k), lambda a, k=k: torch.triu(a, k), normal(2, 3, 4)) for k in (-1, 0, 1)],
    "matmul": [
        (ops.matmul, torch.matmul, normal(*a), normal(*b))
        for a, b in [((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (2, 3, 4)), ((5, 1, 2, 3), (2, 3, 4))]
    ],
    "outer": [(ops.outer, torch.outer, normal(2), normal(3))],
    "linear": [
        (ops.linear, F.linear, normal(5, 3), normal(4, 3), normal(4)),
        (ops.linear, F.linear, normal(3), normal(4, 3), normal(4)),
        (ops.linear, F.linear, normal(2, 2, 5, 3), normal(4, 3)),
    ],
    "einsum": [
        (
            lambda *x, s=s: ops.einsum(s, *x),
            lambda *x, s=s: torch.einsum(s, *x),
            *(normal(*shape) for shape in shapes),
        )
        for s, *shapes in [
            ("ij,jk->ik", (2, 3), (3, 4)),
            ("ij,jk", (2, 3), (3, 4)),
            ("ba", (2, 3)),
            ("...ij,...jk->...ik", (2, 1, 2, 3), (4, 3, 2)),
            ("...i,i", (2, 4, 3), (3,)),
            ("i...,j...->...ij", (2, 3), (4, 3)),
            ("ii", (3, 3)),
            ("ii->i", (3, 3)),
            ("iji->j", (3, 2, 3)),
            ("ij->i", (2, 3)),
            ("ij,k->k", (2, 3), (4,)),
            ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
            ("bij,bjk,b->bk", (2, 2, 3), (2, 3, 2), (2,)),
            (",i->i", (), (3,)),
        ]
    ],
    "conv2d": [
        (
            lambda x, w, b=None, o=options: ops.conv2d(x, w, b, **o),
            lambda x, w, b=None, o=options: F.conv2d(x, w, b, **o),
            *(normal(*shape) for shape in shapes),
        )
        for options, *shapes in [
            ({}, (2, 3, 5, 4), (4, 3, 3, 2), (4,)),
            ({"stride": 2, "padding": 1}, (2, 2, 5, 6), (3, 2, 3, 3), (3,)),
            ({"stride": (1, 2), "padding": (0, 2)}, (2, 2, 5, 6), (3, 2, 2, 3)),
            ({"dilation": 2}, (2, 1, 6, 6), (2, 1, 3, 2)),
            ({"dilation": (1, 3), "stride": 2, "padding": 1}, (1, 2, 6, 8), (2, 2, 3, 2)),
            ({"groups": 2}, (2, 4, 4, 3), (6, 2, 2, 2), (6,)),
            ({"groups": 4, "padding": 1, "stride": 3, "dilation": 2}, (2, 4, 8, 7), (8, 1, 3, 2), (8,)),
            ({}, (2, 3, 2, 2), (4, 3, 1, 1)),
        ]
    ],
    "max_pool2d": [
        (lambda x, o=o: ops.max_pool2d(x, *o), lambda x, o=o: F.max_pool2d(x, *o), x)
        for o in [(2,), (3, 1, 1), ((2, 3), (1, 2), (1, 0)), (1, 2)]
        for x in [
            normal(2, 2, 4, 6),
            np.round(normal(2, 2, 4, 6)),
            np.zeros((1, 1, 4, 6)),
            np.where(normal(2, 2, 4, 6) > 0, -1.0, -2.0),
        ]
    ],
    "avg_pool2d": [
        (lambda x, o=o: ops.avg_pool2d(x, *o), lambda x, o=o: F.avg_pool2d(x, *o), normal(2, 2, 4, 6))
        for o in [(2,), (3, 1, 1), ((2, 3), (1, 2), (1, 0)), (1, 2)]
    ],
    "batch_norm": [
        (
            *normed(training, **options),
            *(fit(*shape) for fit, shape in zip((normal, positive, normal), shapes, strict=False)),
        )
        for training in (True, False)
        for options in ({}, {"momentum": 0.4, "eps": 0.1}, {"running": False})
        for shapes in [((5, 3), (3,), (3,)), ((2, 3, 4), (3,), (3,)), ((2, 3, 2, 3), (3,), (3,)), ((5, 3),)]
    ],
    "layer_norm": [
        (
            lambda x, *p, s=shape, e=eps: ops.layer_norm(x, s, *p, eps=e),
            lambda x, *p, s=shape, e=eps: F.layer_norm(x, s, *p, eps=e),
            normal(2, 4, 3),
            *parameters,
        )
        for shape in ((3,), (4, 3), (2, 4, 3))
        for eps in (1e-5, 0.1)
        for parameters in [(), (normal(*shape),), (normal(*shape), normal(*shape))]
    ],
    "mse_loss": reductions(ops.mse_loss, F.mse_loss, normal(2, 3), normal(2, 3)),
    "l1_loss": [
        *reductions(ops.l1_loss, F.l1_loss, normal(2, 3), normal(2, 3)),
        *reductions(ops.l1_loss, F.l1_loss, KINKS, TIED),
    ],
    "huber_loss": [
        *reductions(ops.huber_loss, F.huber_loss, normal(2, 3), normal(2, 3)),
        *reductions(ops.huber_loss, F.huber_loss, KINKS, TIED),
        *reductions(ops.huber_loss, F.huber_loss, KINKS, TIED, delta=0.5),
        *reductions(ops.huber_loss, F.huber_loss, LARGE, KINKS, delta=2.0),
    ],
    "binary_cross_entropy_with_logits": [
        (
            lambda x, t, r=r, w=w, p=p: ops.binary_cross_entropy_with_logits(
                x, t, None if w is None else like(x, w), r, None if p is None else like(x, p)
            ),
            lambda x, t, r=r, w=w, p=p: F.binary_cross_entropy_with_logits(
                x, t, None if w is None else like(x, w), reduction=r, pos_weight=None if p is None else like(x, p)
            ),
            x,
            t,
        )
        for x, t in [
            (normal(3, 3), within(0, 1, 3, 3)),
            (LARGE, np.eye(3)),
            (KINKS, np.eye(3)[::-1].copy()),
        ]
        for r in ("mean", "sum", "none")
        for w, p in [(None, None), (WEIGHT, None), (None, WEIGHT), (WEIGHT[:, None], WEIGHT)]
    ],
    "nll_loss": classes(ops.nll_loss, F.nll_loss, normal(3, 3)),
    "cross_entropy": [
        *classes(ops.cross_entropy, F.cross_entropy, normal(3, 3), (0.1, 1.0)),
        *classes(ops.cross_entropy, F.cross_entropy, LARGE, (0.1,)),
        # The labels' own logits are finite here, so that the losses are.
        *classes(ops.cross_entropy, F.cross_entropy, np.where(np.eye(3)[[1, 0, 1]] == 1, -inf, normal(3, 3))),
    ],
}
EACH = [
    pytest.param(*case[:2], case[2:], id=f"{name}-{i}") for name, cases in TORCH.items() for i, case in enumerate(cases)
]


def test_every_operation_is_held_against_torch_or_named_as_one_it_does_not_have() -> None:
    assert sorted([*TORCH, *NOT_IN_TORCH]) == sorted(ops.__all__)


@pytest.mark.parametrize(("ours", "theirs", "inputs"), EACH)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities are asked for
def test_value_and_gradients_are_torchs(ours: Any, theirs: Any, inputs: tuple[np.ndarray, ...]) -> None:
    for dtype, rtol, atol in ((np.float64, 1e-10, 1e-12), (np.float32, 1e-3, 2e-5)):
        arrays = [x.astype(dtype) for x in inputs]
        mine = [Tensor(x, requires_grad=True) for x in arrays]
        other = [torch.tensor(x, requires_grad=True) for x in arrays]
        found, expected = ours(*mine), theirs(*other)
        assert found.shape == tuple(expected.shape)
        np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol, atol, err_msg=dtype.__name__)
        weights = np.random.default_rng(1).uniform(0.5, 2, found.shape).astype(dtype)
        found.backward(weights)
        expected.backward(torch.as_tensor(weights))
        for i, (m, t) in enumerate(zip(mine, other, strict=True)):
            np.testing.assert_allclose(m.grad, t.grad.numpy(), rtol, atol, err_msg=f"gradient {i}, {dtype.__name__}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax"])
def test_a_fully_masked_row_has_torchs_value_and_spoils_no_other_row(name: str) -> None:
    x = Tensor(FULLY_MASKED, requires_grad=True)
    t = torch.tensor(FULLY_MASKED, requires_grad=True)
    y, expected = getattr(ops, name)(x, -1), getattr(torch, name)(t, -1)
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-12)
    weights = 0.5 + np.arange(y.size, dtype=float).reshape(y.shape)
    y.backward(weights)
    expected.backward(torch.as_tensor(weights))
    np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=1e-12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["logsumexp", "norm", "sum", "max", "relu", "softplus"])
def test_an_infinite_input_has_torchs_value(name: str) -> None:
    x = np.array([[inf, 1.0, 2.0], [inf, -inf, 1e4], [0.0, -1.0, 3.0]])
    theirs = {"norm": torch.linalg.vector_norm, "max": torch.amax, "relu": F.relu, "softplus": F.softplus}
    ours, theirs = getattr(ops, name), theirs.get(name) or getattr(torch, name)
    dim = {"norm": {"dim": -1}, "relu": {}, "softplus": {}}.get(name, {"dim": -1})
    axis = {"axis": -1} if dim else {}
    np.testing.assert_allclose(ours(x, **axis), theirs(torch.as_tensor(x), **dim).numpy(), rtol=1e-12)
