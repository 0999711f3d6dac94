"""The tape: which value was computed from which, and the backward pass over that record.

Reverse-mode differentiation in three ideas.

1. An *operation* is a rule over plain arrays. It returns its value and, per
   operand, a *pullback*: the function that turns the gradient of the value
   into the gradient of that operand. The rules are in `ops/`.
2. `operation`, in `operation.py`, turns a rule into a function that also
   takes nodes. It unwraps them, calls the rule, and records the pullbacks of
   the operands that require a gradient.
3. `backward` visits nodes from the newest to the oldest. Creation order is a
   topological order, so all gradients that flow into a node have been summed
   when the node is visited.

The tape and `operation` handle broadcasting, dtypes and the ownership of
buffers, so that a rule contains only calculus. A pullback returns its
argument, a view of it, or a new array, but never an array that is stored
elsewhere.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import anomaly

Pullback = Callable[[np.ndarray], np.ndarray]
Hook = Callable[[np.ndarray], np.ndarray | None]

clock = itertools.count()


class _Freed(tuple[()]):
    """The type of `FREED`."""


FREED = _Freed()  # the edges of a node whose pullbacks were freed


class Mode(threading.local):
    """Whether operations are recorded, and whether their values are checked for NaN and infinity, in each thread."""

    recording = True
    anomaly = False


mode = Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the `with` block or the decorated function."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Check every value and every gradient; the first NaN or infinity raises FloatingPointError.

    The error names the operation and the line that called it. Slow, because
    each array is read once more.
    """
    before, mode.anomaly = mode.anomaly, True
    try:
        yield
    finally:
        mode.anomaly = before


class Node:
    """An array and the record of how it was computed. `Tensor` adds the operators.

    Attributes:
        data: the value, an ndarray.
        grad: the gradient that `backward` accumulates, of data's shape and dtype; on leaves only.
        requires_grad: whether gradients flow to or through this node.
    """

    __slots__ = ("__weakref__", "_edges", "_hooks", "_line", "_op", "_order", "data", "grad", "requires_grad")

    data: np.ndarray
    grad: np.ndarray | None
    requires_grad: bool
    _op: str  # the operation's name
    _edges: tuple[tuple[Node, Pullback], ...]  # the operands that require a gradient; none in a leaf
    _order: int  # the position in the order of creation
    _hooks: dict[int, Hook] | None  # called with the gradient once it is complete
    _line: str | None  # the line that called the operation, under detect_anomaly

    # NumPy's functions reject a node instead of computing a value without a gradient.
    __array_ufunc__ = None


changes: dict[int, int] = {}  # when memory was last changed in place: the id of its owner, and the clock


def mark_changed(x: Node | np.ndarray) -> None:
    """Record that the array of `x` was changed in place, so that `backward` refuses to compute with its new numbers.

    Optimizers, `load_state_dict` and the in-place operators call it. A change
    of memory concerns all tensors that share it: views and detached tensors.
    """
    global last_change
    last_change = changes[id(memory(unwrap(x)))] = next(clock)


last_change = -1


def memory(array: Any) -> Any:
    """Return the object that owns the memory of `array`; views have the owner of the array that they show."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


def unwrap(x: Any) -> Any:
    """Return the array of a node; anything else unchanged."""
    return x.data if isinstance(x, Node) else x


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `gradient` over the axes along which an operand of `shape` was broadcast.

    Broadcasting copies an element, and the derivative of a copy is a sum.
    """
    if gradient.ndim > len(shape):
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def backward(root: Node, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) to the `grad` of every leaf that requires a gradient.

    Args:
        root: the value to differentiate; a scalar unless `gradient` is passed.
        gradient: d(loss)/d(root), of root's shape; by default 1 for a scalar.
        retain_graph: whether to keep the pullbacks for another backward pass.
            By default each one is freed after its use.

    Raises:
        RuntimeError: nothing was recorded, or the record has been freed.
        ValueError: `gradient` is missing or has another shape.
    """
    gradients = {root._order: _root_gradient(root, gradient)}
    owned: set[int] = set()  # nodes whose gradient is a buffer that only this pass uses: it is added to in place
    queue, leaves = [(-root._order, root)], []
    checked = mode.anomaly
    while queue:
        order, node = heapq.heappop(queue)
        if not node._edges:
            leaves.append(node)  # only the root can be a leaf here
            continue
        g = gradients.pop(-order)
        if node._hooks:
            g = _call_hooks(node, g)
        for operand, pullback in node._edges:
            p = pullback(g)
            if checked:
                anomaly.check_gradient(node._op, p, g, node._line)
            data, key = operand.data, operand._order
            if type(p) is not np.ndarray:
                p = np.asarray(p)  # NumPy returns scalars instead of 0-d arrays
            if p.shape != data.shape:
                p = unbroadcast(p, data.shape)
            if p.dtype != data.dtype:
                p = p.astype(data.dtype)
            if key not in gradients:
                gradients[key] = p
                if operand._edges:
                    heapq.heappush(queue, (-key, operand))
                else:
                    leaves.append(operand)
                if p is not g and p.base is None:
                    owned.add(key)
            elif key in owned:
                gradients[key] += p
            else:
                gradients[key] = np.asarray(gradients[key] + p)
                owned.add(key)
        if not retain_graph:
            node._edges = FREED
    _add_to_leaves(leaves, gradients, owned)


def _root_gradient(root: Node, gradient: Any) -> np.ndarray:
    """Return `gradient` as an array of root's shape and dtype; by default 1 for a scalar."""
    if not root.requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient; nothing was recorded")
    shape = root.data.shape
    if gradient is None:
        if root.data.size != 1:
            raise ValueError(
                f"backward: a tensor of shape {shape} needs a gradient of that shape; only a scalar needs none"
            )
        return np.ones(shape, root.data.dtype)
    gradient = np.asarray(gradient, root.data.dtype)
    if gradient.shape != shape:
        raise ValueError(f"backward: the gradient has shape {gradient.shape}; expected {shape}")
    return gradient


def _call_hooks(node: Node, g: np.ndarray) -> np.ndarray:
    """Return the gradient after the node's hooks. Each hook gets a copy, since other nodes may still read the buffer.

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


def _add_to_leaves(leaves: list[Node], gradients: dict[int, np.ndarray], owned: set[int]) -> None:
    """Add the gradients to the leaves' `grad`.

    This happens at the end of the pass, so that an earlier error changes no `grad`.
    """
    for leaf in leaves:
        if leaf._edges is FREED:
            raise RuntimeError(
                f"backward: the graph behind {leaf._op!r} was freed by an earlier backward;"
                " pass retain_graph=True to that one"
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
