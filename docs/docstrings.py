"""A griffe extension: examples in docstrings become code blocks.

Google style has no fences: `Example:` is followed by indented code, with or without `>>>`. Markdown would set it as text.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

SECTION = re.compile(r"^Examples?:\n((?: {4}.*\n?|[ \t]*\n)+)", re.MULTILINE)
DOCTEST = re.compile(r"^>>> .*\n(?:.+\n?)*", re.MULTILINE)


def fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```"


def as_markdown(text: str) -> str:
    """Return a docstring whose examples are fenced."""

    def section(found: re.Match[str]) -> str:
        code = textwrap.dedent(found[1])
        return found[0] if "```" in code else f"**Example:**\n\n{fenced(code)}\n\n"

    text = SECTION.sub(section, text)
    parts = re.split(r"(^```python\n.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else DOCTEST.sub(lambda m: fenced(m[0]) + "\n", part) for i, part in enumerate(parts))


class CodeExamples(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
