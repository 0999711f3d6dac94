"""The tape: what was computed from what, and the way back through it.

Reverse-mode differentiation in three ideas.

1. An *operation* is a rule over plain arrays: it returns its value and, for
   each operand, a *pullback*, the function that turns the gradient of the
   value into the gradient of that operand. The rules are in `ops/`.
2. `operation` makes a rule into a function that also takes nodes. It unwraps
   them, runs the rule, and writes down the pullbacks of the operands whose
   gradient will be wanted.
3. `backward` visits nodes from the newest to the oldest. Creation order is a
   topological order, so when a node's turn comes, every gradient that flows
   into it has been summed.

The tape alone knows about broadcasting, dtypes and the ownership of buffers,
so a rule is nothing but calculus. A pullback returns the gradient it was
given, a view of it, or a new array; never an array that something else keeps.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Annotated, Any

import numpy as np

# A rule's operand: an ndarray, or a Python number, which NumPy lets take the array's dtype.
Array = Annotated[Any, "Array"]
Pullback = Callable[[np.ndarray], np.ndarray]

_clock = itertools.count()


class _Freed(tuple[()]):
    """Stands for the edges of a node whose pullbacks were let go."""


_FREED = _Freed()


class _Mode(threading.local):
    recording = True


_mode = _Mode()


class no_grad(ContextDecorator):  # noqa: N801 (torch's name)
    """Record nothing inside the `with` block or the decorated function."""

    def __init__(self) -> None:
        self._before: list[bool] = []  # a stack, since a decorated function may call itself

    def __enter__(self) -> None:
        self._before.append(_mode.recording)
        _mode.recording = False

    def __exit__(self, *_: object) -> None:
        _mode.recording = self._before.pop()

    def _recreate_cm(self) -> no_grad:
        return no_grad()  # a decorated function may run in several threads


class Node:
    """An array and how it came to be. `Tensor` adds the operators.

    Attributes:
        data: the value, an ndarray.
        grad: the gradient that `backward` summed here, of data's shape and dtype; on leaves only.
        requires_grad: whether gradients flow to or through this node.
    """

    __slots__ = ("__weakref__", "_edges", "_op", "_order", "data", "grad", "requires_grad")

    data: np.ndarray
    grad: np.ndarray | None
    requires_grad: bool
    _op: str  # the operation's name, for errors
    _edges: tuple[tuple[Node, Pullback], ...]  # the operands whose gradient is wanted
    _order: int  # when it was made

    # NumPy's functions refuse a node instead of computing something without a gradient.
    __array_ufunc__ = None


def operation(rule: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """Make a rule into an operation that is recorded.

    The rule takes its operands first, annotated `Array`, then its options,
    and returns `(value, pullback, ...)`, one pullback per operand:

        @operation
        def multiply(a: Array, b: Array):
            return a * b, lambda g: g * b, lambda g: g * a

    The operation takes nodes, arrays or numbers. Its result takes the class
    of the first node among the operands; with none it is a plain array.

    Raises:
        TypeError: a tensor stands where its gradient would be lost (inside a
            list, as an option, or without a pullback in the rule).
    """
    name = rule.__name__
    signature = inspect.signature(rule)
    operands = [p.name for p in signature.parameters.values() if "Array" in str(p.annotation)]
    arity = len(operands)
    if not arity:
        raise TypeError(f"operation: {name} has no operand; annotate its operands as Array")

    @functools.wraps(rule)
    def apply(*args: Any, **options: Any) -> Any:
        if options:
            if any(operand in options for operand in operands):
                bound = signature.bind(*args, **options)
                args, options = bound.args, bound.kwargs
            options = {key: _no_gradient(name, key, x) for key, x in options.items()}
        kind, record, values = None, False, list(args)
        for i, x in enumerate(args):
            if i >= arity:
                values[i] = _no_gradient(name, f"argument {i + 1}", x)
            elif isinstance(x, Node):
                kind = kind or type(x)
                record = record or x.requires_grad
                values[i] = x.data
            elif type(x) in (list, tuple):
                _no_gradient(name, f"argument {i + 1}", x)
        if kind is None:
            values[:arity] = [_plain(x) for x in values[:arity]]
        elif arity > 1:
            _settle(values, arity)
        try:
            result = rule(*values, **options)
        except ValueError as error:
            if str(error).startswith(f"{name}:"):
                raise
            shapes = " and ".join(str(np.shape(v)) for v in values[:arity])
            raise ValueError(f"{name}: operands of shape {shapes}: {error}") from error
        if type(result) is not tuple:
            raise TypeError(f"{name}: its rule gave no tuple; expected (value, pullback, ...)")
        if kind is None:
            return result[0]
        value, *pullbacks = result
        if record and _mode.recording:
            if len(pullbacks) < min(arity, len(args)):
                raise TypeError(f"{name}: its rule gave {len(pullbacks)} pullbacks for {arity} operands")
            edges = tuple([(x, p) for x, p in zip(args, pullbacks) if isinstance(x, Node) and x.requires_grad])  # noqa: B905
            return make(kind, value, name, edges)
        return make(kind, value, name, ())

    return apply


def _no_gradient(name: str, what: str, x: Any) -> Any:
    """The plain value of what is no operand.

    Raises:
        TypeError: it is, or holds, a tensor whose gradient would be lost.
    """
    if isinstance(x, Node):
        if x.requires_grad:
            raise TypeError(f"{name}: {what} has no gradient; give it as a plain array")
        return x.data
    if type(x) in (list, tuple) and any(isinstance(item, Node) for item in x):
        raise TypeError(f"{name}: {what}: a tensor inside a {type(x).__name__} would lose its gradient")
    return x


def make(kind: type[Node], data: Any, op: str, edges: tuple[tuple[Node, Pullback], ...]) -> Any:
    """A node of class `kind` that came from `edges`."""
    node = kind.__new__(kind)
    node.data = data if type(data) is np.ndarray else np.asarray(data)
    node.grad = None
    node.requires_grad = bool(edges)
    node._op, node._edges, node._order = op, edges, next(_clock)
    return node


def _plain(x: Any) -> Any:
    """An operand without nodes beside it: lists and numbers become float32, as in a Tensor."""
    if x is None or isinstance(x, np.ndarray):
        return x
    return np.asarray(x, None if isinstance(x, np.generic) else np.float32)


def _settle(values: list[Any], arity: int) -> None:
    """Keep float32 beside a list, an integer array or a NumPy scalar, each of which would promote it to float64."""
    floating = next(
        (v.dtype for v in values[:arity] if isinstance(v, np.ndarray) and v.dtype.kind == "f"), np.dtype(np.float32)
    )
    for i, v in enumerate(values[:arity]):
        if isinstance(v, np.generic):
            values[i] = v.item()
        elif isinstance(v, (list, tuple)) or (isinstance(v, np.ndarray) and v.dtype.kind != "f"):
            values[i] = np.asarray(v, floating)


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `gradient` down to `shape`, over the axes along which the operand was repeated.

    Broadcasting is a copy to many places, and the derivative of a copy is a sum.
    """
    if gradient.ndim > len(shape):
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def backward(root: Node, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) to the `grad` of every leaf that requires it.

    Args:
        root: where to start; a scalar unless `gradient` is given.
        gradient: d(loss)/d(root), of root's shape; 1 for a scalar.
        retain_graph: keep the pullbacks for another pass. Otherwise each is
            freed as soon as it was used.

    Raises:
        RuntimeError: nothing was recorded, or what was recorded is freed.
        ValueError: `gradient` is missing or has another shape.
    """
    if not root.requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient; nothing was recorded")
    if gradient is None:
        if root.data.size != 1:
            raise ValueError(
                f"backward: a tensor of shape {root.data.shape} needs a gradient of that shape; only a scalar starts from 1"
            )
        gradient = np.ones_like(root.data)
    else:
        gradient = np.asarray(gradient, root.data.dtype)
        if gradient.shape != root.data.shape:
            raise ValueError(f"backward: the gradient has shape {gradient.shape}; expected {root.data.shape}")

    gradients = {root._order: gradient}
    owned: set[int] = set()  # whose gradient is a buffer of ours alone, to be added into in place
    queue = [(-root._order, root)]
    leaves: list[tuple[Node, np.ndarray, bool]] = []
    while queue:
        order, node = heapq.heappop(queue)
        g = gradients.pop(-order)
        edges = node._edges
        if not edges:
            if edges is _FREED:
                raise RuntimeError(
                    f"backward: the graph behind {node._op!r} was freed by an earlier backward; give that one retain_graph=True"
                )
            leaves.append((node, g, -order in owned))
            continue
        for operand, pullback in edges:
            p = pullback(g)
            data, at = operand.data, operand._order
            if type(p) is not np.ndarray:
                p = np.asarray(p)  # NumPy makes scalars of 0-d results
            if p.shape != data.shape:
                p = unbroadcast(p, data.shape)
            if p.dtype != data.dtype:
                p = p.astype(data.dtype)
            if at not in gradients:
                gradients[at] = p
                heapq.heappush(queue, (-at, operand))
                if p is not g and p.base is None:
                    owned.add(at)
            elif at in owned:
                gradients[at] += p
            else:
                gradients[at] = np.asarray(gradients[at] + p)
                owned.add(at)
        if not retain_graph:
            node._edges = _FREED
    # Only now, so that an error on the way leaves every `grad` as it was.
    for leaf, g, ours in leaves:
        if leaf.grad is not None:
            leaf.grad += g
        else:
            leaf.grad = g if ours else g.copy(order="K")
