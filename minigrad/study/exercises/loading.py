"""Runs the files of a learner as modules, although their names begin with a digit."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

_modules: dict[tuple[Path, bytes], ModuleType] = {}


def load(path: Path) -> ModuleType:
    """Run a file and return its module. A file that has not changed runs once per process.

    Raises:
        FileNotFoundError: there is no such file.
        SyntaxError: it is not Python.
        Exception: what the file itself raises.
    """
    content = path.read_bytes()
    if (path, content) not in _modules:
        module = ModuleType(f"exercise_{path.stem}")
        module.__file__ = str(path)
        code = compile(content, str(path), "exec", dont_inherit=True)
        sys.modules[module.__name__] = module  # dataclasses look their module up
        exec(code, module.__dict__)
        _modules[path, content] = module
    return _modules[path, content]


def mine(file: str, name: str) -> ModuleType:
    """Return your solution of an earlier exercise, as a module.

    Args:
        file: the file that needs it: pass `__file__`.
        name: the exercise, such as "04_backward".

    Example:
        backward = mine(__file__, "04_backward").backward
    """
    return load(Path(file).absolute().parent / f"{name}.py")
