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
from .modes import Observer, mode
from .tape import Node, clock


class Operand:
    """Marks the annotation `Array`."""


# The slots of a rule with `*operands`: argument i has the pullback i + 1, whatever their number is.
EVERY_ARGUMENT = range(1, sys.maxsize)

# The dtypes of operands that need no conversion. `in` compares identity first, which takes half the time of `.kind`.
USUAL = (np.dtype(np.float32), np.dtype(np.float64))

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

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
        TypeError: the rule has no operand, a parameter without annotation, or
            an operand that can only be passed by keyword.
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
    kinds = {p: parameter.kind for p, parameter in parameters.items()}
    if kinds[operands[0]] is inspect.Parameter.VAR_POSITIONAL and next(iter(parameters)) == operands[0]:
        return operands, EVERY_ARGUMENT
    for p, kind in kinds.items():
        if kind not in POSITIONAL and (p in operands or kind is not inspect.Parameter.KEYWORD_ONLY):
            raise TypeError(
                f"operation: {name}: parameter {p} is {kind.description}; expected operands that can be passed by"
                " position, or only *operands before the options"
            )
    return operands, [operands.index(p) + 1 if p in operands else 0 for p in parameters]


def _recorded(rule: Callable[..., Any], name: str, operands: list[str], slots: Sequence[int]) -> Callable[..., Any]:
    """The operation. It runs many times per training step, so it makes few calls and no copies."""
    arity = len(slots)
    count = None if slots is EVERY_ARGUMENT else len(operands)
    labels = range(arity) if count is None else ["", *operands]  # per slot: the operand's number or its name

    def apply(*args: Any, **options: Any) -> Any:
        if len(args) > arity:
            rule(*args)  # raises TypeError
        if options:
            args, options = _bind_options(rule, name, operands, args, options)
        # Unwrap the tensors.
        node_class, usual, values, tracked = None, True, list(args), []
        for i, x in enumerate(args):
            slot = slots[i]
            if isinstance(x, Node) and slot:
                values[i] = data = x._data
                node_class = node_class or type(x)
                if x._requires_grad:
                    tracked.append((x, slot))
                usual = usual and data.dtype in USUAL
            elif type(x) is np.ndarray:
                usual = usual and (x.dtype in USUAL or not slot)
            elif x is not None and type(x) is not float and type(x) is not int:
                plain = _plain_value(name, f"argument {i + 1}", x)
                if slot:
                    usual = False
                else:
                    values[i] = plain
        compute = rule
        if (node_class is None or not usual) and _to_floating(name, values, slots, node_class is None):
            compute = functools.partial(_in_float32, rule, slots)
        # Compute.
        try:
            result = compute(*values, **options)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            _raise_with_shapes(error, name, rule, values, slots, options)
        if type(result) is not tuple or len(result) - 1 != (count or len(args)):
            _raise_bad_result(name, result, count or len(args))
        observers = mode.observers
        if observers:
            _report_value(observers, name, {labels[slots[i]]: v for i, v in enumerate(values) if slots[i]}, result[0])
        if node_class is None:
            return result[0]
        # Record. A list comprehension would cost 0.2 us more.
        value, edges = result[0], []
        if tracked and mode.recording:
            for x, slot in tracked:
                edges.append((x, result[slot], labels[slot]))
        node = node_class.__new__(node_class)
        node._data = value if type(value) is np.ndarray else np.asarray(value)
        node._requires_grad, node._edges, node._op, node._order = bool(edges), edges, name, next(clock)
        node._grad = node._hooks = None
        node._line = None
        if observers:
            node._line = anomaly.caller()
            _report(observers, node, rule, args, labels, slots, options)
        return node

    return apply


def _report_value(observers: Sequence[Observer], name: str, operands: dict[str | int, Any], value: Any) -> None:
    for observer in observers:
        observer.computed(name, operands, value)


def _report(
    observers: Sequence[Observer],
    node: Node,
    rule: Callable[..., Any],
    args: tuple[Any, ...],
    labels: Sequence[str | int],
    slots: Sequence[int],
    options: dict[str, Any],
) -> None:
    """Call the observers with the operands and the options of a recorded operation."""
    operands = {labels[slots[i]]: x for i, x in enumerate(args) if slots[i]}
    names = [] if isinstance(slots, range) else list(_signature(rule).parameters)
    options = {names[i]: x for i, x in enumerate(args) if not slots[i]} | options
    for observer in observers:
        observer.recorded(node, rule, operands, options)


@functools.cache
def _signature(rule: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(rule)


def _bind_options(
    rule: Callable[..., Any], name: str, operands: list[str], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move operands that were passed by keyword into `args`, and replace each other option by its plain value."""
    parameters = _signature(rule).parameters
    if not options.keys() <= parameters.keys():
        unknown = ", ".join(options.keys() - parameters.keys())
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown!r}; expected {', '.join(parameters)}")
    if not options.keys().isdisjoint(operands):
        try:
            bound = _signature(rule).bind(*args, **options)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
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
        return x._data
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
        # Operations that only move elements accept plain arrays of strings and dates.
        movable = numbers and isinstance(values[i], np.ndarray) and dtype.kind not in "cO"
        if dtype.kind not in "biuf" and not movable:
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
            values[i] = np.asarray(v, dtype) if v.dtype.kind in "biu" else v
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
    _check_present(rule, name, values)
    if isinstance(error, AttributeError) or str(error).startswith(f"{name}:"):
        raise error
    shapes = " and ".join(str(np.shape(v)) for i, v in enumerate(values) if slots[i] and v is not None)
    source = f"{name}: operands of shape {shapes}" if shapes else name
    if isinstance(error, (ValueError, IndexError)):
        kind = ValueError if isinstance(error, ValueError) else IndexError
        raise kind(f"{source}: {error}") from error
    named = dict(zip(_signature(rule).parameters, values, strict=False)) if not isinstance(slots, range) else {}
    shown = {k: v for i, (k, v) in enumerate(named.items()) if not slots[i]} | options
    listed = "".join(f", {key} = {' '.join(repr(value).split())[:80]}" for key, value in shown.items())
    raise TypeError(f"{source}{listed}: {error}") from error


def _check_present(rule: Callable[..., Any], name: str, values: list[Any]) -> None:
    """Raise TypeError if an operand is None, but not annotated `Array | None`."""
    hints = typing.get_type_hints(rule, include_extras=True)
    for parameter, v in zip(hints, values, strict=False):
        if v is None and hints[parameter] is Array:
            raise TypeError(f"{name}: {parameter} is None; expected an array or a number") from None


def _raise_bad_result(name: str, result: Any, operands: int) -> NoReturn:
    if type(result) is not tuple:
        raise TypeError(f"{name}: the rule returned {type(result).__name__}; expected a tuple (value, pullback, ...)")
    raise TypeError(f"{name}: the rule returned {len(result) - 1} pullbacks for {operands} operands")
