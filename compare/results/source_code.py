"""The program that a user of each framework writes for recipe `simple`, and its number of lines.

The programs are in `examples/programs` of the repository, and in `compare/programs` of an installed package.
"""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE.parent / "examples", PACKAGE)
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def program(name: str) -> str | None:
    """Return the text of a program, or None if there is no such file.

    Args:
        name: as in `Contender.program`, for example `programs/with_torch`.
    """
    files = (folder / f"{name}.py" for folder in FOLDERS)
    return next((file.read_text(encoding="utf-8") for file in files if file.is_file()), None)


def count_lines(text: str) -> int:
    """Return the number of lines of a program that hold code: empty lines, comments and docstrings do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    counted = {n for t in tokens if t.type not in _NO_CODE for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            counted -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(counted)
