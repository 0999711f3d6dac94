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

The tape and `operation` handle broadcasting, dtypes, the ownership of
buffers and arrays that changed after they were recorded, so that a rule
contains only calculus. A pullback returns its argument, a view of it, or a
new array, but never an array that is stored elsewhere.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from .memory import arrays_in, owner
from .modes import detect_anomaly, mode, no_grad

__all__ = ["FREED", "Node", "backward", "clock", "detect_anomaly", "mark_changed", "mode", "no_grad", "unwrap"]

Pullback = Callable[[np.ndarray], np.ndarray]
Hook = Callable[[np.ndarray], np.ndarray | None]
Edge = tuple["Node", Pullback, str | int]  # an operand, its pullback, and its name, or its number from 1 in *operands

clock = itertools.count()  # orders nodes by their creation, and changes of arrays among them


class _Freed(tuple[()]):
    """The type of `FREED`."""


FREED = _Freed()  # the edges of a node whose pullbacks were freed


class Node:
    """An array and the record of how it was computed. `Tensor` adds the operators.

    Attributes:
        data: the value, an ndarray. Assignment replaces it and keeps its shape and dtype.
        grad: the gradient that `backward` accumulates, of data's shape and dtype; on leaves only.
            An array of data's shape can be assigned, or None.
        requires_grad: whether gradients flow to or through this node. It can be set on a leaf,
            which then owns its array.
    """

    __slots__ = ("__weakref__", "_data", "_edges", "_grad", "_hooks", "_line", "_op", "_order", "_requires_grad")

    # `data`, `grad` and `requires_grad` without the check on assignment, for the code that runs in every operation.
    _data: np.ndarray
    _grad: np.ndarray | None
    _requires_grad: bool
    _op: str  # the operation's name
    _edges: Sequence[Edge]  # one per operand that requires a gradient; none in a leaf
    _order: int  # the position in the order of creation
    _hooks: dict[float, Hook] | None  # called with the gradient once it is complete
    _line: str | None  # the line that called the operation, if there was an observer

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if value is self._data:  # after `x.data -= y`, which has changed the array itself
            mark_changed(self)
            return
        array = _array("data", value)
        self._check_like("data", array, "which a tensor keeps")
        self._data = array.astype(self._data.dtype, copy=self._requires_grad)

    @property
    def grad(self) -> np.ndarray | None:
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and value is not self._grad:  # it is the same after `x.grad *= 2`
            array = _array("grad", value)
            self._check_like("grad", array, "as in data")
            value = np.require(array, self._data.dtype, "W")
        self._grad = value

    def _check_like(self, name: str, array: np.ndarray, reason: str) -> None:
        if array.shape != self._data.shape or not np.can_cast(array.dtype, self._data.dtype, "same_kind"):
            raise ValueError(
                f"{name}: shape {array.shape}, dtype {array.dtype};"
                f" expected {self._data.shape}, {self._data.dtype}, {reason}"
            )

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self._edges or self._edges is FREED:
            raise RuntimeError(f"requires_grad: this is a result of {self._op!r}; it can be changed on leaves only")
        if value and not self._requires_grad:
            check_floating(self._data.dtype)
            self._data = self._data.copy(order="K")
        self._requires_grad = bool(value)


def check_floating(dtype: np.dtype[Any]) -> None:
    """Raise TypeError unless tensors of this dtype can require a gradient."""
    if dtype.kind != "f":
        raise TypeError(f"a tensor of dtype {dtype} can't require a gradient; expected a floating dtype")


def unwrap(x: Any) -> Any:
    """Return the array of a node; anything else unchanged."""
    return x._data if isinstance(x, Node) else x


def _array(source: str, x: Any) -> np.ndarray:
    """Return `x` as an array; raise ValueError if it is a list whose rows have different lengths."""
    try:
        return np.asarray(unwrap(x))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


# Arrays that changed in place.

changes: dict[int, int] = {}  # the id of the owner of the memory: the time of its last change, by `clock`
last_change = -1


def mark_changed(*changed: Node | np.ndarray) -> None:
    """Record that arrays were changed in place, so that no gradient is computed from their new numbers.

    The optimizers, `load_state_dict` and the in-place operators call it. It
    concerns all tensors that share the memory: views and detached tensors.
    """
    global last_change
    last_change = next(clock)
    for x in changed:
        array = x._data if isinstance(x, Node) else x
        # An entry may outlive its array. It does no harm: an array that gets the same id is newer than the change.
        changes[id(array if array.base is None else owner(array))] = last_change


def _check_unchanged(node: Node) -> None:
    """Raise RuntimeError if a pullback of `node` reads an array that was changed after `node` was recorded."""
    for _, pullback, label in node._edges:
        for array in arrays_in(pullback):
            if changes.get(id(owner(array)), -1) > node._order:
                raise RuntimeError(
                    f"backward: {node._op}: the gradient of operand {label} needs an array of shape {array.shape}"
                    " that was changed in place after it was recorded, for example by an optimizer's step;"
                    " call backward before the change, or compute the value again after it"
                )


# The backward pass.


def backward(root: Node, gradient: Any = None, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) to the `grad` of every leaf that requires a gradient.

    Args:
        root: the value to differentiate; a scalar unless `gradient` is passed.
        gradient: d(loss)/d(root), of root's shape; by default 1 for a scalar.
        retain_graph: whether to keep the pullbacks for another backward pass.
            By default each one is freed after its use.

    Raises:
        RuntimeError: nothing was recorded, the record has been freed, or an
            array that a pullback reads was changed in place.
        TypeError: a pullback returned something else than an array of real numbers.
        ValueError: `gradient` is missing or has another shape, or a pullback
            returned another shape. Other errors of a pullback get the names of the
            operation and the operand.
    """
    # At the end of the pass, so that an earlier error changes no `grad`.
    for leaf, g, is_new in propagate(root, gradient, retain_graph):
        if leaf._grad is not None:
            leaf._grad += g
        else:
            leaf._grad = g if is_new else g.copy(order="K")


def propagate(
    root: Node, gradient: Any = None, retain_graph: bool = False, since: int = 0
) -> list[tuple[Node, np.ndarray, bool]]:
    """Compute d(root)/d(leaf) for every leaf that requires a gradient; see `backward`.

    Args:
        root, gradient, retain_graph: see `backward`.
        since: nodes that were created before this time, by `clock`, count as constants.

    Returns:
        Per leaf: the leaf, the gradient, and whether the gradient is an array
        that nothing else uses.
    """
    gradients = {root._order: _root_gradient(root, gradient)}
    owned: set[int] = set()  # nodes whose gradient is an array that only this pass uses: it is added to in place
    queue, leaves = ([(-root._order, root)], []) if root._edges else ([], [root])
    observers = mode.observers
    while queue:
        node = heapq.heappop(queue)[1]
        g = gradients.pop(node._order)
        if node._hooks:
            g = _call_hooks(node, g)
        if node._order < last_change:
            _check_unchanged(node)
        for edge in node._edges:
            operand, pullback, _ = edge
            key, data = operand._order, operand._data
            if key < since:
                continue
            try:
                p = pullback(g)
            except (TypeError, ValueError, IndexError) as error:  # costs nothing unless it happens
                _raise_named(error, node, edge)
            if observers:
                for observer in observers:
                    observer.pulled_back(node, edge, g, p)
            # Almost always false: three comparisons instead of a call, which takes 10 times as long.
            if type(p) is not np.ndarray or p.shape != data.shape or p.dtype is not data.dtype:
                p = _conform(p, node, edge)
            if key not in gradients:
                gradients[key] = p
                if operand._edges:
                    heapq.heappush(queue, (-key, operand))
                else:
                    leaves.append(operand)
                if p is not g and p.base is None:  # a new array
                    owned.add(key)
            elif key in owned:
                gradients[key] += p
            else:
                gradients[key] = np.asarray(gradients[key] + p)
                owned.add(key)
            if observers:
                for observer in observers:
                    observer.added(node, edge, gradients[key])
        if not retain_graph:
            node._edges = FREED
    return _leaf_gradients(leaves, gradients, owned)


def _leaf_gradients(
    leaves: list[Node], gradients: dict[int, np.ndarray], owned: set[int]
) -> list[tuple[Node, np.ndarray, bool]]:
    """Return the result of `propagate`, after the hooks of the leaves."""
    results = []
    for leaf in leaves:
        if leaf._edges is FREED:
            raise RuntimeError(
                f"backward: the graph behind {leaf._op!r} was freed by an earlier backward;"
                " pass retain_graph=True to that one"
            )
        g, is_new = gradients[leaf._order], leaf._order in owned
        if leaf._hooks:
            g, is_new = _call_hooks(leaf, g), False
        if leaf._requires_grad:  # it may have been switched off since it was recorded
            results.append((leaf, g, is_new))
    return results


def _root_gradient(root: Node, gradient: Any) -> np.ndarray:
    """Return `gradient` as an array of root's shape and dtype; by default 1 for a scalar."""
    if not root._requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient; nothing was recorded")
    data = root._data
    check_floating(data.dtype)
    if gradient is None:
        if data.size != 1:
            raise ValueError(
                f"backward: a tensor of shape {data.shape} needs a gradient of that shape; only a scalar needs none"
            )
        return np.array(1, data.dtype, ndmin=data.ndim)  # takes a third of the time of np.ones
    gradient = _real(gradient, "backward: the gradient")
    if gradient.shape != data.shape:
        raise ValueError(f"backward: the gradient has shape {gradient.shape}; expected {data.shape}")
    return gradient.astype(data.dtype, copy=False)


def _conform(p: Any, node: Node, edge: Edge) -> np.ndarray:
    """Return `p`, which a pullback of `node` returned, as an array of the operand's shape and dtype.

    NumPy returns scalars instead of 0-d arrays, the operand may have been
    broadcast, and float32 may have become float64. Anything else is a mistake
    in the rule.
    """
    operand, _, label = edge
    shape, dtype = operand._data.shape, operand._data.dtype
    source = f"{node._op}: the pullback of operand {label}"
    check_floating(dtype)
    p = _real(p, source)
    pairs = zip(reversed(shape), reversed(p.shape), strict=False)
    if p.ndim < len(shape) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(
            f"{source} returned shape {p.shape}; expected {shape}, the operand's, or a shape to which that is broadcast"
        )
    return unbroadcast(p, shape).astype(dtype, copy=False)


def _raise_named(error: Exception, node: Node, edge: Edge) -> NoReturn:
    """Raise the error of a pullback with the names of the operation and the operand."""
    _, pullback, label = edge
    source = f"{node._op}: the pullback of operand {label}"
    if not callable(pullback):
        raise TypeError(f"{source} is of {type(pullback).__name__}; expected a function") from None
    kind = next(kind for kind in (TypeError, ValueError, IndexError) if isinstance(error, kind))
    raise kind(f"{source}: {error}") from error


def _real(x: Any, source: str) -> np.ndarray:
    """Return `x` as an array; raise TypeError if its elements are not real numbers."""
    array = _array(source, x)
    if array.dtype.kind not in "fiub":
        kind = f"dtype {array.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{source} is of {kind}; expected an array of real numbers")
    return array


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum `gradient` over the axes along which an operand of `shape` was broadcast.

    Broadcasting copies an element, and the derivative of a copy is a sum.
    """
    if gradient.ndim > len(shape):
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n == 1 and gradient.shape[i] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def _call_hooks(node: Node, g: np.ndarray) -> np.ndarray:
    """Return the gradient after the node's hooks. Each hook gets a copy, since other nodes may still read the array.

    Raises:
        TypeError: a hook returned something else than an array of real numbers.
        ValueError: a hook returned another shape.
    """
    hooks = node._hooks or {}
    for key in sorted(hooks):
        changed = hooks[key](g.copy()) if key in hooks else None  # an earlier hook may have removed it
        if changed is not None:
            changed = _real(changed, f"hook on {node._op}: the gradient")
            if changed.shape != g.shape:
                raise ValueError(f"hook on {node._op}: returned shape {changed.shape}; expected {g.shape}")
            g = changed.astype(g.dtype, copy=False)
    return g
