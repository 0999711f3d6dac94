"""Read the code blocks of a Markdown page, and run them in order, as a reader would.

A block is run unless the line above it is `<!-- not run: REASON -->`. With `<!-- slow -->` it is run by the slow tests
only. With `<!-- exit status N -->` its last command must end with that status. With `<!-- output -->` a `text` block must be
what the block before it prints.

- `python` blocks of one page share a namespace.
- `sh` blocks are run by bash with the Python that runs the tests first in PATH. Lines may not install anything.
- A `yaml` or `python` block that begins with `# NAME.yaml` or `# NAME.py` is written to that file, for the blocks that
  follow. Such a `python` block is not run by itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN, SHOWN = ("python", "sh"), ("text", "yaml")
# `compare` ends with status 3 if the machine is busy, as it is when other tests run.
SHELL = 'python() { command python "$@" || { status=$?; [ "$status $2" = "3 compare" ] || return $status; }; }\n'
# Programs that change the machine, or need what a test machine lacks.
REFUSED = re.compile(r"^\s*(?:\w+=\S+\s+)*(?:make|pip|git|apt-get|srun|sbatch|ray)\b", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: the word after the fence.
        text: what is inside.
        line: the number of its first line in the page, from 1.
        not_run: why the tests do not run it; None if they do.
        slow: whether only the slow tests run it.
        output: whether it shows what the block before it prints.
        status: the exit status of its last command.
    """

    language: str
    text: str
    line: int
    not_run: str | None
    slow: bool
    output: bool
    status: int = 0

    @property
    def file(self) -> str | None:
        """The name of the file that this block is the content of."""
        name = re.match(r"# (\S+\.(?:yaml|py))\n", self.text)
        return name[1] if name and self.language in ("yaml", "python") else None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    i, notes = 0, list[str]()
    while i < len(lines):
        if fence := re.fullmatch(r"( *)(```+)(\w*).*", lines[i]):
            end = next(j for j in range(i + 1, len(lines)) if lines[j] == fence[1] + fence[2])
            text = "\n".join(line.removeprefix(fence[1]) for line in lines[i + 1 : end]) + "\n"
            reason = next((note.removeprefix("not run: ") for note in notes if note.startswith("not run: ")), None)
            status = next((int(note.split()[-1]) for note in notes if note.startswith("exit status ")), 0)
            yield Block(fence[3], text, i + 2, reason, "slow" in notes, "output" in notes, status)
            i, notes = end, []
        elif note := re.fullmatch(r" *<!-- (.*) -->", lines[i]):
            notes.append(note[1])
        elif lines[i].strip():
            notes = []
        i += 1


def run(page: Path, *, slow: bool) -> None:
    """Run the blocks of a page in the current folder.

    Args:
        page: the Markdown file.
        slow: run the slow blocks too.

    Raises:
        AssertionError: a shown output is not what the block before printed, or a command ended with another status.
        Exception: whatever a Python block raises.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.output:
            assert printed is None or printed.strip() == block.text.strip(), f"{where}: printed was:\n{printed}"
        elif block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language in RUN:
            skipped = block.not_run is not None or (block.slow and not slow)
            if skipped:
                printed = None
            elif block.language == "python":
                printed = _python(block, where, names)
            else:
                printed = _sh(block, where)


def _python(block: Block, where: str, names: dict[str, Any]) -> str:
    """Execute a block; tracebacks name the page and its line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (block.line - 1) + block.text, where.split(":")[0], "exec"), names)
    return printed.getvalue()


def _sh(block: Block, where: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euxo", "pipefail", "-c", SHELL + block.text]
    ended = subprocess.run(command, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True)
    assert ended.returncode == block.status, f"{where}: exit status {ended.returncode}; expected {block.status}"
    return ended.stdout


if __name__ == "__main__":
    sys.path.insert(0, "")  # a block may import a file that another block has written
    run(Path(sys.argv[1]), slow=sys.argv[2:] == ["slow"])
