"""The source code of the contenders, read from its files, and its number of lines.

A reference is `module:name`, for example
`lightning_module.model:LitClassifier.training_step`. The module is not
imported, since that would import the framework.

`Contender.user_code` lists the functions of this package that run while the
recipe `simple` is trained in a framework: network, optimizer, data and
training loop. All of them except those of `by_hand` support every other
recipe too, so they are equally general, and longer than this recipe needs.
The framework itself is not counted, nor minigrad's engine, nor code that
validates, saves or reports. A line counts if it holds code: it is not empty,
not a comment, not part of a docstring, and not part of a statement about
`observer` or `on_step`, by which `compare` observes the training.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import textwrap
import tokenize
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_OBSERVERS = ("observer", "on_step")
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def source(reference: str) -> str:
    """Return the source of a function or class, without its indentation.

    Raises:
        LookupError: there is no such module, or no such name in it.
    """
    text, node = _find(reference)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno]))


def count_lines(reference: str) -> int:
    """Return the number of lines of code of a function or class, by the rule of this module.

    Raises:
        LookupError: there is no such module, or no such name in it.
    """
    text = source(reference)
    tree = ast.parse(text)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    counted = {n for t in tokens if t.type not in _NO_CODE for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(tree):
        if _is_docstring(node) or _is_about_the_observer(node):
            counted -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    return len(counted)


def path(module: str) -> Path:
    """Return the file of a module, without importing the module or its package.

    Raises:
        LookupError: there is no such module.
    """
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top)
    for folder in (spec and spec.submodule_search_locations) or []:
        for file in (Path(folder, *parts).with_suffix(".py"), Path(folder, *parts, "__init__.py")):
            if file.is_file():
                return file
    raise LookupError(f"{module}: no such module")


def _find(reference: str) -> tuple[str, Definition]:
    """Return the text of the file of a reference, and the definition in it."""
    module, _, name = reference.partition(":")
    text = path(module).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = (n for n in getattr(node, "body", []) if isinstance(n, Definition) and n.name == part)
        definition = next(inner, None)
        if definition is None:
            raise LookupError(f"{reference}: no {part} there")
        node = definition
    assert isinstance(node, Definition)
    return text, node


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_about_the_observer(node: ast.AST) -> bool:
    """Return whether a statement's value, or its condition, contains the name of an observer."""
    if not isinstance(node, ast.Expr | ast.Assign | ast.If):
        return False
    expression = node.test if isinstance(node, ast.If) else node.value
    return any(isinstance(part, ast.Name) and part.id in _OBSERVERS for part in ast.walk(expression))
