"""The process of one side: python -m compare.porting.worker SIDE DTYPE LAYOUT FOLDER PARENT.

Builds the user's model, and answers the requests of `side.Side`, which arrive
as lines of JSON. Arrays travel in .npz files in the folder. What the user's
code prints goes to the log.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.runs import UserError
from minigrad.runs.signals import end_with_parent

from .. import machine
from ..jobs.turns import connect
from . import adapters
from .adapters.base import Adapter, Arrays
from .side import SideSpec

MODULE = "compared_model"  # name under which the user's file is imported
ANSWERS = "answer.npz"
MESSAGE = 300  # characters of an exception's message in the sentence; the log has the others
Answer = tuple[Any, Arrays | None]  # a value for JSON, and arrays if the method returns some


def load(spec: SideSpec, dtype: str, layout: Any) -> Adapter:
    """Execute the user's file, call the function, and return its model.

    Raises:
        UserError: the framework is not installed, the file has no such function, or it returns no model.
    """
    try:
        adapter = adapters.load(spec.framework)
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed; expected pip install {error.name} first") from error
    random.seed(0)
    np.random.seed(0)
    adapter.prepare(dtype)
    module = _execute(spec.file)
    function = getattr(module, spec.function, None)
    if not inspect.isfunction(function) and not inspect.isclass(function):
        known = [name for name, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == MODULE]
        raise UserError(f"no function {spec.function}; expected one of {', '.join(known) or 'its functions'}")
    return adapter.adapt(function(), dtype, layout)  # type: ignore[no-any-return]


def _execute(file: Path) -> ModuleType:
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(MODULE, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return module


def _inputs(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the arrays `input 0`, `input 1`, ... of a request."""
    return [arrays[name] for name in sorted(arrays, key=lambda n: (len(n), n)) if name.startswith("input ")]


def _weights(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return None, adapter.weights()


def _set_weights(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return adapter.set_weights(arrays), None  # type: ignore[func-returns-value]


def _describe(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return adapter.describe(_inputs(arrays)).as_dict(), None


def _record(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return None, adapter.record(_inputs(arrays), **options)


def _single(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return None, {"output": adapter.single(inputs=_inputs(arrays), **options)}


def _train(adapter: Adapter, options: Any, arrays: Arrays) -> Answer:
    return None, adapter.train(_inputs(arrays), arrays["targets"], **options)


METHODS: dict[str, Callable[[Adapter, Any, Arrays], Answer]] = {
    "input_shape": lambda adapter, options, arrays: (adapter.input_shape(), None),
    "vocabulary": lambda adapter, options, arrays: (adapter.vocabulary(), None),
    "describe": _describe,
    "weights": _weights,
    "set_weights": _set_weights,
    "record": _record,
    "single": _single,
    "train": _train,
    "save": lambda adapter, options, arrays: (str(adapter.save(Path(options["path"]))), None),
    "peak_mb": lambda adapter, options, arrays: (machine.peak_memory_mb(), None),
}


def _answer(adapter: Adapter, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    arrays: Arrays = {}
    if request["arrays"] is not None:
        with np.load(request["arrays"]) as file:
            arrays = {name.removeprefix("array "): file[name] for name in file.files}
    value, results = METHODS[request["method"]](adapter, request["options"], arrays)
    if results is None:
        return {"value": value, "arrays": None}
    path = folder / ANSWERS
    with path.open("wb") as stream:
        np.savez(stream, **{f"array {name}": array for name, array in results.items()})  # type: ignore[arg-type]
    return {"value": value, "arrays": str(path)}


def _attempt(function: Callable[[], dict[str, Any]], file: Path) -> dict[str, Any]:
    """Return what the function returns, or {"error": ...}: a sentence. The log has the traceback.

    Args:
        function: answers a request.
        file: the user's file.
    """
    try:
        return function()
    except UserError as error:
        return {"error": str(error)}
    except Exception as error:
        traceback.print_exc()
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
        position = f" ({file.name}, line {lines[-1]})" if lines else ""
        message = " ".join(str(error).split())
        return {"error": f"{type(error).__name__}: {message[:MESSAGE] or 'no message'}{position}"}


def main(argv: list[str]) -> None:
    """Run the process of one side."""
    end_with_parent(int(argv[4]))
    streams = connect()
    assert streams.messages is not None
    assert streams.replies is not None
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - the user's code must not read the requests
    spec, dtype, folder = SideSpec.parse(argv[0]), argv[1], Path(argv[3])
    models: list[Adapter] = []

    def start() -> dict[str, Any]:
        models.append(load(spec, dtype, argv[2] or None))
        return {"value": None, "arrays": None}

    def send(answer: dict[str, Any]) -> None:
        streams.messages.write(json.dumps(answer) + "\n")  # type: ignore[union-attr]
        streams.messages.flush()  # type: ignore[union-attr]

    send(answer := _attempt(start, spec.file))
    while "error" not in answer or models:
        if not (line := streams.replies.readline()):
            return
        request = json.loads(line)
        send(_attempt(lambda request=request: _answer(models[0], request, folder), spec.file))  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(0)  # a normal exit of torch or TensorFlow takes over a second
