"""The source code of rules, and the lines in it that compute the value and each gradient."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass
class Sources:
    """The rules whose source is shown.

    Attributes:
        texts: per rule a dict with `file`, the number `first` of its first line, and its `text`.
    """

    texts: list[dict[str, Any]] = field(default_factory=list)
    _index: dict[Any, int] = field(default_factory=dict)

    def value(self, rule: Callable[..., Any]) -> tuple[int, list[int]]:
        """Return the index of the rule's source, and the numbers of the lines that compute its value."""
        return self._add(rule), value_lines(rule)

    def pullback(self, rule: Callable[..., Any], pullback: Any) -> tuple[int, list[int]]:
        """Return the index of the rule's source, and the numbers of the lines of the pullback."""
        source = self._add(rule)
        code = getattr(pullback, "__code__", None)
        if code is None or code.co_filename != rule.__code__.co_filename:
            return source, []
        lines = [line for *_, line in code.co_lines() if line]
        return source, list(range(min(lines), max(lines) + 1))

    def _add(self, rule: Callable[..., Any]) -> int:
        code = rule.__code__
        if code not in self._index:
            lines, first = inspect.getsourcelines(rule)
            path = Path(code.co_filename)
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
            self._index[code] = len(self.texts)
            self.texts.append({"file": name, "first": first, "text": "".join(lines)})
        return self._index[code]


@functools.cache
def value_lines(rule: Callable[..., Any]) -> list[int]:
    """Return the numbers of the lines in its file in which a rule computes its value.

    They are the first element of the tuple that the rule returns, and, if
    that is a name, the assignments to this name.
    """
    lines, first = inspect.getsourcelines(rule)
    function = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(function, ast.FunctionDef)
    returns = [statement for statement in function.body if isinstance(statement, ast.Return)]
    if not returns or not isinstance(returns[-1].value, ast.Tuple):
        return []
    value = returns[-1].value.elts[0]
    numbers = _lines(value)
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    for statement in ast.walk(function):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AugAssign):
            targets = [statement.target]
        assigned = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        if assigned & names:
            numbers |= _lines(statement)
    return sorted(first + line - 1 for line in numbers)


def _lines(node: Any) -> set[int]:
    return set(range(node.lineno, node.end_lineno + 1))
