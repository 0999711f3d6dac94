"""Modes of the current thread: whether operations are recorded, and which observers see them."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from .tape import Edge, Node


class Observer:
    """Sees each operation and each call of a pullback; `detect_anomaly` and the step player are observers.

    The methods get the engine's own arrays, which may change later: an
    observer that keeps one must copy it. By default, they do nothing.
    """

    def computed(self, op: str, operands: Mapping[str | int, Any], value: Any) -> None:
        """Called with the value of each operation, before it is recorded; the operands are arrays and numbers."""

    def recorded(
        self, node: Node, rule: Callable[..., Any], operands: Mapping[str | int, Any], options: Mapping[str, Any]
    ) -> None:
        """Called when `node` has been recorded; the operands are tensors, arrays and numbers, as they were passed."""

    def pulled_back(self, node: Node, edge: Edge, incoming: np.ndarray, returned: Any) -> None:
        """Called with the gradient of `node` and with what the pullback of `edge` returned for it."""

    def added(self, node: Node, edge: Edge, total: np.ndarray) -> None:
        """Called next, with the gradient of the operand of `edge` summed so far."""


class Mode(threading.local):
    """The modes; each thread has its own."""

    recording = True
    observers: tuple[Observer, ...] = ()


mode = Mode()


class Switch(threading.local):
    """Change one mode inside a `with` block or a decorated function, and restore it afterwards.

    One object may be used again, inside itself, and in several threads:
    `before` is a stack, and each thread has its own.
    """

    def __init__(self, name: str, attribute: str, change: Callable[[Any], Any]) -> None:
        self.name, self.attribute, self.change = name, attribute, change
        self.before: list[Any] = []

    def __enter__(self) -> None:
        self.before.append(getattr(mode, self.attribute))
        setattr(mode, self.attribute, self.change(self.before[-1]))

    def __exit__(self, *error: object) -> None:
        setattr(mode, self.attribute, self.before.pop())

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return `fn` in this mode.

        Raises:
            TypeError: `fn` is not a function, or it is one with `async`.
        """
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(
                f"{self.name}: {fn.__name__} is an async function, and other tasks would run in its mode while it waits;"
                f" use `with {self.name}():` around code without await"
            )
        if not callable(fn) or isinstance(fn, (type, staticmethod)):
            raise TypeError(f"{self.name}: expected a function to decorate; got {type(fn).__name__}")
        if inspect.isgeneratorfunction(fn):
            return functools.wraps(fn)(self._generator(fn))

        @functools.wraps(fn)
        def decorated(*args: Any, **options: Any) -> Any:
            with self:
                return fn(*args, **options)

        return decorated

    def _generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a generator function that is in this mode while `fn` runs, but not while it waits at a `yield`."""

        def decorated(*args: Any, **options: Any) -> Any:
            generator = fn(*args, **options)
            resume = functools.partial(next, generator)
            while True:
                try:
                    with self:
                        value = resume()
                except StopIteration as end:
                    return end.value
                try:
                    resume = functools.partial(generator.send, (yield value))
                except BaseException as error:  # also GeneratorExit, with which `close` ends a generator
                    resume = functools.partial(generator.throw, error)

        return decorated


def no_grad(fn: Callable[..., Any] | None = None) -> Any:
    """Record nothing inside the `with` block or the decorated function.

    Both `@no_grad()` and `@no_grad` decorate a function. A generator function
    is in this mode while it runs, not while the caller uses what it yields.

    Raises:
        TypeError: the decorated object is not a function, or it is one with `async`.
    """
    return _switch(Switch("no_grad", "recording", lambda _: False), fn)


def detect_anomaly(fn: Callable[..., Any] | None = None) -> Any:
    """Check every value and every gradient; the first NaN or infinity raises FloatingPointError.

    The error names the operation and the line that called it. Slow, because
    each array is read once more. Used like `no_grad`.

    Raises:
        TypeError: the decorated object is not a function, or it is one with `async`.
    """
    from .anomaly import FiniteCheck

    return _switch(Switch("detect_anomaly", "observers", lambda observers: (*observers, FiniteCheck())), fn)


def observe(observer: Observer) -> Switch:
    """Add an observer inside the `with` block, after those that are active already."""
    return Switch("observe", "observers", lambda observers: (*observers, observer))


def _switch(switch: Switch, fn: Callable[..., Any] | None) -> Any:
    return switch if fn is None else switch(fn)
