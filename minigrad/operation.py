"""Operations: a rule of calculus over plain arrays, turned into a function over tensors.

A rule returns its value and one pullback per operand. `operation` adds what
all rules need: it unwraps the tensors, keeps float32 from becoming float64,
names the operation in errors, and records the pullbacks on the tape.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import numpy as np

from . import anomaly
from .tape import Node, clock, mode

FLOAT32 = np.dtype(np.float32)


class Operand:
    """Marks the annotation `Array`."""


# The annotation of an operand: an ndarray, or a Python number, to which NumPy gives the array's dtype.
Array = Annotated[Any, Operand]


def operation(rule: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """Turn a rule into an operation that is recorded on the tape.

    Args:
        rule: its operands are annotated `Array` or `Array | None`, its other
            parameters are options. It returns `(value, pullback, ...)`, one
            pullback per operand, in the order of the operands.

    Returns:
        A function of tensors, arrays and numbers. Its result has the class
        of the first tensor among the operands; without tensors it is an array.

    Raises:
        TypeError: the rule has no operand, or a parameter without annotation.
            The operation raises it if the gradient of a tensor would be lost:
            the tensor is inside a list, is an option, or has no pullback.

    Example:
        @operation
        def multiply(a: Array, b: Array):
            return a * b, lambda g: g * b, lambda g: g * a
    """
    name = rule.__name__.strip("_")
    operands, slots = _operands(rule, name)
    return functools.wraps(rule)(_recorded(rule, name, operands, slots))


def _operands(rule: Callable[..., Any], name: str) -> tuple[list[str], Sequence[int]]:
    """The names of the operands, and per parameter the position of its pullback in the rule's result (0 for an option).

    Annotations are evaluated here, once, because `from __future__ import
    annotations` turns them into strings.
    """
    parameters = inspect.signature(rule).parameters
    try:
        hints = typing.get_type_hints(rule, include_extras=True)
    except (AttributeError, NameError, SyntaxError, TypeError) as error:
        raise TypeError(
            f"operation: {name}: an annotation can't be evaluated: {error}; expected names that the module defines"
        ) from error
    for parameter in parameters:
        if parameter not in hints:
            raise TypeError(
                f"operation: {name}: parameter {parameter} has no annotation; expected Array for an operand"
            )
    operands = [p for p in parameters if hints[p] is Array or Array in typing.get_args(hints[p])]
    if not operands:
        raise TypeError(f"operation: {name} has no operand; annotate its operands as Array")
    if parameters[operands[0]].kind is inspect.Parameter.VAR_POSITIONAL:
        return operands, range(1, sys.maxsize)
    return operands, [operands.index(p) + 1 if p in operands else 0 for p in parameters]


def _recorded(rule: Callable[..., Any], name: str, operands: list[str], slots: Sequence[int]) -> Callable[..., Any]:
    """The operation. It runs many times per training step, so it makes few calls and no copies."""
    arity = len(slots)
    count = None if isinstance(slots, range) else len(operands)

    def apply(*args: Any, **options: Any) -> Any:
        if len(args) > arity:
            rule(*args)  # raises TypeError
        if options:
            args, options = _bind_options(rule, name, operands, args, options)
        node_class, floating, values, tracked = None, True, list(args), []
        for i, x in enumerate(args):
            if isinstance(x, Node):
                if not slots[i]:
                    values[i] = _plain_value(name, f"argument {i + 1}", x)
                    continue
                values[i] = data = x.data
                node_class = node_class or type(x)
                if x.requires_grad:
                    tracked.append((x, slots[i]))
                if (dtype := data.dtype) is not FLOAT32 and dtype.char not in "fd":
                    floating = False
            elif type(x) is np.ndarray:
                floating = floating and (x.dtype.char in "fd" or not slots[i])
            elif x is not None and type(x) is not float and type(x) is not int:
                plain = _plain_value(name, f"argument {i + 1}", x)
                if slots[i]:
                    floating = False
                else:
                    values[i] = plain
        compute = rule
        if (node_class is None or not floating) and _to_floating(name, values, slots, node_class is None):
            compute = functools.partial(_in_float32, rule, slots)
        try:
            result = compute(*values, **options)
        except (TypeError, ValueError) as error:
            _raise_with_shapes(error, name, rule, values, slots, options)
        if type(result) is not tuple or len(result) - 1 != (count or len(args)):
            _raise_bad_result(name, result, count or len(args))
        checked = mode.anomaly
        if checked:
            anomaly.check_value(name, result[0], [v for i, v in enumerate(values) if slots[i]])
        if node_class is None:
            return result[0]
        value, node = result[0], node_class.__new__(node_class)
        node.data = value if type(value) is np.ndarray else np.asarray(value)
        node.grad = node._hooks = None
        if tracked and mode.recording:
            node.requires_grad, node._edges = True, tuple([(x, result[slot]) for x, slot in tracked])
        else:
            node.requires_grad, node._edges = False, ()
        node._op, node._order = name, next(clock)
        node._line = anomaly.caller() if checked else None
        return node

    return apply


@functools.cache
def _signature(rule: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(rule)


def _bind_options(
    rule: Callable[..., Any], name: str, operands: list[str], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move operands that were passed by keyword into `args`, and replace each other option by its plain value."""
    if not options.keys().isdisjoint(operands):
        bound = _signature(rule).bind(*args, **options)
        bound.apply_defaults()
        args, options = bound.args, bound.kwargs
    return args, {key: _plain_value(name, key, x) for key, x in options.items()}


def _plain_value(name: str, parameter: str, x: Any) -> Any:
    """`x` without its tensor, if it is one, and as a Python number, if it is a NumPy scalar.

    Raises:
        TypeError: `x` is, or contains, a tensor whose gradient would be lost.
    """
    if isinstance(x, Node):
        if x.requires_grad:
            raise TypeError(f"{name}: {parameter} has no gradient; expected a plain array")
        return x.data
    if type(x) in (list, tuple) and any(isinstance(item, Node) for item in x):
        raise TypeError(f"{name}: {parameter}: a tensor inside a {type(x).__name__} would lose its gradient")
    return x.item() if isinstance(x, np.floating) else x


def _to_floating(name: str, values: list[Any], slots: Sequence[int], numbers: bool) -> bool:
    """Convert lists, integer arrays and NumPy scalars among the operands in place; `numbers`: Python numbers too.

    They get the dtype of the first floating array, or of the first floating
    scalar, or float32. NumPy would promote a float32 array beside an integer
    array to float64, and compute e^a of 8-bit integers in float16.

    Returns:
        Whether all operands are float16.

    Raises:
        TypeError: an operand has a dtype other than bool, integers and floats.
    """
    operands = [i for i, v in enumerate(values) if slots[i] and v is not None]
    for i in operands:
        try:
            dtype = np.asarray(values[i]).dtype
        except ValueError as error:  # a nested list whose rows have different lengths
            raise ValueError(f"{name}: argument {i + 1}: {error}") from error
        if dtype.kind not in "biuf":
            objects = ", in which a tensor would lose its gradient" if dtype.kind == "O" else ""
            raise TypeError(f"{name}: argument {i + 1} has dtype {dtype}{objects}; expected real numbers")
    floats = [
        v for v in (values[i] for i in operands) if isinstance(v, (np.ndarray, np.floating)) and v.dtype.kind == "f"
    ]
    dtypes = [v.dtype for v in sorted(floats, key=lambda v: isinstance(v, np.generic))]
    dtype = dtypes[0] if dtypes else np.dtype(np.float32)
    for i in operands:
        v = values[i]
        if isinstance(v, np.ndarray):
            values[i] = v if v.dtype.kind == "f" else np.asarray(v, dtype)
        elif numbers or isinstance(v, (list, tuple)):
            values[i] = np.asarray(v, dtype)
        elif isinstance(v, np.generic):
            values[i] = v.item()
    return all(values[i].dtype == np.float16 for i in operands if isinstance(values[i], np.ndarray))


def _in_float32(rule: Callable[..., Any], slots: Sequence[int], *values: Any, **options: Any) -> Any:
    """The rule's result for float16 operands: computed in float32 and rounded once, because sums in float16 overflow."""
    wide = [v.astype(np.float32) if slots[i] and isinstance(v, np.ndarray) else v for i, v in enumerate(values)]
    result = rule(*wide, **options)
    if type(result) is not tuple or not result:
        return result
    value, *pullbacks = result
    return np.asarray(value).astype(np.float16), *(
        lambda g, pullback=pullback: pullback(g.astype(np.float32)) for pullback in pullbacks
    )


def _raise_with_shapes(
    error: Exception,
    name: str,
    rule: Callable[..., Any],
    values: list[Any],
    slots: Sequence[int],
    options: dict[str, Any],
) -> NoReturn:
    """Raise the rule's error with the operation's name and the shapes of its operands, unless it names it itself.

    A TypeError also gets the options, because NumPy names only their types.
    """
    if str(error).startswith(f"{name}:"):
        raise error
    shapes = " and ".join(str(np.shape(v)) for i, v in enumerate(values) if slots[i] and v is not None)
    if isinstance(error, ValueError):
        raise ValueError(f"{name}: operands of shape {shapes}: {error}") from error
    named = dict(zip(_signature(rule).parameters, values, strict=False)) if not isinstance(slots, range) else {}
    shown = {k: v for i, (k, v) in enumerate(named.items()) if not slots[i]} | options
    listed = "".join(f", {key} = {' '.join(repr(value).split())[:80]}" for key, value in shown.items())
    raise TypeError(f"{name}: operands of shape {shapes}{listed}: {error}") from error


def _raise_bad_result(name: str, result: Any, operands: int) -> NoReturn:
    if type(result) is not tuple:
        raise TypeError(f"{name}: the rule returned {type(result).__name__}; expected a tuple (value, pullback, ...)")
    raise TypeError(f"{name}: the rule returned {len(result) - 1} pullbacks for {operands} operands")
