"""Modes of the current thread: whether operations are recorded, and whether their values are checked for NaN."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class Mode(threading.local):
    """The modes; each thread has its own."""

    recording = True
    anomaly = False


mode = Mode()


class Switch(threading.local):
    """Set one mode inside a `with` block or a decorated function, and restore it afterwards.

    One object may be used again, inside itself, and in several threads:
    `before` is a stack, and each thread has its own.
    """

    def __init__(self, name: str, attribute: str, value: bool) -> None:
        self.name, self.attribute, self.value = name, attribute, value
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(getattr(mode, self.attribute))
        setattr(mode, self.attribute, self.value)

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
    return _switch("no_grad", "recording", False, fn)


def detect_anomaly(fn: Callable[..., Any] | None = None) -> Any:
    """Check every value and every gradient; the first NaN or infinity raises FloatingPointError.

    The error names the operation and the line that called it. Slow, because
    each array is read once more. Used like `no_grad`.

    Raises:
        TypeError: the decorated object is not a function, or it is one with `async`.
    """
    return _switch("detect_anomaly", "anomaly", True, fn)


def _switch(name: str, attribute: str, value: bool, fn: Callable[..., Any] | None) -> Any:
    switch = Switch(name, attribute, value)
    return switch if fn is None else switch(fn)
