"""The Python entry point: compares two models, and writes the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from minigrad.runs import folder, write_text

from ..jobs.temporary import temporary_folder
from . import stages, weights
from .model import Dtype, Layout
from .request import CopyWeights, Loss, Mode, Optimizer, Request
from .result import DiffResult
from .side import Side, SideSpec

MAP = "map.yaml"
FILES = ("diff.json", "diff.html", MAP)


def diff(
    left: str,
    right: str,
    *,
    data: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    map: str | Path | None = None,
    copy_weights: CopyWeights = "none",
    steps: int = 0,
    loss: Loss = "cross_entropy",
    optimizer: Optimizer = "sgd",
    mode: Mode = "free",
    out: str | Path | None = None,
    left_layout: Layout | None = None,
    right_layout: Layout | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda message: None,
) -> DiffResult:
    """Compare two models of PyTorch or Keras, as `python -m compare diff` does.

    The Python files of both sides are executed, each in a process of its own.

    Args:
        left: `torch:FILE.py:FUNCTION` or `keras:FILE.py:FUNCTION`; the function has no arguments and returns the model. The
            environment variable `KERAS_BACKEND` selects the backend of Keras.
        right: the same for the model to compare with the left one.
        data: an .npz file with the arrays `inputs` or `x`, images (n, c, h, w) of any number, and optionally `targets` or
            `y`. None: 8 seeded random inputs.
        input_shape: the shape of a random input, such as (3, 32, 32). None: that of the Keras model.
        map: a YAML file that says which layers belong together, as `DiffResult.map`; other layers are matched
            automatically. `rows: [c, h, w]` permutes the columns of the weight behind a flattening.
        copy_weights: "left" copies the left weights into the right model before the comparison, "right" the right ones into
            the left model.
        steps: number of updates of the optimizer that are compared.
        loss: "cross_entropy" of the last axis of the output, which are logits, or "mse".
        optimizer: "sgd" or "adam", with the default settings of each framework.
        mode: "free" runs both models normally; "single-step" feeds each right layer with the left layer's input, so that
            differences do not accumulate.
        out: folder for diff.json, diff.html, map.yaml and the copied weights in the format of their framework. None writes
            nothing.
        left_layout: the layout of the images that the left model takes. None: inferred from its first layers.
        right_layout: the same for the right model.
        seed: the seed of random inputs and targets.
        overwrite: replace the files of an earlier comparison in the folder.
        progress: receives what is done, in words.

    Returns:
        The verdict of each stage, all differences, and the mistakes that explain them.

    Raises:
        UserError: a side, the map, the data or an option cannot be used.

    Example:
        >>> result = compare.diff("torch:port.py:model", "keras:original.py:model", copy_weights="right")
        >>> result.equal
        True
    """
    request = Request(
        left,
        right,
        None if data is None else Path(data),
        None if input_shape is None else tuple(input_shape),
        None if map is None else Path(map),
        copy_weights,
        steps,
        loss,
        optimizer,
        mode,
        left_layout,
        right_layout,
        seed,
    )
    specs = {"left": SideSpec.parse(left), "right": SideSpec.parse(right)}
    with _claimed(out, _files(request, specs), overwrite) as path, temporary_folder() as temporary:
        result = _compare(request, specs, temporary, path, progress)
        if path is not None:
            _write(result, path)
    return result


def _files(request: Request, specs: dict[str, SideSpec]) -> list[str]:
    """Return the names of the files that the comparison writes."""
    target = {"left": "right", "right": "left"}.get(request.copy_weights)
    return [*FILES, *([weights.FILES[specs[target].framework]] if target else [])]


@contextmanager
def _claimed(out: str | Path | None, files: list[str], overwrite: bool) -> Iterator[Path | None]:
    """Claim the output folder, if there is one; see `folder.claim_files`."""
    if out is None:
        yield None
        return
    with folder.claim_files(out, "diff", files, overwrite=overwrite) as path:
        folder.prepare(path, files)
        yield path


def _compare(
    request: Request, specs: dict[str, SideSpec], temporary: Path, out: Path | None, progress: Callable[[str], None]
) -> DiffResult:
    from .mistakes import explain

    def open_side(name: Literal["left", "right"], dtype: Dtype) -> Side:
        path = temporary / f"{name} {dtype}"
        path.mkdir()
        layout = request.left_layout if name == "left" else request.right_layout
        return Side(specs[name], dtype, layout, path)

    return stages.run(request, open_side, explain, out=out, progress=progress)


def _write(result: DiffResult, out: Path) -> None:
    from .report import write

    write_text(out / MAP, result.map)
    write(result, out)
