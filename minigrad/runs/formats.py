"""The matrix of exported files: formats and precisions, the command's options for them, and the reason of each refusal.

All packages offer the same kinds and precisions. A cell of the matrix that a
package cannot write is refused with one sentence, which names one that works.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple, get_args

from .errors import UserError

Kind = Literal["savedmodel", "onnx", "litert", "pt2", "keras", "safetensors", "h5"]
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SUFFIXES: dict[Kind, str] = {
    "savedmodel": ".savedmodel",
    "onnx": ".onnx",
    "litert": ".tflite",
    "pt2": ".pt2",
    "keras": ".keras",
    "safetensors": ".safetensors",
    "h5": ".weights.h5",
}
# Why no package writes a kind in a precision, and the kind that it writes instead.
UNWRITABLE: dict[tuple[Kind, Precision], tuple[str, Kind]] = {
    ("savedmodel", "int8"): ("TensorFlow quantizes LiteRT files only", "onnx"),
    ("pt2", "int8"): ("torch quantizes exported programs only with a further package, torchao", "onnx"),
    ("keras", "int8"): ("Keras quantizes dense layers only, no convolutions", "onnx"),
    ("safetensors", "int8"): ("a weights file contains no scales for integers", "onnx"),
    ("h5", "float16"): ("Keras writes its weights as they are, in float32", "safetensors"),
    ("h5", "int8"): ("Keras writes its weights as they are, in float32", "onnx"),
}
# The kinds that each package writes if none is requested; keras_model writes each on some backends.
OF_MINIGRAD: tuple[Kind, ...] = ("onnx", "safetensors")
OF_LIGHTNING: tuple[Kind, ...] = ("onnx", "pt2", "safetensors")
OF_KERAS: tuple[Kind, ...] = (
    "savedmodel",
    "onnx",
    "litert",
    "pt2",
    "keras",
    "safetensors",
)  # h5 holds less than .safetensors


class Cell(NamedTuple):
    """One file of an export: a format and the precision of the numbers in it."""

    kind: Kind
    precision: Precision

    def file(self, stem: str) -> str:
        """Return the name of the file, such as weights.onnx or weights.float16.onnx for the stem `weights`."""
        return f"{stem}{'' if self.precision == 'float32' else f'.{self.precision}'}{SUFFIXES[self.kind]}"


def add_options(parser: Any, offered: Sequence[str], kind: Any = Kind) -> None:
    """Add --kinds and --precision to the parser of a command.

    Args:
        parser: a parser of jsonargparse.
        offered: the kinds that null stands for.
        kind: the type of a kind, a `Literal`.
    """
    kinds = f"the formats; null writes {', '.join(offered)}, as far as possible"
    parser.add_argument("--kinds", type=kind, nargs="+", default=None, help=kinds)
    precision = (
        "the precision of the numbers in the files, one or several; float16 and int8 lose accuracy, which is measured"
    )
    parser.add_argument("--precision", type=Precision, nargs="+", default=["float32"], help=precision)


def choose(
    kinds: Sequence[str] | None,
    precisions: Sequence[str],
    offered: Collection[Kind],
    obstacle: Callable[[Kind], str | None],
    elsewhere: str = "",
) -> list[Cell]:
    """Return the files to write, in the order of `SUFFIXES` and `PRECISIONS`.

    Args:
        kinds: the requested kinds; None requests those `offered`, and prints why a file can't be written if another can.
        precisions: the requested precisions.
        offered: the kinds that None stands for.
        obstacle: returns why a kind can't be written in any precision, in one sentence; None if it can.
        elsewhere: what the kind `onnx` needs besides, such as " and KERAS_BACKEND=tensorflow", for the refusals.

    Raises:
        UserError: a requested kind or precision is unknown or can't be written, or no file can be written.
    """
    for option, values, known in (("kinds", kinds or (), SUFFIXES), ("precision", precisions, PRECISIONS)):
        for value in values:
            if value not in known:
                raise UserError(f"{option}: {value}; expected some of {', '.join(known)}")
    requested = offered if kinds is None else kinds
    cells = [Cell(kind, precision) for kind in SUFFIXES if kind in requested for precision in PRECISIONS]
    reasons = {cell: refusal(cell, obstacle, elsewhere) for cell in cells if cell.precision in precisions}
    writable = [cell for cell, reason in reasons.items() if reason is None]
    refused = list(dict.fromkeys(filter(None, reasons.values())))
    if refused and (kinds is not None or not writable):
        raise UserError(refused[0])
    for reason in refused:
        print(reason)
    return writable


def refusal(cell: Cell, obstacle: Callable[[Kind], str | None], elsewhere: str = "") -> str | None:
    """Return why a file can't be written, in one sentence; None if it can. The arguments are those of `choose`."""
    if reason := obstacle(cell.kind):
        return reason
    if cell not in UNWRITABLE:
        return None
    why, instead = UNWRITABLE[cell]
    return f"{cell.kind} in {cell.precision}: {why}; expected --kinds {instead}{elsewhere if instead == 'onnx' else ''}"


def only(offered: Collection[Kind], package: str) -> Callable[[Kind], str | None]:
    """Return the `obstacle` of a package that writes only the kinds `offered`: it names the package that writes the others."""

    def obstacle(kind: Kind) -> str | None:
        if kind in offered:
            return None
        other = "lightning_module" if kind == "pt2" else "keras_model"
        return f"{kind}: can't be written by {package}; expected python -m {other} export, which reads the same weights"

    return obstacle
