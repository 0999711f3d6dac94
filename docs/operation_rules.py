"""What a rule of minigrad.ops says about itself: its formula, signature, place and source."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import griffe

import minigrad
from minigrad import ops

ROOT = Path(minigrad.__file__).parents[1]


@functools.cache
def docstring(function: Callable[..., Any]) -> list[griffe.DocstringSection]:
    """The sections of a docstring in the Google style."""
    return griffe.Docstring(inspect.getdoc(function) or "").parse("google", warnings=False)


def formula_and_notes(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The lines with y and dL/da of a docstring, and its other paragraphs before `Args:`."""
    text = next(part.value for part in docstring(function) if part.kind is griffe.DocstringSectionKind.text)
    paragraphs = [re.sub(r"\n\s*", " ", paragraph) for paragraph in text.split("\n\n")]
    # The second paragraph has the gradient if it does not fit into the summary line.
    count = 1 if "dL/d" in paragraphs[0] else 2
    value, *parts = [part for paragraph in paragraphs[:count] for part in re.split(r" {3,}|[,;] +(?=dL)", paragraph)]
    notes = [part for paragraph in paragraphs[count:] for part in re.split(r" {3,}", paragraph)]
    gradients = [part for part in parts if "dL" in part] + [note for note in notes if note.startswith("dL")]
    return [value, *gradients], [part for part in [*parts, *notes] if part not in gradients]


def signature(name: str, function: Callable[..., Any]) -> str:
    """The signature with annotations, on one line if it is short."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{star}{parameter.name}: {parameter.annotation}{default}")
    line = f"{name}({', '.join(parts)})"
    return line if len(line) <= 60 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def location(function: Callable[..., Any]) -> str:
    """The file and the line of a rule."""
    rule = inspect.unwrap(function)
    return f"{Path(inspect.getfile(rule)).relative_to(ROOT).as_posix()}:{inspect.getsourcelines(rule)[1]}"


def called_by(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The functions and classes of minigrad.ops that a rule uses, directly or not, except other public operations."""
    called: list[Callable[..., Any]] = []
    remaining = [function]
    while remaining:
        rule = inspect.unwrap(remaining.pop(0))
        names = {
            x.id: None for x in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(rule)))) if isinstance(x, ast.Name)
        }
        for name in names:
            member: Any = getattr(inspect.getmodule(rule), name, None)
            plain: Any = inspect.unwrap(member) if callable(member) else None
            if not (inspect.isfunction(plain) or inspect.isclass(plain)) or name in ops.__all__:
                continue
            if plain.__module__.startswith("minigrad.ops") and member not in called:
                called.append(member)
                remaining.append(member)
    return called
