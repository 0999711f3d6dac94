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
import sys
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Annotated, Any

import numpy as np

from . import anomaly

# A rule's operand: an ndarray, or a Python number, which NumPy lets take the array's dtype.
Array = Annotated[Any, "Array"]
Pullback = Callable[[np.ndarray], np.ndarray]
Hook = Callable[[np.ndarray], np.ndarray | None]

_clock = itertools.count()


class _Freed(tuple[()]):
    """Stands for the edges of a node whose pullbacks were let go."""


_FREED = _Freed()


class _Mode(threading.local):
    recording = True
    anomaly = False


_mode = _Mode()


class _Switch(ContextDecorator):
    """Set one field of the mode inside a `with` block or a decorated function."""

    field: str
    value: bool

    def __init__(self) -> None:
        self._before: list[bool] = []  # a stack, since a decorated function may call itself

    def __enter__(self) -> None:
        self._before.append(getattr(_mode, self.field))
        setattr(_mode, self.field, self.value)

    def __exit__(self, *_: object) -> None:
        setattr(_mode, self.field, self._before.pop())

    def _recreate_cm(self) -> _Switch:
        return type(self)()  # a decorated function may run in several threads


class no_grad(_Switch):  # noqa: N801 (torch's name)
    """Record nothing inside the `with` block or the decorated function."""

    field, value = "recording", False


class detect_anomaly(_Switch):  # noqa: N801 (torch's name)
    """Look at every value and every gradient; the first NaN or infinity raises FloatingPointError.

    The error names the operation and the line that called it. Slow: each
    array is read once more.
    """

    field, value = "anomaly", True


class Node:
    """An array and how it came to be. `Tensor` adds the operators.

    Attributes:
        data: the value, an ndarray.
        grad: the gradient that `backward` summed here, of data's shape and dtype; on leaves only.
        requires_grad: whether gradients flow to or through this node.
    """

    __slots__ = ("__weakref__", "_edges", "_hooks", "_line", "_op", "_order", "data", "grad", "requires_grad")

    data: np.ndarray
    grad: np.ndarray | None
    requires_grad: bool
    _op: str  # the operation's name, for errors
    _edges: tuple[tuple[Node, Pullback], ...]  # the operands whose gradient is wanted
    _order: int  # when it was made
    _hooks: dict[int, Hook] | None  # called with the gradient once it is whole
    _line: str | None  # where it was recorded, under detect_anomaly

    # NumPy's functions refuse a node instead of computing something without a gradient.
    __array_ufunc__ = None


def operation(rule: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """Make a rule into an operation that is recorded.

    The rule's operands are annotated `Array`, its other parameters are
    options. It returns `(value, pullback, ...)`, one pullback per operand:

        @operation
        def multiply(a: Array, b: Array):
            return a * b, lambda g: g * b, lambda g: g * a

    The operation takes nodes, arrays or numbers. Its result takes the class
    of the first node among the operands; with none it is a plain array.

    Raises:
        TypeError: a tensor stands where its gradient would be lost (inside a
            list, as an option, or without a pullback in the rule).
    """
    name = rule.__name__.strip("_")
    signature = inspect.signature(rule)
    parameters = list(signature.parameters.values())
    operands = [i for i, p in enumerate(parameters) if "Array" in str(p.annotation)]
    if not operands:
        raise TypeError(f"operation: {name} has no operand; annotate its operands as Array")
    by_name = {parameters[i].name for i in operands}
    # For each argument, where its pullback stands in the rule's result; 0 for an option, and for what is
    # too much, which the rule then refuses itself.
    places: Any = [operands.index(i) + 1 if i in operands else 0 for i in range(len(parameters) + 9)]
    if parameters[operands[0]].kind is inspect.Parameter.VAR_POSITIONAL:
        places = range(1, sys.maxsize)

    @functools.wraps(rule)
    def apply(*args: Any, **options: Any) -> Any:
        if options:
            if not by_name.isdisjoint(options):
                bound = signature.bind(*args, **options)
                bound.apply_defaults()
                args, options = bound.args, bound.kwargs
            options = {key: _no_gradient(name, key, x) for key, x in options.items()}
        kind, settled, values, wanted = None, True, list(args), []
        for i, x in enumerate(args):
            if isinstance(x, Node):
                if not places[i]:
                    values[i] = _no_gradient(name, f"argument {i + 1}", x)
                    continue
                values[i] = x.data
                kind = kind or type(x)
                if x.requires_grad:
                    wanted.append((x, places[i]))
                elif x.data.dtype.kind != "f":
                    settled = False
            elif type(x) is np.ndarray:
                settled = settled and (x.dtype.kind == "f" or not places[i])
            elif x is not None and type(x) is not float and type(x) is not int:
                plain = _no_gradient(name, f"argument {i + 1}", x)
                if not places[i]:
                    values[i] = plain
                settled = settled and not places[i]
        if kind is None:
            values = [_plain(v) if place else v for v, place in zip(values, places)]  # noqa: B905
        elif not settled:
            _settle(values, places)
        try:
            result = rule(*values, **options)
        except ValueError as error:
            if str(error).startswith(f"{name}:"):
                raise
            shapes = [str(np.shape(v)) for v, place in zip(values, places) if place and v is not None]  # noqa: B905
            raise ValueError(f"{name}: operands of shape {' and '.join(shapes)}: {error}") from error
        if type(result) is not tuple:
            raise TypeError(f"{name}: its rule gave no tuple; expected (value, pullback, ...)")
        looking = _mode.anomaly
        if looking:
            anomaly.refuse_value(name, result[0], [v for v, place in zip(values, places) if place])  # noqa: B905
        if kind is None:
            return result[0]
        edges: tuple[tuple[Node, Pullback], ...] = ()
        if wanted and _mode.recording:
            if wanted[-1][1] >= len(result):
                raise TypeError(f"{name}: its rule gave {len(result) - 1} pullbacks for {len(operands)} operands")
            edges = tuple([(x, result[place]) for x, place in wanted])
        value, node = result[0], kind.__new__(kind)
        node.data = value if type(value) is np.ndarray else np.asarray(value)
        node.grad = node._hooks = None
        node.requires_grad = True if edges else False  # noqa: SIM210 (quicker than a call of bool)
        node._op, node._edges, node._order = name, edges, next(_clock)
        node._line = anomaly.caller() if looking else None
        return node

    return apply


def unwrap(x: Any) -> Any:
    """A node's array; anything else as it is."""
    return x.data if isinstance(x, Node) else x


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
    return x.item() if isinstance(x, np.floating) else x


def _plain(x: Any) -> Any:
    """An operand without nodes beside it: lists and numbers become float32, as in a Tensor."""
    if x is None or isinstance(x, np.ndarray):
        return x
    return np.asarray(x, None if isinstance(x, np.generic) else np.float32)


def _settle(values: list[Any], places: Any) -> None:
    """Keep float32 beside a list, an integer array or a NumPy scalar, each of which would promote it to float64."""
    operands = [i for i, v in enumerate(values) if places[i] and v is not None]
    dtypes = [values[i].dtype for i in operands if isinstance(values[i], np.ndarray) and values[i].dtype.kind == "f"]
    floating = dtypes[0] if dtypes else np.dtype(np.float32)
    for i in operands:
        v = values[i]
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


def _call_hooks(node: Node, g: np.ndarray) -> np.ndarray:
    """What the hooks make of a whole gradient; each sees a copy, since others may still read the buffer.

    Raises:
        ValueError: a hook returned another shape.
    """
    for hook in list((node._hooks or {}).values()):
        changed = hook(g.copy())
        if changed is not None:
            if np.shape(changed) != g.shape:
                raise ValueError(f"hook on {node._op}: returned shape {np.shape(changed)}; expected {g.shape}")
            g = np.asarray(changed, g.dtype)
    return g


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
        gradient = np.ones(root.data.shape, root.data.dtype)
    else:
        gradient = np.asarray(gradient, root.data.dtype)
        if gradient.shape != root.data.shape:
            raise ValueError(f"backward: the gradient has shape {gradient.shape}; expected {root.data.shape}")

    looking = _mode.anomaly
    gradients = {root._order: gradient}
    owned: set[int] = set()  # whose gradient is a buffer of ours alone, to be added into in place
    queue, leaves = [(-root._order, root)], []
    while queue:
        order, node = heapq.heappop(queue)
        if not node._edges:
            leaves.append(node)  # only the root can be one here
            continue
        g = gradients.pop(-order)
        if node._hooks:
            g = _call_hooks(node, g)
        for operand, pullback in node._edges:
            p = pullback(g)
            if looking:
                anomaly.refuse_gradient(node._op, p, g, node._line)
            data, at = operand.data, operand._order
            if type(p) is not np.ndarray:
                p = np.asarray(p)  # NumPy makes scalars of 0-d results
            if p.shape != data.shape:
                p = unbroadcast(p, data.shape)
            if p.dtype != data.dtype:
                p = p.astype(data.dtype)
            if at not in gradients:
                gradients[at] = p
                if operand._edges:
                    heapq.heappush(queue, (-at, operand))
                else:
                    leaves.append(operand)
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
    for leaf in leaves:
        if leaf._edges is _FREED:
            raise RuntimeError(
                f"backward: the graph behind {leaf._op!r} was freed by an earlier backward; give that one retain_graph=True"
            )
        if leaf._hooks:
            gradients[leaf._order] = _call_hooks(leaf, gradients[leaf._order])
            owned.discard(leaf._order)
    for leaf in leaves:
        g = gradients[leaf._order]
        if leaf.grad is not None:
            leaf.grad += g
        else:
            leaf.grad = g if leaf._order in owned else g.copy(order="K")
