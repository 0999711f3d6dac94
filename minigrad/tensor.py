"""Tensor: an array with a gradient. Each operator and method calls an operation of `ops`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import ops, tape
from .ops.reduce import Axis


class HookHandle(NamedTuple):
    """A registered hook; `remove()` unregisters it."""

    hooks: dict[int, tape.Hook]
    key: int

    def remove(self) -> None:
        self.hooks.pop(self.key, None)


class Tensor(tape.Node):
    """An array with a record of how it was computed.

    Args:
        data: numbers or lists, which become float32, or an array, which keeps its dtype and is not copied.
        requires_grad: whether `backward` stores the gradient in `grad`; by default False.

    Raises:
        TypeError: `data` is None, or integers that should require a gradient.

    Example:
        >>> w = Tensor([2.0, 3.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> w.grad
        array([4., 6.], dtype=float32)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if data is None:
            raise TypeError("Tensor: data is None; expected numbers")
        if isinstance(data, tape.Node):
            data = data.data
        self.data = np.asarray(data, None if isinstance(data, (np.ndarray, np.generic)) else np.float32)
        if requires_grad and self.data.dtype.kind != "f":
            raise TypeError(f"Tensor: dtype {self.data.dtype} can't require a gradient; expected a floating dtype")
        self.requires_grad = requires_grad
        self.grad = None
        self._op, self._edges, self._order = "leaf", (), next(tape.clock)
        self._hooks = self._line = None

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(this)/d(leaf) to the `grad` of every leaf; see `tape.backward`."""
        tape.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """A tensor with the same array and no graph."""
        return Tensor(self.data)

    def register_hook(self, hook: tape.Hook) -> HookHandle:
        """Call `hook(gradient)` in the backward pass, once the gradient of this tensor is complete.

        Args:
            hook: gets a copy of the gradient, an array. If it returns an
                array, not None, that replaces the gradient.

        Returns:
            A handle whose `remove()` unregisters the hook.

        Raises:
            RuntimeError: this tensor does not require a gradient.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor does not require a gradient")
        self._hooks = {} if self._hooks is None else self._hooks
        key = next(tape.clock)
        self._hooks[key] = hook
        return HookHandle(self._hooks, key)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802 (NumPy's name)
        return ops.transpose(self)

    def item(self) -> float:
        """The element of a tensor of size 1, as a Python number."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The array itself, without a copy."""
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError("a Tensor that requires a gradient would lose it as an array; use .data or .detach()")
        return np.array(self.data, dtype, copy=copy)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are new leaves."""
        if self._edges:
            raise TypeError("a Tensor with a graph can't be copied or pickled; call detach() first")
        return type(self), (self.data, self.requires_grad)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(")
        return f"Tensor({body}, dtype={self.dtype}{', requires_grad=True' if self.requires_grad else ''})"

    # fmt: off
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.divide(other, self)
    def __pow__(self, other: Any) -> Tensor: return ops.power(self, other)
    def __rpow__(self, other: Any) -> Tensor: return ops.power(other, self)
    def __matmul__(self, other: Any) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return ops.matmul(other, self)
    def __neg__(self) -> Tensor: return ops.negative(self)
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __getitem__(self, index: Any) -> Tensor: return ops.getitem(self, index)

    # Comparisons have no derivative; they return boolean arrays.
    def __lt__(self, other: Any) -> np.ndarray: return self.data < tape.unwrap(other)
    def __le__(self, other: Any) -> np.ndarray: return self.data <= tape.unwrap(other)
    def __gt__(self, other: Any) -> np.ndarray: return self.data > tape.unwrap(other)
    def __ge__(self, other: Any) -> np.ndarray: return self.data >= tape.unwrap(other)
    def __eq__(self, other: Any) -> np.ndarray: return self.data == tape.unwrap(other)  # type: ignore[override]
    def __ne__(self, other: Any) -> np.ndarray: return self.data != tape.unwrap(other)  # type: ignore[override]
    __hash__ = object.__hash__

    def abs(self) -> Tensor: return ops.abs(self)
    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def square(self) -> Tensor: return ops.square(self)
    def sin(self) -> Tensor: return ops.sin(self)
    def cos(self) -> Tensor: return ops.cos(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def clip(self, min: Any = None, max: Any = None) -> Tensor: return ops.clip(self, min, max)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.sum(self, axis, keepdims)
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.mean(self, axis, keepdims)
    def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor: return ops.var(self, axis, ddof, keepdims)
    def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor: return ops.std(self, axis, ddof, keepdims)
    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.prod(self, axis, keepdims)
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.max(self, axis, keepdims)
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.min(self, axis, keepdims)
    def norm(self, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor: return ops.norm(self, ord, axis, keepdims)
    def cumsum(self, axis: int | None = None) -> Tensor: return ops.cumsum(self, axis)
    def logsumexp(self, axis: Axis = -1, keepdims: bool = False) -> Tensor: return ops.logsumexp(self, axis, keepdims)
    def softmax(self, axis: int = -1) -> Tensor: return ops.softmax(self, axis)
    def log_softmax(self, axis: int = -1) -> Tensor: return ops.log_softmax(self, axis)
    def argmax(self, axis: int | None = None) -> np.ndarray: return np.asarray(self.data.argmax(axis))

    def reshape(self, *shape: Any) -> Tensor: return ops.reshape(self, _as_tuple(shape))
    def transpose(self, *axes: Any) -> Tensor: return ops.transpose(self, _as_tuple(axes) or None)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: Axis = None) -> Tensor: return ops.squeeze(self, axis)
    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: return ops.flatten(self, start_dim, end_dim)
    # fmt: on


def _as_tuple(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape from both call styles of NumPy: reshape(2, 3) and reshape((2, 3))."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
