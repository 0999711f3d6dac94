"""Code of the contenders, read from its files: what a user of each framework writes.

A reference is `module:name`, `lightning_module.model:LitClassifier.training_step`
say. Nothing of it is imported, since that would bring the framework.

What `Contender.user_code` counts: the functions here that run while the
recipe `simple` is trained in that framework, from the network to the loop.
All but by_hand's know every other recipe too, so they are as general as each
other, and longer than this one recipe needs. The framework itself does not
count, of minigrad its engine, nor what validates, saves and reports. A line
counts if it holds code: not if it is empty, a comment or of a docstring, nor
if its statement is about the `watch` of a race.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import textwrap
import tokenize
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_EMPTY = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def source(reference: str) -> str:
    """The function or class as it stands in its file, moved to the left.

    Raises:
        LookupError: there is no such module, or no such name in it.
    """
    text, node = _find(reference)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno]))


def lines(reference: str) -> int:
    """How many lines of code it has, by the rule above. Raises LookupError as `source` does."""
    text = source(reference)
    tree = ast.parse(text)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    held = {n for t in tokens if t.type not in _EMPTY for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(tree):
        if _is_docstring(node) or _is_about_the_watch(node):
            held -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    return len(held)


def path(module: str) -> Path:
    """The file of a module, found without importing it or its package. Raises LookupError if there is none."""
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top)
    for folder in (spec and spec.submodule_search_locations) or []:
        for file in (Path(folder, *parts).with_suffix(".py"), Path(folder, *parts, "__init__.py")):
            if file.is_file():
                return file
    raise LookupError(f"{module}: no such module")


def _find(reference: str) -> tuple[str, Definition]:
    """The text of the file that a reference leads to, and where in it."""
    module, _, name = reference.partition(":")
    text = path(module).read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        inner = (n for n in getattr(node, "body", []) if isinstance(n, Definition) and n.name == part)
        found = next(inner, None)
        if found is None:
            raise LookupError(f"{reference}: no {part} there")
        node = found
    assert isinstance(node, Definition)
    return text, node


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_about_the_watch(node: ast.AST) -> bool:
    """Whether a statement's value, or its condition, names `watch`."""
    if not isinstance(node, ast.Expr | ast.Assign | ast.If):
        return False
    told = node.test if isinstance(node, ast.If) else node.value
    return any(isinstance(part, ast.Name) and part.id == "watch" for part in ast.walk(told))
