"""The table of cases: at least one for each operation. Several suites go through it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import Tensor, ops

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.3, 2, shape)


def nonzero(*shape: int) -> np.ndarray:
    """Away from 0, where relu has a kink and division none."""
    return positive(*shape) * RNG.choice([-1.0, 1.0], shape)


def within(low: float, high: float, *shape: int) -> np.ndarray:
    return RNG.uniform(low, high, shape)


def spaced(*shape: int) -> np.ndarray:
    """No two within 0.1 of each other, so that a step moves no maximum."""
    n = int(np.prod(shape))
    return (RNG.permutation(n) * 0.2 - n / 10 + 0.05).reshape(shape)


def weighed(fn: Any) -> Any:
    """`fn` times fixed weights: of the bare sum of a softmax, every gradient would be 0."""

    def call(*args: Any) -> Any:
        y = fn(*args)
        return y * np.random.default_rng(1).uniform(0.5, 2, y.shape).astype(y.dtype)

    return call


def run(fn: Any, arrays: list[Any]) -> tuple[Tensor, list[Tensor]]:
    """The weighed value, and the tensors made of `arrays`, each with its gradient."""
    tensors = [Tensor(a, requires_grad=True) if isinstance(a, np.ndarray) else a for a in arrays]
    out = weighed(fn)(*tensors)
    out.sum().backward()
    return out, [t for t in tensors if isinstance(t, Tensor)]


def as_one(parts: list[Any]) -> Any:
    """What several results hold, as one vector, so that all of their gradients are asked for."""
    return ops.concatenate([ops.reshape(p, -1) for p in parts])


def unary(name: str, make: Any = normal, *shapes: tuple[int, ...]) -> list[tuple[Any, ...]]:
    return [(getattr(ops, name), make(*shape)) for shape in shapes or ((2, 3), (4,), (2, 1, 3))]


def along_axes(name: str, make: Any = normal, *, tuples: bool = True, **options: Any) -> list[tuple[Any, ...]]:
    """Without an axis, with one from either end, with several, and with the axes kept."""
    axes: list[tuple[Any, bool]] = [(None, False), (0, False), (-1, True), (1, False)]
    if tuples:
        axes += [((0, -1), True), ((-1, 1), False), ((0, 1, 2), False)]

    def case(axis: Any, keepdims: bool) -> Any:
        return lambda a: getattr(ops, name)(a, axis=axis, keepdims=keepdims, **options)

    return [(case(axis, keepdims), make(2, 3, 2)) for axis, keepdims in axes]


def batch_norm(training: bool, **options: Any) -> Any:
    """With running values of its own at each call, since training moves them."""

    def call(x: Any, *parameters: Any) -> Any:
        mean, var = np.array([0.1, -0.2, 0.3]), np.array([0.5, 1.5, 2.5])
        return ops.batch_norm(x, mean.astype(x.dtype), var.astype(x.dtype), *parameters, training=training, **options)

    return call


LABELS = np.array([0, 2, 2, 1])
CLASS_WEIGHT = np.array([0.5, 2.0, 1.25])
MASK = np.array([[True, False, True], [False, False, True]])
BITS = np.array([[0, 1, 1], [1, 0, 1]])

# For each operation: (function, *inputs). Floating inputs are differentiated.
CASES: dict[str, list[tuple[Any, ...]]] = {
    "add": [
        (ops.add, normal(2, 3), normal(2, 3)),
        (ops.add, normal(2, 3, 1), normal(4)),
        (ops.add, normal(1, 1), normal(2, 3)),
        (ops.add, normal(3), 2.0),
        (lambda a: a + a, normal(3)),
    ],
    "subtract": [(ops.subtract, normal(2, 3), normal(3)), (lambda a: 1 - a, normal(3))],
    "multiply": [
        (ops.multiply, normal(2, 3), normal(2, 1)),
        (ops.multiply, normal(3, 1, 2), normal(4, 1)),
        (lambda a: a * a, normal(3)),
    ],
    "divide": [
        (ops.divide, normal(2, 3), nonzero(3)),
        (ops.divide, normal(3), nonzero(2, 1)),
        (lambda a: 2 / a, nonzero(3)),
        (lambda a: a / a, nonzero(3)),
    ],
    "power": [
        (ops.power, positive(2, 3), normal(3)),
        (ops.power, positive(3), normal(2, 1)),
        (lambda a: a**3, nonzero(4)),
        (lambda a: a**-2, nonzero(4)),
        (lambda a: a**0, nonzero(4)),
        (lambda a: a**0.5, positive(4)),
        (lambda a: 2**a, normal(4)),
    ],
    "negative": unary("negative"),
    "reciprocal": unary("reciprocal", nonzero),
    "square": unary("square"),
    "sqrt": unary("sqrt", positive),
    "rsqrt": unary("rsqrt", positive),
    "exp": unary("exp"),
    "expm1": unary("expm1"),
    "log": unary("log", positive),
    "log1p": unary("log1p", positive),
    "log2": unary("log2", positive),
    "log10": unary("log10", positive),
    "abs": unary("abs", nonzero),
    "sign": unary("sign", nonzero),
    "sin": unary("sin"),
    "cos": unary("cos"),
    "tan": unary("tan", lambda *shape: within(-1.2, 1.2, *shape)),
    "sinh": unary("sinh"),
    "cosh": unary("cosh"),
    "tanh": unary("tanh"),
    "arcsin": unary("arcsin", lambda *shape: within(-0.9, 0.9, *shape)),
    "arctan": unary("arctan"),
    "erf": unary("erf"),
    "maximum": [
        (ops.maximum, spaced(2, 3), spaced(2, 3) + 0.1),
        (ops.maximum, spaced(2, 3, 1), spaced(4) + 0.1),
        (ops.maximum, spaced(4), 0.0),
        (lambda a: ops.maximum(0.0, a), spaced(4)),
    ],
    "minimum": [
        (ops.minimum, spaced(2, 3), spaced(2, 3) + 0.1),
        (ops.minimum, spaced(2, 3, 1), spaced(4) + 0.1),
        (ops.minimum, spaced(4), 0.0),
    ],
    "clip": [
        (lambda a: ops.clip(a, -0.5, 0.5), spaced(3, 4)),
        (lambda a: ops.clip(a, min=0.0), spaced(5)),
        (lambda a: ops.clip(a, max=0.0), spaced(5)),
        (lambda a: ops.clip(a), spaced(5)),
        (lambda a: ops.clip(a, np.array([-0.4, 0.0, 0.1]), 0.6), spaced(2, 3)),
        (lambda a: ops.clip(a, np.array([[-0.4], [0.1]]), None), spaced(3)),
    ],
    "where": [
        (lambda a, b: ops.where(MASK, a, b), normal(2, 3), normal(2, 3)),
        (lambda a, b: ops.where(MASK, a, b), normal(2, 1), normal(3)),
        (lambda a, b: ops.where(MASK[0], a, b), normal(2, 3), normal(2, 1)),
        (lambda a: ops.where(MASK, a, 0.0), normal(2, 3)),
        (lambda a: ops.where(MASK, -1.0, a), normal(3)),
    ],
    "sigmoid": unary("sigmoid"),
    "relu": unary("relu", nonzero),
    "silu": unary("silu"),
    "softplus": [*unary("softplus"), (lambda a: ops.softplus(a, beta=2.5), normal(2, 3))],
    "leaky_relu": [*unary("leaky_relu", nonzero), (lambda a: ops.leaky_relu(a, 0.3), nonzero(2, 3))],
    "elu": [*unary("elu", nonzero), (lambda a: ops.elu(a, alpha=0.4), nonzero(2, 3))],
    "gelu": [
        *unary("gelu"),
        (lambda a: ops.gelu(a, "tanh"), normal(2, 3)),
        (lambda a: ops.gelu(a, approximate="tanh"), normal(2, 1, 3)),
        (lambda a: ops.gelu(a, approximate="none"), normal(4)),
    ],
    "dropout": [
        (lambda a: ops.dropout(a, 0.4, rng=np.random.default_rng(3)), normal(4, 5)),
        (lambda a: ops.dropout(a, 0.4, training=False), normal(4, 5)),
        (lambda a: ops.dropout(a, 0.0), normal(4, 5)),
    ],
    "sum": [*along_axes("sum"), (ops.sum, normal(2, 3)), (lambda a: ops.sum(a, ()), normal(2, 3))],
    "mean": [*along_axes("mean"), (ops.mean, normal(2, 3))],
    "var": [*along_axes("var"), *along_axes("var", ddof=1), (lambda a: ops.var(a, 0, 0.5), normal(4, 2))],
    "std": [*along_axes("std"), *along_axes("std", ddof=1), (lambda a: ops.std(a, 0, 0.5), normal(4, 2))],
    "prod": [
        *along_axes("prod", nonzero),
        (lambda a: ops.prod(a, 1), np.array([[0.0, 2.0, -3.0], [0.0, 0.0, 4.0], [1.5, -2.0, 0.5]])),
        (ops.prod, np.array([0.5, 0.0, -2.0])),
    ],
    "max": along_axes("max", spaced),
    "min": along_axes("min", spaced),
    "norm": [
        *along_axes("norm"),
        *along_axes("norm", nonzero, ord=1),
        *along_axes("norm", nonzero, ord=3.5),
        *along_axes("norm", spaced, ord=np.inf),
        (lambda a: ops.norm(a, 0.5), nonzero(4)),
    ],
    "logsumexp": [*along_axes("logsumexp"), (ops.logsumexp, normal(2, 3))],
    "softmax": [
        (ops.softmax, normal(2, 3)),
        (lambda a: ops.softmax(a, 0), normal(2, 3)),
        (lambda a: ops.softmax(a, -2), normal(2, 3, 2)),
    ],
    "log_softmax": [
        (ops.log_softmax, normal(2, 3)),
        (lambda a: ops.log_softmax(a, 0), normal(2, 3)),
        (lambda a: ops.log_softmax(a, -2), normal(2, 3, 2)),
    ],
    "cumsum": [
        (ops.cumsum, normal(2, 3)),
        (lambda a: ops.cumsum(a, 0), normal(2, 3)),
        (lambda a: ops.cumsum(a, -2), normal(2, 3, 2)),
    ],
    "broadcast_to": [
        (lambda a: ops.broadcast_to(a, (4, 2, 3)), normal(2, 1)),
        (lambda a: ops.broadcast_to(a, (2, 3)), normal(2, 3)),
        (lambda a: ops.broadcast_to(a, 3), normal(1)),
    ],
    "concatenate": [
        (lambda a, b: ops.concatenate([a, b]), normal(2, 3), normal(1, 3)),
        (lambda a, b: ops.concatenate((b, a, b), -1), normal(2, 3), normal(2, 1)),
        (lambda a, b: ops.concatenate([a, b], 1), normal(2, 3, 2), normal(2, 1, 2)),
        (lambda a: ops.concatenate([a]), normal(3)),
        (lambda a: ops.concatenate([a, [1.0, 2.0]]), normal(3)),
    ],
    "embedding": [
        (lambda w: ops.embedding(np.array([0, 2, 0, 0]), w), normal(3, 2)),
        (lambda w: ops.embedding(np.array([[1, 1], [2, 1]]), w), normal(3, 2)),
        (lambda w: ops.embedding(np.array(1), w), normal(3, 2)),
        (lambda w: ops.embedding([2, 1], w), normal(3, 2)),
    ],
    "expand_dims": [
        (lambda a: ops.expand_dims(a, 0), normal(2, 3)),
        (lambda a: ops.expand_dims(a, -1), normal(2, 3)),
        (lambda a: ops.expand_dims(a, (0, -2)), normal(2, 3)),
    ],
    "flatten": [
        (ops.flatten, normal(2, 3, 2)),
        (lambda a: ops.flatten(a, 1), normal(2, 3, 2)),
        (lambda a: ops.flatten(a, -3, -2), normal(2, 3, 2)),
        (lambda a: ops.flatten(a, start_dim=1, end_dim=1), normal(2, 3, 2)),
    ],
    "flip": [
        (ops.flip, normal(2, 3)),
        (lambda a: ops.flip(a, 0), normal(2, 3)),
        (lambda a: ops.flip(a, (0, -1)), normal(2, 3, 2)),
    ],
    "getitem": [
        (lambda a: a[1], normal(3, 2)),
        (lambda a: a[-1, 0], normal(3, 2)),
        (lambda a: a[..., ::-2, None], normal(3, 4)),
        (lambda a: a[np.array([0, 2, 0, 0])], normal(3, 2)),
        (lambda a: a[[0, 0], [1, 1]], normal(3, 2)),
        (lambda a: a[(1, 1), :], normal(3, 2)),
        (lambda a: a[:, None, [0, 1, 0]], normal(3, 2)),
        (lambda a: a[np.array([True, False, True])], normal(3, 2)),
        (lambda a: a[MASK], normal(2, 3)),
    ],
    "pad": [
        (lambda a: ops.pad(a, 1), normal(2, 3)),
        (lambda a: ops.pad(a, (1, 2), 4.0), normal(2, 3)),
        (lambda a: ops.pad(a, ((0, 2), (1, 0))), normal(2, 3)),
        (lambda a: ops.pad(a, ((1,), (2,)), constant_values=-1.0), normal(2, 3)),
        (lambda a: ops.pad(a, 0), normal(2, 3)),
    ],
    "reshape": [
        (lambda a: ops.reshape(a, (3, -1)), normal(2, 6)),
        (lambda a: ops.reshape(a, -1), normal(2, 3)),
        (lambda a: ops.reshape(a, (1, 2, 1, 3)), normal(2, 3)),
    ],
    "roll": [
        (lambda a: ops.roll(a, 2), normal(2, 3)),
        (lambda a: ops.roll(a, -1, 1), normal(2, 3)),
        (lambda a: ops.roll(a, (1, -2), (0, -1)), normal(2, 3)),
        (lambda a: ops.roll(a, 7, 0), normal(3)),
    ],
    "split": [
        (lambda a: as_one(ops.split(a, 3)), normal(6, 2)),
        (lambda a: as_one(ops.split(a, 2, -1)), normal(3, 4)),
        (lambda a: as_one(ops.split(a, [1, 4])[::-1]), normal(6, 2)),
        (lambda a: ops.split(a, [1, 4], axis=1)[1], normal(2, 6)),
    ],
    "squeeze": [
        (ops.squeeze, normal(2, 1, 3, 1)),
        (lambda a: ops.squeeze(a, 1), normal(2, 1, 3, 1)),
        (lambda a: ops.squeeze(a, (-1, 1)), normal(2, 1, 3, 1)),
    ],
    "stack": [
        (lambda a, b: ops.stack([a, b]), normal(2, 3), normal(2, 3)),
        (lambda a, b: ops.stack((a, b, a), -1), normal(2, 3), normal(2, 3)),
        (lambda a, b: ops.stack([a, b], axis=1), normal(2, 3), normal(2, 3)),
    ],
    "swapaxes": [
        (lambda a: ops.swapaxes(a, 0, -1), normal(2, 3, 4)),
        (lambda a: ops.swapaxes(a, 1, 0), normal(2, 3, 4)),
    ],
    "take": [
        (lambda a: ops.take(a, [5, 0, 5]), normal(2, 3)),
        (lambda a: ops.take(a, np.array([[0, 1], [1, 1]]), axis=0), normal(2, 3)),
        (lambda a: ops.take(a, [2, -1], axis=-1), normal(2, 3)),
        (lambda a: ops.take(a, 1, axis=1), normal(2, 3)),
    ],
    "tile": [
        (lambda a: ops.tile(a, 3), normal(2, 3)),
        (lambda a: ops.tile(a, (2, 1, 3)), normal(2, 3)),
        (lambda a: ops.tile(a, (2,)), normal(2, 3)),
        (lambda a: ops.tile(a, (1, 2)), normal(3)),
    ],
    "transpose": [
        (ops.transpose, normal(2, 3)),
        (ops.transpose, normal(2, 3, 4)),
        (lambda a: ops.transpose(a, (1, -1, 0)), normal(2, 3, 4)),
        (lambda a: ops.transpose(a, (2, 0, 1)), normal(2, 3, 4)),
    ],
    "tril": [
        (ops.tril, normal(3, 4)),
        (lambda a: ops.tril(a, 1), normal(3, 4)),
        (lambda a: ops.tril(a, k=-1), normal(2, 3, 3)),
    ],
    "triu": [
        (ops.triu, normal(3, 4)),
        (lambda a: ops.triu(a, 1), normal(3, 4)),
        (lambda a: ops.triu(a, k=-1), normal(2, 3, 3)),
    ],
    "matmul": [
        (ops.matmul, normal(2, 3), normal(3, 4)),
        (ops.matmul, normal(3), normal(3)),
        (ops.matmul, normal(2, 3), normal(3)),
        (ops.matmul, normal(3), normal(3, 4)),
        (ops.matmul, normal(3), normal(2, 3, 4)),
        (ops.matmul, normal(2, 2, 3), normal(3)),
        (ops.matmul, normal(5, 1, 2, 3), normal(2, 3, 4)),
        (lambda a: a @ a, normal(3, 3)),
    ],
    "outer": [(ops.outer, normal(2), normal(3)), (ops.outer, normal(2, 2), normal(3, 1))],
    "linear": [
        (ops.linear, normal(5, 3), normal(4, 3), normal(4)),
        (ops.linear, normal(5, 3), normal(4, 3)),
        (ops.linear, normal(3), normal(4, 3), normal(4)),
        (ops.linear, normal(2, 5, 3), normal(4, 3), normal(4)),
        (ops.linear, normal(2, 1, 2, 3), normal(1, 3), normal(1)),
    ],
    "einsum": [
        (lambda a, b: ops.einsum("ij,jk->ik", a, b), normal(2, 3), normal(3, 4)),
        (lambda a, b: ops.einsum("ij,jk", a, b), normal(2, 3), normal(3, 4)),
        (lambda a, b: ops.einsum("ij , kj -> ki", a, b), normal(2, 3), normal(4, 3)),
        (lambda a, b: ops.einsum("...ij,...jk->...ik", a, b), normal(2, 1, 2, 3), normal(4, 3, 2)),
        (lambda a, b: ops.einsum("...i,i", a, b), normal(2, 4, 3), normal(3)),
        (lambda a, b: ops.einsum("i...,j...->...ij", a, b), normal(2, 3), normal(4, 3)),
        (lambda a: ops.einsum("ii", a), normal(3, 3)),
        (lambda a: ops.einsum("ii->i", a), normal(3, 3)),
        (lambda a: ops.einsum("iji->j", a), normal(3, 2, 3)),
        (lambda a: ops.einsum("...ii->...i", a), normal(2, 3, 3)),
        (lambda a, b: ops.einsum("ii,ij->j", a, b), normal(3, 3), normal(3, 2)),
        (lambda a: ops.einsum("ij->i", a), normal(2, 3)),
        (lambda a: ops.einsum("ij->", a), normal(2, 3)),
        (lambda a: ops.einsum("ba", a), normal(2, 3)),
        (lambda a, b: ops.einsum("ij,k->k", a, b), normal(2, 3), normal(4)),
        (lambda a, b, c: ops.einsum("ij,jk,kl->il", a, b, c), normal(2, 3), normal(3, 2), normal(2, 4)),
        (lambda a: ops.einsum("i,i->i", a, a), normal(3)),
        (lambda a, b: ops.einsum("ij,ij->i", a, b), normal(2, 3), normal(2, 1)),
        (lambda a, b: ops.einsum("i,i->", a, b), normal(1), normal(3)),
    ],
    "conv2d": [
        (ops.conv2d, normal(2, 3, 5, 4), normal(4, 3, 3, 2), normal(4)),
        (ops.conv2d, normal(2, 3, 5, 4), normal(4, 3, 3, 2)),
        (lambda x, w, b: ops.conv2d(x, w, b, stride=2, padding=1), normal(1, 2, 5, 6), normal(2, 2, 3, 3), normal(2)),
        (lambda x, w: ops.conv2d(x, w, stride=(1, 2), padding=(0, 2)), normal(1, 2, 5, 6), normal(2, 2, 2, 3)),
        (lambda x, w: ops.conv2d(x, w, dilation=2), normal(1, 1, 6, 6), normal(2, 1, 3, 2)),
        (lambda x, w: ops.conv2d(x, w, dilation=(1, 3), stride=2), normal(1, 1, 6, 8), normal(1, 1, 3, 2)),
        (lambda x, w, b: ops.conv2d(x, w, b, groups=2), normal(2, 4, 4, 3), normal(6, 2, 2, 2), normal(6)),
        (lambda x, w: ops.conv2d(x, w, padding=1, groups=3), normal(1, 3, 3, 3), normal(3, 1, 3, 3)),
        (ops.conv2d, normal(2, 3, 2, 2), normal(4, 3, 1, 1)),
    ],
    "max_pool2d": [
        (lambda x: ops.max_pool2d(x, 2), spaced(2, 2, 4, 5)),
        (lambda x: ops.max_pool2d(x, 3, stride=1, padding=1), spaced(1, 2, 4, 4)),
        (lambda x: ops.max_pool2d(x, (2, 3), (1, 2), (1, 0)), spaced(1, 2, 4, 6)),
        (lambda x: ops.max_pool2d(x, 1, 2), spaced(1, 1, 4, 4)),
    ],
    "avg_pool2d": [
        (lambda x: ops.avg_pool2d(x, 2), normal(2, 2, 4, 5)),
        (lambda x: ops.avg_pool2d(x, 3, stride=1, padding=1), normal(1, 2, 4, 4)),
        (lambda x: ops.avg_pool2d(x, (2, 3), (1, 2), (1, 0)), normal(1, 2, 4, 6)),
        (lambda x: ops.avg_pool2d(x, 1, 2), normal(1, 1, 4, 4)),
    ],
    "batch_norm": [
        (batch_norm(True), normal(5, 3), positive(3), normal(3)),
        (batch_norm(False), normal(5, 3), positive(3), normal(3)),
        (batch_norm(True, eps=0.1), normal(2, 3, 2, 3), positive(3), normal(3)),
        (batch_norm(False, eps=0.1), normal(2, 3, 4), positive(3), normal(3)),
        (batch_norm(True), normal(5, 3)),
        (batch_norm(False), normal(5, 3)),
        (batch_norm(True), normal(5, 3), positive(3)),
        (lambda x, b: ops.batch_norm(x, None, None, bias=b), normal(5, 3), normal(3)),
        (lambda x, w, b: ops.batch_norm(x, None, None, w, b, True), normal(2, 3, 4), normal(3), normal(3)),
    ],
    "layer_norm": [
        (lambda x, w, b: ops.layer_norm(x, 3, w, b), normal(4, 3), normal(3), normal(3)),
        (lambda x, w, b: ops.layer_norm(x, (2, 3), w, b), normal(4, 2, 3), normal(2, 3), normal(2, 3)),
        (lambda x, w, b: ops.layer_norm(x, [2, 3], w, b, 0.1), normal(2, 3), normal(2, 3), normal(2, 3)),
        (lambda x: ops.layer_norm(x, 3), normal(2, 4, 3)),
        (lambda x, w: ops.layer_norm(x, 3, weight=w), normal(2, 3), normal(3)),
        (lambda x, b: ops.layer_norm(x, 3, bias=b), normal(2, 3), normal(3)),
    ],
    "mse_loss": [
        (ops.mse_loss, normal(2, 3), normal(2, 3)),
        (lambda x, t: ops.mse_loss(x, t, "sum"), normal(4), normal(4)),
        (lambda x, t: ops.mse_loss(x, t, reduction="none"), normal(2, 3), normal(2, 3)),
    ],
    "l1_loss": [
        (ops.l1_loss, spaced(2, 3), spaced(2, 3) + 0.1),
        (lambda x, t: ops.l1_loss(x, t, "sum"), spaced(4), spaced(4) + 0.1),
        (lambda x, t: ops.l1_loss(x, t, reduction="none"), spaced(2, 3), spaced(2, 3) + 0.1),
    ],
    "huber_loss": [
        (ops.huber_loss, spaced(3, 4), spaced(3, 4) + 0.1),
        (lambda x, t: ops.huber_loss(x, t, "sum", 0.4), spaced(4), spaced(4) + 0.1),
        (lambda x, t: ops.huber_loss(x, t, reduction="none", delta=0.4), spaced(2, 3), spaced(2, 3) + 0.1),
    ],
    "binary_cross_entropy_with_logits": [
        (ops.binary_cross_entropy_with_logits, normal(2, 3), positive(2, 3) / 2),
        (lambda x: ops.binary_cross_entropy_with_logits(x, BITS), normal(2, 3)),
        (lambda x: ops.binary_cross_entropy_with_logits(x, BITS, reduction="sum"), normal(2, 3)),
        (
            lambda x, t: ops.binary_cross_entropy_with_logits(
                x, t, weight=np.array([[0.5], [2.0]]), reduction="none", pos_weight=CLASS_WEIGHT
            ),
            normal(2, 3),
            positive(2, 3) / 2,
        ),
        (
            lambda x, t: ops.binary_cross_entropy_with_logits(x, t, CLASS_WEIGHT, "mean", CLASS_WEIGHT),
            normal(2, 3),
            positive(2, 3) / 2,
        ),
    ],
    "nll_loss": [
        (lambda x: ops.nll_loss(x, LABELS), normal(4, 3)),
        (lambda x: ops.nll_loss(x, LABELS.tolist(), reduction="sum"), normal(4, 3)),
        (lambda x: ops.nll_loss(x, LABELS, CLASS_WEIGHT), normal(4, 3)),
        (lambda x: ops.nll_loss(x, LABELS, weight=CLASS_WEIGHT, reduction="none"), normal(4, 3)),
    ],
    "cross_entropy": [
        (lambda x: ops.cross_entropy(x, LABELS), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS.astype(np.uint8)), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, reduction="sum"), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, reduction="none"), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, CLASS_WEIGHT), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, label_smoothing=0.1), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, CLASS_WEIGHT, "none", 0.3), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, CLASS_WEIGHT, "sum", 0.3), normal(4, 3)),
        (lambda x: ops.cross_entropy(x, LABELS, CLASS_WEIGHT, label_smoothing=1.0), normal(4, 3)),
    ],
}
