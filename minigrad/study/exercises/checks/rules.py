"""The checks of rules, by finite differences: 03 square, 05 broadcasting, 06 matmul, 07 softmax, 08 cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ....gradcheck import numerical_gradient
from ....tensor import Tensor
from ..outcome import Wrong
from .core import Case, Mistake, Outputs, Part
from .values import brief, show

Rule = Callable[..., tuple[Any, ...]]
NO_TUPLE = "Return a tuple: `return value, lambda g: ...`"


def call_rule(name: str, pullbacks: tuple[str, ...], module: Any, g: Any, **operands: Any) -> Outputs:
    """Call a rule and its pullbacks.

    Args:
        name: the rule.
        pullbacks: the operands that have a pullback.
        module: the module with the rule.
        g: the gradient of the value.
        operands: the arguments of the rule.
    """
    result = getattr(module, name)(*operands.values())
    call = f"{name}({', '.join(operands)})"
    if not isinstance(result, tuple) or len(result) != 1 + len(pullbacks):
        kind = f"a tuple of {len(result)}" if isinstance(result, tuple) else brief(result)
        parts = ", ".join(["value", *(f"pullback of {x}" if len(pullbacks) > 1 else "pullback" for x in pullbacks)])
        raise Wrong(f"{call} returned {kind}; expected a tuple ({parts}).", hint=NO_TUPLE)
    outputs = {f"The value of {call}": result[0]}
    for operand, pullback in zip(pullbacks, result[1:], strict=True):
        label = "pullback(g)" if len(pullbacks) == 1 else f"pullback(g) of {operand}"
        if not callable(pullback):
            raise Wrong(f"The pullback of {operand} is {brief(pullback)}; expected a function of g.", hint=NO_TUPLE)
        for again in ("", ", called again,"):  # a pullback that changes an array it needs fails the second time
            passed = np.array(g)
            outputs[f"{label}{again}"] = _plain(pullback(passed))
            if not np.array_equal(passed, g):
                values = [("g before", show(g)), ("g after", show(passed))]
                raise Wrong(f"{label} changes its argument g.", values, "Compute a new array, without *=, += or -=.")
    return outputs


def _plain(x: Any) -> Any:
    """Return a copy of an array, since a later call might change it; anything else unchanged."""
    return x.copy() if isinstance(x, np.ndarray) else x


def numerical_rule(function: Callable[..., Any], pullbacks: int) -> Rule:
    """Return the rule of a function of arrays, with pullbacks by finite differences."""

    def of_tensors(*operands: Any) -> Tensor:
        return Tensor(np.asarray(function(*(x.data if isinstance(x, Tensor) else x for x in operands))))

    def pullback(operands: tuple[Any, ...], i: int, g: Any) -> np.ndarray:
        inputs = tuple(Tensor(x) if np.asarray(x).dtype.kind == "f" else x for x in operands)
        return numerical_gradient(of_tensors, inputs, i, g)

    return lambda *operands: (function(*operands), *(partial(pullback, operands, i) for i in range(pullbacks)))


def rule_part(
    name: str,
    function: Callable[..., Any],
    pullbacks: tuple[str, ...],
    cases: Callable[[np.random.Generator], Iterator[Case]],
    mistakes: list[tuple[Rule, str]],
    hints: dict[str, str] | None = None,
) -> Part:
    """Return the part that checks a rule against a function of arrays."""
    return Part(
        (name,),
        partial(call_rule, name, pullbacks),
        SimpleNamespace(**{name: numerical_rule(function, len(pullbacks))}),
        cases,
        [Mistake(SimpleNamespace(**{name: wrong}), hint) for wrong, hint in mistakes],
        hints or {},
        rtol=1e-5,
        atol=1e-7,
    )


NO_G = "The factor g is missing: the chain rule multiplies by the gradient of the value."


# 03 square


def square_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((3,), (2, 3), (1,), ()):
        yield Case({"g": rng.normal(size=shape), "x": rng.normal(size=shape)})


SQUARE = (
    rule_part(
        "square",
        lambda x: x * x,
        ("x",),
        square_cases,
        [
            (lambda x: (x * x, lambda g: g * x), "The factor 2 is missing: the derivative of x^2 is 2 x."),
            (lambda x: (x * x, lambda g: 2 * x), NO_G),
            (lambda x: (x * x, lambda g: 2 * g), "The derivative of x^2 depends on x: it is 2 x."),
            (lambda x: (x * x, lambda g: g * x * x), "This is g times the value. Multiply g by the derivative, 2 x."),
            (lambda x: (x * x, lambda g: 2 * g * g), "Multiply g by 2 x, with the x that square was called with."),
            (lambda x: (2 * x, lambda g: g), "The value is x^2; 2 x is its derivative."),
        ],
    ),
)


# 05 broadcasting


def call_unbroadcast(module: Any, g: np.ndarray, shape: tuple[int, ...]) -> Outputs:
    return {"unbroadcast(g, shape)": module.unbroadcast(g, shape)}


def adjoint(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the gradient of sum(g * broadcast(x)) for x of a shape, by finite differences; it is linear in x."""
    inputs = (Tensor(np.zeros(shape)),)
    return numerical_gradient(lambda x: Tensor(np.broadcast_to(x.data, g.shape)), inputs, 0, g)


def unbroadcast_cases(rng: np.random.Generator) -> Iterator[Case]:
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]]
    shapes = [((4, 3), (3,)), ((4, 3), (4, 1)), ((4, 3), (1, 3)), ((3, 3), (3,)), ((2, 3), ()), ((2, 3), (1, 1))]
    shapes += [
        ((2, 3), (2, 3)),
        ((2, 4, 3), (4, 1)),
        ((2, 4, 3), (2, 1, 3)),
        ((1, 3), (3,)),
        ((1, 3), (1, 3)),
        ((), ()),
    ]
    for before, shape in shapes:
        yield Case({"g": rng.normal(size=before), "shape": shape})


def added_axes_only(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(g.sum(axis=tuple(range(g.ndim - len(shape)))))


def repeated_axes(g: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of g that come from an axis of length 1."""
    added = g.ndim - len(shape)
    return tuple(added + axis for axis, length in enumerate(shape) if length == 1)


def all_axes(g: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*range(g.ndim - len(shape)), *repeated_axes(g, shape))


def adjoint_of_shape(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the same as `adjoint`, from sums."""
    return np.asarray(g.sum(axis=all_axes(g, shape)).reshape(shape))


KEEP = "An axis of length 1 keeps this length: pass keepdims=True to sum over these axes."
NOT_SUMMED = "g is not summed. Each use of an element has a gradient; add them, over the axes that are new or repeated."
ADDED_ONLY = "Only the axes that were added at the front are summed. Sum over the axes of length 1 in `shape`, too."
MEAN = "The gradients of all uses are added, and not averaged: use sum instead of mean."
FIRST = "This is the gradient of one use. Add the gradients of all uses: sum over the axis."

UNBROADCAST = [
    (lambda g, shape: g, NOT_SUMMED),
    (lambda g, shape: g.mean(axis=all_axes(g, shape)).reshape(shape), MEAN),
    (added_axes_only, ADDED_ONLY),
    (lambda g, shape: g.sum(axis=all_axes(g, shape)), KEEP),
    (
        lambda g, shape: g.sum(axis=repeated_axes(g, shape), keepdims=True),
        "Sum over the axes that were added at the front.",
    ),
    (lambda g, shape: g[(0,) * (g.ndim - len(shape))], FIRST),
    (
        lambda g, shape: np.full(shape, g.sum()),
        "This is the sum of all elements. Sum over some axes only: sum(axis=...).",
    ),
    (lambda g, shape: g.sum(axis=-1), "The wrong axis is summed: new axes are at the front, with numbers from 0."),
]


def add_cases(rng: np.random.Generator) -> Iterator[Case]:
    for a, b in (((4, 3), (3,)), ((3,), (4, 3)), ((4, 1), (1, 3)), ((2, 2), (2, 2)), ((1, 2), (2,)), ((2, 3), ())):
        shape = np.broadcast_shapes(a, b)
        yield Case({"g": rng.normal(size=shape), "a": rng.normal(size=a), "b": rng.normal(size=b)})


def wrong_add(sum_of: Callable[[np.ndarray, tuple[int, ...]], Any]) -> Rule:
    """Return addition with another function in place of `unbroadcast`."""
    return lambda a, b: (a + b, lambda g: sum_of(g, a.shape), lambda g: sum_of(g, b.shape))


BROADCASTING = (
    Part(
        ("unbroadcast",),
        call_unbroadcast,
        SimpleNamespace(unbroadcast=adjoint),
        unbroadcast_cases,
        [Mistake(SimpleNamespace(unbroadcast=wrong), hint) for wrong, hint in UNBROADCAST],
        rtol=1e-5,
        atol=1e-7,
    ),
    rule_part(
        "add",
        lambda a, b: a + b,
        ("a", "b"),
        add_cases,
        [
            (wrong_add(lambda g, shape: g), "Sum g over the axes that broadcasting has added or repeated: use unbroadcast."),
            (wrong_add(lambda g, shape: np.ones(shape)), "This is 1, without g. " + NO_G),
            (lambda a, b: (a + b, lambda g: adjoint_of_shape(g, a.shape) * a, lambda g: adjoint_of_shape(g, b.shape) * b),
             "The derivative of a + b with respect to a is 1."),
        ],
    ),
)  # fmt: skip


# 06 matmul


def matmul_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, k, m in ((2, 3, 4), (3, 3, 3), (1, 1, 1), (1, 5, 1), (4, 1, 2)):
        yield Case({"g": rng.normal(size=(n, m)), "a": rng.normal(size=(n, k)), "b": rng.normal(size=(k, m))})


PRODUCTS = "the gradient of a (n, k) is g (n, m) times b^T (m, k), that of b (k, m) is a^T (k, n) times g (n, m)."
MATMUL = (
    rule_part(
        "matmul",
        lambda a, b: a @ b,
        ("a", "b"),
        matmul_cases,
        [
            (lambda a, b: (a * b, lambda g: g @ b.T, lambda g: a.T @ g), "* multiplies element by element. The matrix product is @."),
            (lambda a, b: (b @ a, lambda g: g @ b.T, lambda g: a.T @ g), "The factors are in the wrong order: the value is a @ b."),
            (lambda a, b: (a @ b, lambda g: g @ b, lambda g: a @ g), f"A transpose is missing: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: b.T @ g, lambda g: g @ a.T), f"The order is wrong: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: a.T @ g, lambda g: g @ b.T), "The two pullbacks are exchanged: a's is the first."),
            (lambda a, b: (a @ b, lambda g: (g @ b.T).T, lambda g: (a.T @ g).T), "The result is transposed."),
            (lambda a, b: (a @ b, lambda g: b.T, lambda g: a.T), NO_G),
            (lambda a, b: (a @ b, lambda g: b @ g, lambda g: g @ a), f"The order and the transpose are wrong: {PRODUCTS}"),
            (lambda a, b: (a @ b, lambda g: g * b.T, lambda g: a.T * g), "* multiplies element by element. Use @."),
        ],
        {"ValueError": f"Write down the shapes: {PRODUCTS}"},
    ),
)  # fmt: skip


# 07 softmax


def softmax_of(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def softmax_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((2, 3), (4, 2), (3, 3), (1, 3), (2, 1)):
        yield Case({"g": rng.normal(size=shape), "z": rng.normal(size=shape)})
    yield Case({"g": rng.normal(size=(2, 3)), "z": np.array([[1000.0, 0.0, -1000.0], [-999.0, -1000.0, -1001.0]])})


def softmax_rule(
    value: Callable[[np.ndarray], Any] = softmax_of, pullback: Callable[[Any, Any], Any] | None = None
) -> Rule:
    """Return a rule; the pullback gets p and g. What is not passed is right."""

    def rule(z: np.ndarray) -> tuple[Any, ...]:
        p = value(z)
        return p, lambda g: pullback(p, g) if pullback else p * (g - row_sum(g * p))

    return rule


def row_sum(x: np.ndarray) -> Any:
    return x.sum(axis=1, keepdims=True)


def shifted_exp(z: np.ndarray) -> Any:
    return np.exp(z - z.max(axis=1, keepdims=True))


def unshifted(z: np.ndarray) -> Any:
    return np.exp(z) / row_sum(np.exp(z))


SOFTMAX = (
    rule_part(
        "softmax",
        softmax_of,
        ("z",),
        softmax_cases,
        [
            (softmax_rule(lambda z: softmax_of(z, None)), "Each row has its own sum: sum(axis=1, keepdims=True)."),
            (softmax_rule(lambda z: shifted_exp(z) / shifted_exp(z).sum()), "Each row has its own sum: sum(axis=1, keepdims=True)."),
            (softmax_rule(lambda z: softmax_of(z, 0)), "The columns add up to 1; the rows must. Sum over axis 1."),
            (softmax_rule(shifted_exp), "Divide e^z by its sum over each row."),
            (softmax_rule(lambda z: z / row_sum(z)), "This is z divided by its sum. Take e^z first."),
            (softmax_rule(unshifted), "e^1000 is infinite, and inf / inf is not a number. Subtract each row's largest element."),
            (softmax_rule(pullback=lambda p, g: g * p * (1 - p)),
             "These are only the diagonal elements of the Jacobian, dp_c/dz_c. Each z_k changes all p of its row:"
             " p_c (g_c - sum of g_k p_k)."),
            (softmax_rule(pullback=lambda p, g: p * g), "The sum is missing: p_c (g_c - sum over the row of g_k p_k)."),
            (softmax_rule(pullback=lambda p, g: p * (g - row_sum(g))), "Weight the sum by p: sum over the row of g_k p_k."),
            (softmax_rule(pullback=lambda p, g: g - row_sum(g * p)), "The factor p_c before the bracket is missing."),
            (softmax_rule(pullback=lambda p, g: p * (g - (g * p).sum())), "Each row has its own sum of g p: axis=1."),
            (softmax_rule(pullback=lambda p, g: p * (row_sum(g * p) - g)), "The sign is wrong: g minus the sum."),
            (softmax_rule(pullback=lambda p, g: p * (1 - p)), NO_G),
        ],
        {"ValueError": "Do the shapes agree? keepdims=True keeps the sum of each row as an array of shape (n, 1)."},
    ),
)  # fmt: skip


# 08 cross-entropy


def loss_of(z: np.ndarray, labels: np.ndarray) -> Any:
    shifted = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(z)), labels]).mean()


def cross_entropy_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, classes in ((3, 4), (2, 3), (5, 2), (3, 3), (1, 3)):
        z, labels = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
        yield Case({"g": np.array(1.0 if n == 3 else 0.5), "z": z, "labels": labels})
    yield Case({"g": np.array(1.0), "z": np.array([[1000.0, 0.0], [0.0, 900.0]]), "labels": np.array([1, 1])})


def one_hot(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.eye(z.shape[1])[labels]


def by_label(p: np.ndarray, labels: np.ndarray) -> Any:
    return p[np.arange(len(p)), labels]


def wrong_loss(loss: Callable[[Any, Any], Any]) -> Rule:
    """Return a rule with the right gradient of the right loss."""
    return lambda z, labels: (loss(z, labels), lambda g: g * (softmax_of(z) - one_hot(z, labels)) / len(z))


def wrong_gradient(gradient: Callable[[Any, Any, int, Any], Any]) -> Rule:
    """Return a rule with the right loss; `gradient` gets p, the labels as one-hot rows, n and g."""
    return lambda z, labels: (
        loss_of(z, labels),
        lambda g: gradient(softmax_of(z), one_hot(z, labels), len(z), g),
    )


BATCH = "Divide by n: the loss is the mean over the batch."
CROSS_ENTROPY = (
    rule_part(
        "cross_entropy",
        loss_of,
        ("z",),
        cross_entropy_cases,
        [
            (wrong_loss(lambda z, t: loss_of(z, t) * len(z)), f"This is the sum over the batch. {BATCH}"),
            (wrong_loss(lambda z, t: -loss_of(z, t)), "The sign is wrong: the loss is -ln p, which is positive."),
            (wrong_loss(lambda z, t: by_label(softmax_of(z), t).mean()), "The logarithm is missing: this is the mean of p."),
            (wrong_loss(lambda z, t: -by_label(softmax_of(z), t).mean()), "The logarithm is missing: this is the mean of -p."),
            (wrong_loss(lambda z, t: loss_of(softmax_of(z), t)), "softmax is applied twice: z are logits, use them as they are."),
            (wrong_loss(lambda z, t: -np.log(by_label(unshifted(z), t)).mean()),
             "e^1000 is infinite. Subtract each row's largest element, and compute ln(sum of e^z) - z_t."),
            (wrong_loss(lambda z, t: (np.log(np.exp(z).sum(axis=1)) - by_label(z, t)).mean()),
             "e^1000 is infinite. Subtract each row's largest element before you compute e^z."),
            (wrong_loss(lambda z, t: -np.log(by_label(softmax_of(z), t)).mean()),
             "p is rounded to 0 here, and -ln 0 is infinite. Compute ln(sum of e^z) - z_t instead."),
            (wrong_loss(lambda z, t: -np.log(softmax_of(z)).mean()), "Use only the element of each row at its label."),
            (wrong_loss(lambda z, t: -np.log(softmax_of(z)).sum(axis=1).mean()), "Use only the element of each row at its label."),
            (wrong_gradient(lambda p, t, n, g: g * (p - t)), f"This is n times too large. {BATCH}"),
            (wrong_gradient(lambda p, t, n, g: g * (t - p) / n), "The sign is wrong: p minus 1 at the label."),
            (wrong_gradient(lambda p, t, n, g: g * p / n), "Subtract 1 from p at the label of each row."),
            (wrong_gradient(lambda p, t, n, g: (p - t) / n), NO_G),
            (wrong_gradient(lambda p, t, n, g: g * (p - n * t) / n), "Subtract the 1 first, and then divide by n."),
            (wrong_gradient(lambda p, t, n, g: g * (p - 1) / n), "Subtract 1 only at the label of each row: p[rows, labels]."),
            (wrong_gradient(lambda p, t, n, g: g * (p - t) / p.size), "Divide by n, the number of rows, and not by all elements."),
        ],
        {"IndexError": "z[rows, labels] with rows = np.arange(n) is the element of each row at its label."},
    ),
)  # fmt: skip
