"""One side of a comparison: a model in a process of its own, which the parent asks for arrays in PyTorch's layout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runs import UserError

from .. import machine
from .model import Dtype, Framework, Layout, Mode, Structure

Inputs = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
EXPECTED = "expected torch:FILE.py:FUNCTION or keras:FILE.py:FUNCTION"
# TensorFlow without oneDNN, which sums in another order; JAX computes in float64 only if it is told so.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
FLOAT64 = {"JAX_ENABLE_X64": "1"}


@dataclass(frozen=True)
class SideSpec:
    """A side as it is requested: a function without arguments that returns the model.

    Attributes:
        framework: "torch" or "keras".
        file: the Python file with the function.
        function: its name.
    """

    framework: Framework
    file: Path
    function: str

    @classmethod
    def parse(cls, text: str) -> SideSpec:
        """Read `torch:FILE.py:FUNCTION`.

        Raises:
            UserError: another form, or the file does not exist.
        """
        framework, _, rest = text.partition(":")
        file, _, function = rest.rpartition(":")
        if framework not in ("torch", "keras") or not file or not function.isidentifier():
            raise UserError(f"side {text!r}: {EXPECTED}")
        if not Path(file).is_file():
            raise UserError(f"side {text!r}: no file {file}; {EXPECTED}")
        return cls(framework, Path(file), function)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.framework}:{self.file}:{self.function}"


class Side:
    """A model in a process of its own.

    The process starts at once, and the first request waits for it, so that two
    sides start at the same time. It ends with the `with` block, or with this
    process. All arrays are in PyTorch's layout, images (n, c, h, w).

    Args:
        spec: the side.
        dtype: the data type of weights and arithmetic.
        layout: the layout of the images that the model takes; None to infer it.
        folder: an existing folder for arrays and the log; not that of another side.
        threads: number of threads of the framework; None for all processors.

    Example:
        with Side(left, "float64", None, a) as one, Side(right, "float64", None, b) as other:
            structures = one.describe(images), other.describe(images)
    """

    def __init__(
        self, spec: SideSpec, dtype: Dtype, layout: Layout | None, folder: Path, threads: int | None = None
    ) -> None:
        self.spec, self.dtype, self.folder = spec, dtype, folder
        self.log = folder / "log.txt"
        self.requests = folder / "request.npz"
        self.is_ready = False
        arguments = [str(spec), dtype, layout or "", str(folder), str(os.getpid())]
        variables = machine.thread_settings(threads or machine.threads()) | machine.NO_GPU | ENVIRONMENT
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "compare.porting.worker", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | variables | (FLOAT64 if dtype == "float64" else {}),
                start_new_session=True,  # Ctrl-C reaches this process only, which then ends the other
            )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def input_shape(self) -> tuple[int, ...] | None:
        """Return the shape of the input of a Keras model without the batch, such as (c, h, w).

        None for a model of PyTorch, and if the model has several inputs or sizes that are not fixed.
        """
        shape = self._ask("input_shape")
        return None if shape is None else tuple(shape)

    def vocabulary(self) -> int | None:
        """Return the number of embeddings if the model begins with an embedding, and so takes integers below it."""
        number: int | None = self._ask("vocabulary")
        return number

    def describe(self, inputs: Inputs) -> Structure:
        """Return the structure of the model, from one forward pass in evaluation mode.

        It must be called first, because a model may take its shapes from its first input.

        Args:
            inputs: one array, or the positional arguments of the model. Floating-point arrays are converted to `dtype`.
        """
        return Structure.from_dict(self._ask("describe", _named(inputs)))

    def weights(self) -> dict[str, np.ndarray]:
        """Return all parameters and buffers, float64, by `Parameter.name`."""
        return {name: array.astype(np.float64) for name, array in self._arrays("weights").items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set parameters and buffers by `Parameter.name`. Raises UserError for an unknown name or another shape."""
        self._ask("set_weights", weights)

    def record(self, inputs: Inputs, mode: Mode = "eval", keep_inputs: bool = False) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            inputs: as in `describe`.
            mode: in "train", dropout is off, and the buffers are restored afterwards.
            keep_inputs: whether to return the inputs of the layers.

        Returns:
            `output LAYER` in the order of the calls, `input LAYER i`, and `output`, the first output of the model.
        """
        return self._arrays("record", _named(inputs), mode=mode, keep_inputs=keep_inputs)

    def single(self, layer: str, inputs: Inputs, mode: Mode = "eval") -> np.ndarray:
        """Run one layer of the description, and return its output; masks are those of the described pass.

        Args:
            layer: the name of the call.
            inputs: the inputs of the layer; those of attention are the query, the key and the value.
            mode: as in `record`.
        """
        return self._arrays("single", _named(inputs), layer=layer, mode=mode)["output"]

    def train(
        self,
        inputs: Inputs,
        targets: np.ndarray,
        loss: str = "cross_entropy",
        optimizer: str = "sgd",
        lr: float = 0.01,
        steps: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, np.ndarray]:
        """Train on one batch without dropout; weights and buffers are restored afterwards.

        Args:
            inputs: as in `describe`.
            targets: labels for the last axis of the output, integers; for "mse" an array like the output.
            loss: "cross_entropy" of logits, or "mse".
            optimizer: the framework's "sgd", "adam" or "adamw".
            lr: learning rate.
            steps: number of updates; with 0, the loss and the gradients only.
            settings: settings of the optimizer by PyTorch's names, such as `weight_decay`, `momentum`, `betas` and
                `eps`; by default those of the framework. And `reduction` of the loss, "mean" or "sum".

        Returns:
            `loss K`, `gradient NAME K` and, after the update, `weight NAME K`, with the buffers, for K from 1.
        """
        options = {"loss": loss, "optimizer": optimizer, "lr": lr, "steps": steps, "settings": dict(settings or {})}
        return self._arrays("train", _named(inputs) | {"targets": targets}, **options)

    def check_repeat(self, inputs: Inputs, mode: Mode = "eval") -> str | None:
        """Run the model twice, and return the first layer whose outputs differ; None if they are equal.

        The name is "" if only the output of the model differs.
        """
        first, second = self.record(inputs, mode), self.record(inputs, mode)
        names = (name for name, array in first.items() if not np.array_equal(array, second[name], equal_nan=True))
        different = next(names, None)
        return None if different is None else different.removeprefix("output").lstrip()

    def save(self, path: Path) -> Path:
        """Save the weights, and return the file.

        Args:
            path: with the suffix .pt, .pth or .safetensors, or in Keras .weights.h5 or .keras; another name gets the suffix
                .pt or .weights.h5. The file has the data type of this side.
        """
        return Path(self._ask("save", path=str(path)))

    def peak_mb(self) -> float:
        """Return the peak memory of the process in MB."""
        return float(self._ask("peak_mb"))

    def _ask(self, method: str, arrays: Mapping[str, np.ndarray] | None = None, **options: Any) -> Any:
        return self._request(method, arrays, options)["value"]

    def _arrays(
        self, method: str, arrays: Mapping[str, np.ndarray] | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        path = Path(self._request(method, arrays, options)["arrays"])
        with np.load(path) as file:
            results = {name.removeprefix("array "): file[name] for name in file.files}
        path.unlink()
        return results

    def _request(self, method: str, arrays: Mapping[str, np.ndarray] | None, options: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises:
            UserError: the model cannot be built, the user's code has raised an exception, or the process has ended.
        """
        if not self.is_ready:
            self._read()
            self.is_ready = True
        if arrays is not None:
            with self.requests.open("wb") as stream:
                np.savez(stream, **{f"array {name}": array for name, array in arrays.items()})  # type: ignore[arg-type]
        path = None if arrays is None else str(self.requests)
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended; reading its answer reports it
            self.process.stdin.write(
                json.dumps({"method": method, "options": options, "arrays": path}).encode() + b"\n"
            )
            self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._end()}
        if "error" in answer:
            raise UserError(f"side {self.spec}: {answer['error']}")
        return answer

    def _end(self) -> str:
        """Return why the process has ended: the signal, or the last line of its log."""
        status = self.process.wait()
        if status < 0:
            return f"its process was ended by signal {-status}"
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"its process has ended: {lines[-1] if lines else f'exit status {status}'}"


def _named(inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the inputs with the names under which they travel; those of a mapping are in its order."""
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    return {f"input {i}": np.asarray(array) for i, array in enumerate(values)}
