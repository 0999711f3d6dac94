"""python -m benchmarks.accuracy: the relative errors of minigrad's operations in float32.

Values and gradients in float32 are compared with float64. The inputs are
float32 numbers, which both dtypes represent exactly. Elementwise operations
get numbers of every exponent, from the smallest subnormal number to the
largest number, and are compared with formulas that are written for accuracy,
not with the operation itself. Operations along axes get vectors of very small,
ordinary and very large numbers, and are compared with the same operation in
float64.

The unit is eps = 2^-23, the distance from 1 to the next float32 number: a
correctly rounded result has an error of 0.5. Writes
`benchmarks/results/accuracy.json`, from which `benchmarks.tables` makes the
table in docs/operations.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from minigrad import Tensor, ops
from minigrad.runs import write_json

OUT = Path(__file__).parents[1] / "benchmarks" / "results" / "accuracy.json"
EPS, TINY, LARGEST = 2.0**-23, 2.0**-126, float(np.finfo(np.float32).max)
POINTS = 40_000

Function = Callable[..., Any]


class Elementwise(NamedTuple):
    """An operation, its value and its derivatives, computed in float64, and the numbers at which they are compared."""

    operation: Function
    value: Function
    derivatives: tuple[Function, ...]
    inputs: Function = lambda: (everywhere(),)
    # The numbers that are added to the derivative, where they can cancel: the error is relative to their magnitudes.
    terms: Function | None = None


def everywhere(low: int = -149, high: int = 127, seed: int = 0, signs: bool = True) -> np.ndarray:
    """Random float32 numbers with exponents from `low` to `high`; half of them in [-32, 32] if the range has that."""
    rng = np.random.default_rng(seed)
    exponents = rng.integers(low, high + 1, POINTS)
    exponents[::2] = rng.integers(max(low, -6), min(high, 4) + 1, POINTS // 2)
    sizes = np.ldexp(rng.uniform(1, 2, POINTS), exponents)
    return (sizes * rng.choice([-1.0, 1.0], POINTS) if signs else sizes).astype(np.float32)


def positive() -> tuple[np.ndarray]:
    return (everywhere(signs=False),)


def within_one() -> tuple[np.ndarray]:
    a = everywhere(high=-1)
    return (np.concatenate([a, np.sign(a) * (1 - np.abs(a))]).astype(np.float32),)


def pairs() -> tuple[np.ndarray, np.ndarray]:
    return everywhere(seed=1), everywhere(seed=2)


def powers() -> tuple[np.ndarray, np.ndarray]:
    # The derivative is computed by the power a^(b-1), which must be representable too.
    return everywhere(-60, 60, seed=1, signs=False), everywhere(-20, 7, seed=2)


def gaussian(a: Any) -> Any:
    return np.exp(-a * a / 2) / math.sqrt(2 * math.pi)


def steepness(a: Any) -> Any:
    """The inner function of gelu's approximation, doubled, and its derivative."""
    c = 2 * math.sqrt(2 / math.pi)
    return c * (a + 0.044715 * a**3), c * (1 + 0.134145 * a * a)


def bump(a: Any) -> Any:
    """The derivative of the logistic function."""
    return special.expit(a) * special.expit(-a)


ELEMENTWISE = {
    "add": Elementwise(ops.add, np.add, (lambda a, b: 0 * a + 1, lambda a, b: 0 * a + 1), pairs),
    "subtract": Elementwise(ops.subtract, np.subtract, (lambda a, b: 0 * a + 1, lambda a, b: 0 * a - 1), pairs),
    "multiply": Elementwise(ops.multiply, np.multiply, (lambda a, b: b, lambda a, b: a), pairs),
    "divide": Elementwise(ops.divide, np.divide, (lambda a, b: 1 / b, lambda a, b: -a / b / b), pairs),
    "power": Elementwise(ops.power, np.power, (lambda a, b: b * a ** (b - 1), lambda a, b: a**b * np.log(a)), powers),
    "reciprocal": Elementwise(ops.reciprocal, lambda a: 1 / a, (lambda a: -1 / a / a,)),
    "square": Elementwise(ops.square, np.square, (lambda a: 2 * a,)),
    "sqrt": Elementwise(ops.sqrt, np.sqrt, (lambda a: 0.5 / np.sqrt(a),), positive),
    "rsqrt": Elementwise(ops.rsqrt, lambda a: a**-0.5, (lambda a: -0.5 * a**-1.5,), positive),
    "exp": Elementwise(ops.exp, np.exp, (np.exp,)),
    "expm1": Elementwise(ops.expm1, np.expm1, (np.exp,)),
    "log": Elementwise(ops.log, np.log, (lambda a: 1 / a,), positive),
    "log1p": Elementwise(ops.log1p, np.log1p, (lambda a: 1 / (1 + a),), lambda: (everywhere(high=-1),)),
    "log2": Elementwise(ops.log2, np.log2, (lambda a: 1 / a / math.log(2),), positive),
    "log10": Elementwise(ops.log10, np.log10, (lambda a: 1 / a / math.log(10),), positive),
    "sin": Elementwise(ops.sin, np.sin, (np.cos,)),
    "cos": Elementwise(ops.cos, np.cos, (lambda a: -np.sin(a),)),
    "tan": Elementwise(ops.tan, np.tan, (lambda a: np.cos(a) ** -2.0,)),
    "sinh": Elementwise(ops.sinh, np.sinh, (np.cosh,)),
    "cosh": Elementwise(ops.cosh, np.cosh, (np.sinh,)),
    "tanh": Elementwise(ops.tanh, np.tanh, (lambda a: np.cosh(a) ** -2.0,)),
    "arcsin": Elementwise(ops.arcsin, np.arcsin, (lambda a: ((1 - a) * (1 + a)) ** -0.5,), within_one),
    "arctan": Elementwise(ops.arctan, np.arctan, (lambda a: 1 / (1 + a * a),)),
    "erf": Elementwise(ops.erf, special.erf, (lambda a: 2 / math.sqrt(math.pi) * np.exp(-a * a),)),
    "sigmoid": Elementwise(ops.sigmoid, special.expit, (bump,)),
    "softplus": Elementwise(ops.softplus, lambda a: np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a))), (special.expit,)),
    "silu": Elementwise(
        ops.silu,
        lambda a: a * special.expit(a),
        (lambda a: special.expit(a) + a * bump(a),),
        terms=lambda a: (special.expit(a), a * bump(a)),
    ),
    "elu": Elementwise(
        ops.elu, lambda a: np.where(a > 0, a, np.expm1(np.minimum(a, 0))), (lambda a: np.exp(np.minimum(a, 0)),)
    ),
    "gelu": Elementwise(
        ops.gelu,
        lambda a: a * special.ndtr(a),
        (lambda a: special.ndtr(a) + a * gaussian(a),),
        terms=lambda a: (special.ndtr(a), a * gaussian(a)),
    ),
    "gelu, tanh": Elementwise(
        lambda a: ops.gelu(a, "tanh"),
        lambda a: a * special.expit(steepness(a)[0]),
        (lambda a: special.expit(steepness(a)[0]) + a * bump(steepness(a)[0]) * steepness(a)[1],),
        terms=lambda a: (special.expit(steepness(a)[0]), a * bump(steepness(a)[0]) * steepness(a)[1]),
    ),
}


class Along(NamedTuple):
    """An operation along axes, the shapes of its inputs, and their sizes."""

    operation: Function
    shapes: tuple[tuple[int, ...], ...] = ((8, 1000),)
    scales: tuple[float, ...] = (1e-30, 1.0, 1e30)


LABELS = np.random.default_rng(3).integers(0, 10, 256)
LOGITS = Along(ops.softmax, ((256, 10),), (1e-30, 1.0, 10.0, 1e4))
ORDINARY = (1e-12, 1.0, 1e12)  # whose squares are representable

ALONG = {
    "sum": Along(lambda a: ops.sum(a, -1)),
    "mean": Along(lambda a: ops.mean(a, -1)),
    "var": Along(lambda a: ops.var(a, -1), scales=ORDINARY),
    "std": Along(lambda a: ops.std(a, -1)),
    "norm": Along(lambda a: ops.norm(a, 2, -1)),
    "prod": Along(lambda a: ops.prod(a, -1), ((200, 20),), (0.2, 1.0, 5.0)),
    "cumsum": Along(lambda a: ops.cumsum(a, -1)),
    "logsumexp": LOGITS._replace(operation=ops.logsumexp),
    "softmax": LOGITS,
    "log_softmax": LOGITS._replace(operation=ops.log_softmax),
    "cross_entropy": LOGITS._replace(operation=lambda a: ops.cross_entropy(a, LABELS)),
    "binary_cross_entropy_with_logits": Along(
        lambda a: ops.binary_cross_entropy_with_logits(a, np.arange(a.size).reshape(a.shape) % 2),
        ((256, 10),),
        LOGITS.scales,
    ),
    "mse_loss": Along(ops.mse_loss, ((64, 64), (64, 64)), ORDINARY),
    "l1_loss": Along(ops.l1_loss, ((64, 64), (64, 64))),
    "huber_loss": Along(ops.huber_loss, ((64, 64), (64, 64))),
    "layer_norm": Along(lambda a: ops.layer_norm(a, 1000), scales=(1e-3, 1.0, 1e12)),
    "batch_norm": Along(lambda a: ops.batch_norm(a, None, None), ((1000, 8),), (1e-3, 1.0, 1e12)),
    "linear": Along(ops.linear, ((128, 784), (64, 784), (64,)), (1e-12, 1.0, 1e12)),
    "matmul": Along(ops.matmul, ((64, 784), (784, 64)), (1e-12, 1.0, 1e12)),
    "conv2d": Along(ops.conv2d, ((4, 8, 12, 12), (16, 8, 5, 5)), (1e-12, 1.0, 1e12)),
    "avg_pool2d": Along(lambda a: ops.avg_pool2d(a, 3), ((4, 8, 12, 12),)),
}


def error(computed: np.ndarray, exact: np.ndarray, scale: np.ndarray | None = None) -> float:
    """The largest error in units of eps |scale|, by default the exact result; infinite if an overflow or a NaN differs.

    Subnormal results have an absolute error instead, in units of the smallest one.
    """
    fits = np.abs(exact) <= LARGEST * (1 - 4 * EPS)
    beyond = np.abs(exact) >= LARGEST * (1 + 4 * EPS)
    if np.any(np.isnan(computed) != np.isnan(exact)) or np.any(np.isfinite(computed[beyond])):
        return math.inf
    size = np.broadcast_to(np.maximum(np.abs(exact if scale is None else scale), TINY), exact.shape)
    return float(np.max(np.abs(computed.astype(float) - exact)[fits] / size[fits] / EPS, initial=0))


def gradients(operation: Function, arrays: list[np.ndarray], weights: np.ndarray | None = None) -> list[np.ndarray]:
    """The value and the gradients of an operation."""
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    y = operation(*tensors)
    y.backward(np.ones(y.shape, y.dtype) if weights is None else weights.astype(y.dtype))
    return [y.data, *(t.grad for t in tensors if t.grad is not None)]


def measure_elementwise(case: Elementwise) -> tuple[float, float]:
    """The errors of the value and of the derivatives, with gradients of all sizes."""
    arrays = list(case.inputs())
    wide = [a.astype(float) for a in arrays]
    exact = case.value(*wide)
    y, *_ = gradients(case.operation, arrays)
    errors = []
    rng = np.random.default_rng(9)
    for weights in (np.ones(len(y), np.float32), np.ldexp(rng.uniform(1, 2, len(y)), rng.integers(-60, 61, len(y)))):
        g = weights.astype(np.float32)
        _, *computed = gradients(case.operation, arrays, g)
        for derivative, gradient in zip(case.derivatives, computed, strict=True):
            d = derivative(*wide)
            # The documented condition: value and derivative are representable.
            kept = (np.abs(exact) <= LARGEST) & (np.abs(exact) >= TINY) & (np.abs(d) <= LARGEST) & (np.abs(d) >= TINY)
            terms = None if case.terms is None else sum(map(np.abs, case.terms(*wide))) * g
            errors.append(error(gradient[kept], (g * d)[kept], None if terms is None else terms[kept]))
    return error(y, exact), max(errors)


def measure_along(case: Along) -> tuple[float, float]:
    """The errors relative to the largest element of the value, and of each gradient."""
    rng = np.random.default_rng(5)
    value, gradient = 0.0, 0.0
    for scale in case.scales:
        arrays = [(rng.normal(size=shape) * scale).astype(np.float32) for shape in case.shapes]
        weights = rng.uniform(0.5, 2, np.shape(case.operation(*arrays))).astype(np.float32)
        computed = gradients(case.operation, arrays, weights)
        exact = gradients(case.operation, [a.astype(float) for a in arrays], weights)
        errors = [error(c, e, np.max(np.abs(e))) for c, e in zip(computed, exact, strict=True)]
        value, gradient = max(value, errors[0]), max(gradient, *errors[1:])
    return value, gradient


def measure(name: str) -> tuple[float, float]:
    """The errors of the value and of the gradient of an operation, in units of eps."""
    with np.errstate(all="ignore"):
        if name in ELEMENTWISE:
            return measure_elementwise(ELEMENTWISE[name])
        return measure_along(ALONG[name])


def rounded(x: float) -> float:
    """`x`, rounded up to two significant digits."""
    step = 10.0 ** (math.floor(math.log10(x)) - 1) if x else 1.0
    return round(math.ceil(x / step) * step, 12)


def main() -> None:
    """Measure all operations and write the results."""
    rows = []
    for name in [*ELEMENTWISE, *ALONG]:
        value, gradient = measure(name)
        print(f"{name:34} value {value:10.3g} eps   gradient {gradient:10.3g} eps")
        rows.append(
            {
                "operation": name,
                "elementwise": name in ELEMENTWISE,
                "value": rounded(value),
                "gradient": rounded(gradient),
            }
        )
    write_json(OUT, {"errors": rows})


if __name__ == "__main__":
    main()
