"""PyTorch's own sample inputs, with their extreme values, shapes and strides: values and gradients are torch's.

The samples are those of torch.testing's OpInfo database. It is not a public
interface, so that these tests are skipped if it can't be imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, ops

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Unsupported(Exception):
    """The sample uses an argument that minigrad's operation does not have."""


def same(name: str, *, arguments: int = 9, options: dict[str, str] | None = None) -> Callable[..., Any]:
    """minigrad's operation with torch's arguments; `options` renames them."""
    names = options or {}

    def call(*args: Any, **given: Any) -> Any:
        if len(args) > arguments or not given.keys() <= names.keys():
            raise Unsupported
        return getattr(ops, name)(*args, **{names[k]: v for k, v in given.items()})

    return call


def reduction(name: str, **more: str) -> Callable[..., Any]:
    return same(name, arguments=3, options={"dim": "axis", "keepdim": "keepdims", **more})


def deviation(name: str) -> Callable[..., Any]:
    def call(
        x: Any, *args: Any, dim: Any = None, unbiased: bool = True, correction: Any = 1, keepdim: bool = False
    ) -> Any:
        if args and isinstance(args[0], bool):
            unbiased, *args = args  # type: ignore[assignment]
        for value, field in zip(args, ("dim", "unbiased", "keepdim"), strict=False):
            dim, unbiased, keepdim = {
                "dim": (value, unbiased, keepdim),
                "unbiased": (dim, value, keepdim),
                "keepdim": (dim, unbiased, value),
            }[field]
        correction = 0 if not unbiased else 1 if correction is None else correction
        return getattr(ops, name)(x, None if dim == () else dim, correction, keepdim)

    return call


def loss(name: str, **more: str) -> Callable[..., Any]:
    return same(name, options={"reduction": "reduction", "weight": "weight", "pos_weight": "pos_weight", **more})


def softmax(name: str) -> Callable[..., Any]:
    def call(x: Any, dim: int = -1, dtype: Any = None, **_: Any) -> Any:
        if dtype is not None:
            raise Unsupported
        return getattr(ops, name)(x, dim)

    return call


def pooling(name: str) -> Callable[..., Any]:
    names = ("ceil_mode", "count_include_pad", "divisor_override", "return_indices", "dilation")
    defaults = (False, True, None, False, 1)

    def call(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *rest: Any, **options: Any) -> Any:
        options = dict(zip(names, rest, strict=False)) | options
        if x.ndim != 4 or any(options.get(k, v) != v for k, v in zip(names, defaults, strict=True)):
            raise Unsupported
        return getattr(ops, name)(x, kernel_size, stride or None, padding)

    return call


def clip(x: Any, *limits: Any, **options: Any) -> Any:
    if np.broadcast_shapes(x.shape, *(np.shape(v) for v in (*limits, *options.values()) if v is not None)) != x.shape:
        raise Unsupported  # torch has no derivative for it
    return ops.clip(x, *limits, **options)


def class_loss(name: str) -> Callable[..., Any]:
    def call(x: Any, target: Any, ignore_index: int = -100, **options: Any) -> Any:
        if (
            x.ndim != 2
            or target.dtype.kind != "i"
            or (target == ignore_index).any()
            or not set(options) <= {"weight", "reduction", "label_smoothing"}
        ):
            raise Unsupported
        return getattr(ops, name)(x, target, **options)

    return call


UNARY = {
    **{name: name for name in ("abs", "cos", "cosh", "erf", "exp", "expm1", "log", "log1p", "log2", "log10")},
    **{name: name for name in ("reciprocal", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "sigmoid")},
    "neg": "negative", "asin": "arcsin", "atan": "arctan", "nn.functional.relu": "relu", "nn.functional.silu": "silu",
}  # fmt: skip

# OpInfo's name -> minigrad's operation with torch's arguments.
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{theirs: same(ours) for theirs, ours in UNARY.items()},
    **{name: same(ours) for name, ours in {"add": "add", "sub": "subtract", "mul": "multiply"}.items()},
    **{name: same(name) for name in ("maximum", "minimum", "matmul", "broadcast_to", "tile", "tril", "triu", "flatten")},
    "true_divide": same("divide"),
    "pow": same("power"),
    "outer": same("outer"),
    "mm": same("matmul"), "mv": same("matmul"), "bmm": same("matmul"), "dot": same("matmul"),
    "clamp": clip,
    "where": lambda a, c, b: ops.where(c, a, b),
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "prod": reduction("prod"),
    "amax": reduction("max"),
    "amin": reduction("min"),
    "logsumexp": reduction("logsumexp"),
    "var": deviation("var"),
    "std": deviation("std"),
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False: ops.norm(x, ord, dim, keepdim) if ord > 0 else unsupported(),
    "softmax": softmax("softmax"),
    "log_softmax": softmax("log_softmax"),
    "cumsum": same("cumsum", arguments=2),
    "cat": lambda arrays, dim=0: ops.concatenate(arrays, dim),
    "stack": lambda arrays, dim=0: ops.stack(arrays, dim),
    "unsqueeze": same("expand_dims"),
    "squeeze": same("squeeze"),
    "flip": same("flip", options={"dims": "axis"}),
    "roll": lambda x, shifts, dims=None: ops.roll(x, shifts, None if dims == () else dims),
    "reshape": same("reshape"),
    "permute": same("transpose"),
    "transpose": same("swapaxes"),
    "take": lambda x, index: ops.take(x, index),
    "index_select": lambda x, dim, index: ops.take(x, index, dim),
    "nn.functional.embedding": lambda weight, index, **options: ops.embedding(index, weight) if not options else unsupported(),
    "nn.functional.leaky_relu": same("leaky_relu", options={"negative_slope": "negative_slope"}),
    "nn.functional.elu": same("elu", options={"alpha": "alpha"}),
    "nn.functional.gelu": same("gelu", options={"approximate": "approximate"}),
    "nn.functional.softplus": lambda x, beta=1.0, threshold=20.0: ops.where(
        np.multiply(beta, x.data) > threshold, x, ops.softplus(x, beta)
    ),
    "nn.functional.linear": same("linear"),
    "nn.functional.conv2d": same("conv2d", options={k: k for k in ("stride", "padding", "dilation", "groups")}),
    "nn.functional.max_pool2d": pooling("max_pool2d"),
    "nn.functional.avg_pool2d": pooling("avg_pool2d"),
    "nn.functional.layer_norm": lambda x, shape, w=None, b=None, eps=1e-5: ops.layer_norm(x, shape, w, b, eps),
    "nn.functional.batch_norm": lambda x, mean, var, w=None, b=None, training=False, momentum=0.1, eps=1e-5: ops.batch_norm(
        x, mean, var, w, b, training, momentum, eps
    ),
    "nn.functional.mse_loss": loss("mse_loss"),
    "nn.functional.l1_loss": loss("l1_loss"),
    "nn.functional.huber_loss": loss("huber_loss", delta="delta"),
    "nn.functional.binary_cross_entropy_with_logits": loss("binary_cross_entropy_with_logits"),
    "nn.functional.nll_loss": class_loss("nll_loss"),
    "nn.functional.cross_entropy": class_loss("cross_entropy"),
}  # fmt: skip


DIFFERENTIATED = {"where": 3, "clamp": 1}  # the number of arguments that get a gradient
# The sign of NaN is NaN in NumPy and 0 in torch. torch's derivative of elu at NaN depends on the memory layout.
NOT_AT_NAN = {"abs", "sign", "nn.functional.elu"}
# Samples that minigrad refuses: a part of the sentence.
REFUSED = {
    "where": "expected real numbers",
    "cat": "concatenate: operands of shape (0,) and",
    "squeeze": "size not equal to one",
    "index_select": "out of bounds for array of dimension 0",
    "transpose": "out of bounds for array of dimension 0",
    "nn.functional.conv2d": "expected",
    "nn.functional.batch_norm": "expected an input (n, channels, ...)",
}


def unsupported() -> Any:
    raise Unsupported


@functools.cache
def database() -> dict[tuple[str, str], Any]:
    methods = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    return {(info.name, info.variant_test_name): info for info in methods.op_db}


def samples(name: str, dtype: Any) -> Iterator[Any]:
    # torch's generator for operations of three operands can't make tensors that require a gradient.
    return database()[name, ""].reference_inputs("cpu", dtype, requires_grad=name not in DIFFERENTIATED)


class Arguments:
    """A sample's arguments for torch and for minigrad, with new leaves in both."""

    def __init__(self, sample: Any, differentiated: int) -> None:
        for x in [sample.input, *sample.args][:differentiated]:
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                x.requires_grad_()
        self.leaves: list[tuple[Any, Tensor]] = []
        both = [self.convert(x) for x in (sample.input, *sample.args, *sample.kwargs.values())]
        n = 1 + len(sample.args)
        self.args = [[pair[i] for pair in both[:n]] for i in (0, 1)]
        self.options = [dict(zip(sample.kwargs, [pair[i] for pair in both[n:]], strict=True)) for i in (0, 1)]

    def convert(self, x: Any) -> tuple[Any, Any]:
        if type(x) in (list, tuple):
            both = [self.convert(item) for item in x]
            return tuple(t for t, _ in both), tuple(m for _, m in both)
        if not isinstance(x, torch.Tensor):
            return x, tuple(x) if isinstance(x, torch.Size) else x
        if not x.requires_grad:
            return x, x.numpy()
        leaf = x.detach().requires_grad_()
        self.leaves.append((leaf, Tensor(x.detach().numpy(), requires_grad=True)))
        return self.leaves[-1]


def compare(name: str, sample: Any) -> bool:
    """Whether the sample could be compared."""
    arguments = Arguments(sample, DIFFERENTIATED.get(name, 0))
    (theirs, mine), (their_options, my_options) = arguments.args, arguments.options
    leaves = arguments.leaves
    if not leaves or (name in NOT_AT_NAN and any(np.isnan(m.data).any() for _, m in leaves)):
        return False
    try:
        found = OPERATIONS[name](*mine, **my_options)
    except Unsupported:
        return False
    except (TypeError, ValueError) as error:
        if REFUSED.get(name, "nothing is refused") not in str(error):
            raise
        return False
    expected = database()[name, ""].op(*theirs, **their_options)
    assert found.shape == tuple(expected.shape)
    if str(expected.dtype) != f"torch.{found.dtype}":
        return False  # torch promotes two dtypes
    rtol, atol = (1e-9, 1e-11) if found.dtype == np.float64 else (2e-4, 4e-5)
    np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol, atol, err_msg="value")
    weights = np.random.default_rng(0).uniform(0.5, 2, found.shape).astype(found.dtype)
    expected.backward(torch.as_tensor(weights))
    found.backward(weights)
    for i, (t, m) in enumerate(leaves):
        gradient = np.zeros(m.shape) if m.grad is None else m.grad
        wanted = np.zeros(m.shape) if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(gradient, wanted, rtol, atol, err_msg=f"gradient {i}")
    return True


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_value_and_the_gradients_of_torchs_samples_are_torchs(name: str, dtype: str) -> None:
    compared = [compare(name, sample) for sample in samples(name, getattr(torch, dtype))]
    assert any(compared)
