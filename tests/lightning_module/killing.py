"""Runs in processes of their own, killed at a chosen moment so that a test is deterministic."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_helpers import CHOSEN, PROG

Moment = Callable[[], None]

# A process that has imported the package and started nothing. Each run is a fork of it, which saves the imports.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["lightning_module.cli", "lightning_module.model"])


def killed(moment: Moment, *argv: str) -> bool:
    """Run the command in a process that `moment` prepares to end by SIGKILL; return whether it did."""
    status = forked(_run, moment, argv)
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def forked(function: Callable[..., None], *args: Any) -> int | None:
    """Call a function of a test module in a fork of the prepared process; return the exit status."""
    child = SERVER.Process(target=_call, args=(function, args))
    child.start()
    child.join(120)
    return child.exitcode


def _call(function: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    sys.argv = [PROG]
    os.environ.pop(CHOSEN, None)
    function(*args)


def _run(moment: Moment, argv: tuple[str, ...]) -> None:
    from lightning_module.cli import main

    moment()
    main(argv)


class Calls:
    """A moment: the n-th call of a function, before it or after it."""

    def __init__(self, module: str, name: str, at: int, *, after: bool = False) -> None:
        self.module, self.name, self.at, self.after = module, name, at, after

    def __call__(self) -> None:
        owner: Any = __import__(self.module, fromlist=["_"])
        *path, name = self.name.split(".")
        for part in path:
            owner = getattr(owner, part)
        real, seen = getattr(owner, name), []

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(1)
            if len(seen) == self.at and not self.after:
                die()
            result = real(*args, **kwargs)
            if len(seen) == self.at:
                die()
            return result

        setattr(owner, name, call)


class Puts:
    """A moment: the n-th rename of a draft to its file, before it or after it; with `name`, only files of that name count."""

    def __init__(self, at: int, name: str | None = None, *, after: bool = False) -> None:
        self.at, self.name, self.after = at, name, after

    def __call__(self) -> None:
        seen: list[str] = []

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def put(source: Any, target: Any, **options: Any) -> Any:
                name = Path(target).name
                if self.name in (None, name):
                    seen.append(name)
                if self.name in (None, name) and len(seen) == self.at and not self.after:
                    die()
                result = real(source, target, **options)
                if self.name in (None, name) and len(seen) == self.at:
                    die()
                return result

            return put

        os.rename, os.replace = counted(os.rename), counted(os.replace)


class Copying:
    """A moment: half of the n-th last.ckpt has been copied from the system's temporary folder.

    Renames between folders fail, as if the temporary folder were on another
    file system. A run that copies no checkpoint is killed at training step `step`.
    """

    def __init__(self, at: int, step: int) -> None:
        self.at, self.step = at, step

    def __call__(self) -> None:
        rename, seen = os.rename, []

        def renamed(source: Any, target: Any, **options: Any) -> None:
            if Path(source).absolute().parent != Path(target).absolute().parent:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            rename(source, target, **options)

        def copied(source: Any, target: Any, **_: Any) -> Any:
            seen.extend([1] if Path(target).name == "last.ckpt" else [])
            content = Path(source).read_bytes()
            Path(target).write_bytes(content[: len(content) // 2] if len(seen) == self.at else content)
            if len(seen) == self.at:
                die()
            return target

        os.rename, shutil.copyfile = renamed, copied
        Calls("lightning_module.model", "LitClassifier.training_step", self.step)()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
