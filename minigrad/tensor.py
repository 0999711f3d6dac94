"""Tensor: an array with a gradient. Each operator and method calls an operation of `ops`."""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import in_place, numpy_calls, ops, tape
from .ops.reduce import Axis

if TYPE_CHECKING:
    from typing import Self


LAST = math.inf  # the key of a hook that is called after all others


class HookHandle(NamedTuple):
    """A registered hook; `remove()` unregisters it."""

    hooks: dict[float, tape.Hook]
    key: float

    def remove(self) -> None:
        self.hooks.pop(self.key, None)


class Tensor(tape.Node):
    """An array with a record of how it was computed.

    Args:
        data: numbers or lists, which become float32, or an array, which keeps its dtype. An array is copied
            if `requires_grad`, because optimizers change the tensor in place; otherwise it is shared.
        requires_grad: whether `backward` stores the gradient in `grad`; by default False.

    Raises:
        TypeError: `data` is not numbers, or is integers that should require a gradient.

    Example:
        >>> w = Tensor([2.0, 3.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> w.grad
        array([4., 6.], dtype=float32)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        data = tape.unwrap(data)
        array = _numbers(data)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: dtype {array.dtype}; expected real numbers")
        if requires_grad:
            tape.check_floating(array.dtype)
            array = array.copy(order="K")
        self._data, self._requires_grad, self._grad = array, bool(requires_grad), None
        self._op, self._edges, self._order = "leaf", (), next(tape.clock)
        self._hooks = self._line = None

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add d(this)/d(leaf) to the `grad` of every leaf; see `tape.backward`."""
        tape.backward(self, gradient, retain_graph)

    def detach(self) -> Tensor:
        """A tensor with the same array and no graph. A change in place of one concerns both."""
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
        return self._add_hook("register_hook", next(tape.clock), hook)

    def retain_grad(self) -> None:
        """Let `backward` add the gradient of this tensor to its `grad`, although it is not a leaf.

        Raises:
            RuntimeError: this tensor does not require a gradient.
        """
        tensor = weakref.ref(self)  # a hook that held the tensor would form a reference cycle
        hook = self._add_hook("retain_grad", LAST, lambda g: _accumulate(tensor(), g))
        if not self._edges:
            hook.remove()  # a leaf keeps its gradient anyway

    def _add_hook(self, name: str, key: float, hook: tape.Hook) -> HookHandle:
        if not self.requires_grad:
            raise RuntimeError(f"{name}: this tensor does not require a gradient")
        self._hooks = {} if self._hooks is None else self._hooks
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
        """The element of a tensor of size 1, as a Python number.

        Raises:
            ValueError: the tensor has another size.
        """
        if self.data.size != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} has {self.size} elements; expected 1 to convert to a number"
            )
        return self.data.item()

    def tolist(self) -> Any:
        """The elements as Python numbers in nested lists; a number if there is no axis."""
        return self.data.tolist()

    def numpy(self) -> np.ndarray:
        """The array itself, without a copy."""
        return self.data

    # How NumPy treats a tensor: `array * tensor` is left to the tensor, and NumPy's functions read the array of a
    # tensor, but never one that requires a gradient.
    __array_priority__ = 1000

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise TypeError(
                "this tensor requires a gradient, and NumPy would lose it; use minigrad's function of the same name,"
                " such as minigrad.sin for numpy.sin, or .data or .detach() for the array"
            )
        return np.array(self.data, dtype, copy=copy)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_calls.call(func, args, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are new leaves."""
        if self._edges:
            raise TypeError("a Tensor with a graph can't be copied or pickled; call detach() first")
        return type(self), (self.data, self.requires_grad)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        return operator.index(self.data)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(")
        leaf, freed = not self._edges, self._edges is tape.FREED
        origin = (", requires_grad=True" if leaf and not freed else f", op={self._op}") if self.requires_grad else ""
        return f"Tensor({body}, dtype={self.dtype}{origin})"

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
    def __pos__(self) -> Tensor: return self
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __getitem__(self, index: Any) -> Tensor: return ops.getitem(self, index)

    # Changes in place, where nothing is recorded.
    def __iadd__(self, other: Any) -> Self: return in_place.update(self, "+=", np.add, other)
    def __isub__(self, other: Any) -> Self: return in_place.update(self, "-=", np.subtract, other)
    def __imul__(self, other: Any) -> Self: return in_place.update(self, "*=", np.multiply, other)
    def __itruediv__(self, other: Any) -> Self: return in_place.update(self, "/=", np.divide, other)
    def __ipow__(self, other: Any) -> Self: return in_place.update(self, "**=", np.power, other)
    def __imatmul__(self, other: Any) -> Self: return in_place.update(self, "@=", np.matmul, other)
    def __setitem__(self, index: Any, value: Any) -> None: in_place.assign(self, index, value)

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

    def reshape(self, *shape: Any) -> Tensor: return ops.reshape(self, _as_tuple(shape))
    def transpose(self, *axes: Any) -> Tensor: return ops.transpose(self, _as_tuple(axes) or None)
    def swapaxes(self, axis1: int, axis2: int) -> Tensor: return ops.swapaxes(self, axis1, axis2)
    def squeeze(self, axis: Axis = None) -> Tensor: return ops.squeeze(self, axis)
    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor: return ops.flatten(self, start_dim, end_dim)
    # fmt: on

    def argmax(self, axis: int | None = None) -> np.ndarray:
        """The positions of the maxima along `axis`, or in the flattened tensor, as integers.

        Raises:
            ValueError: the tensor has no such axis, or the axis is empty.
        """
        try:
            return np.asarray(self.data.argmax(axis))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"argmax: a tensor of shape {self.shape}, axis = {axis!r}: {error}") from error


def _numbers(data: Any) -> np.ndarray:
    """Return `data` as an array: an array and a NumPy scalar keep their dtype, other numbers become float32."""
    if isinstance(data, (np.ndarray, np.generic)):
        return np.asarray(data)
    try:
        array = np.asarray(data)
        # NumPy would read numbers from strings, and NaN from None.
        if array.dtype.kind not in "USMm" and not (array.dtype.hasobject and any(x is None for x in array.flat)):
            return np.asarray(data, np.float32)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Tensor: {error}") from error
    raise TypeError(f"Tensor: a value of class {type(data).__name__} with dtype {array.dtype}; expected real numbers")


def _accumulate(tensor: Any, g: np.ndarray) -> None:
    tensor._grad = g if tensor._grad is None else tensor._grad + g


def _as_tuple(args: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape from both call styles of NumPy: reshape(2, 3) and reshape((2, 3))."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
