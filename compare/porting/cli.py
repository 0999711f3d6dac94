"""python -m compare diff LEFT RIGHT: compares two models, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console

from minigrad import recipes
from minigrad.runs import Stopped

from .request import parse_shape

PROG = "python -m compare diff"
LAYOUTS = Literal["channels_first", "channels_last"] | None
# Name, type, default and help.
OPTIONS = (
    (
        "--data",
        str | None,
        None,
        "an .npz file with the arrays inputs and optionally targets; null: seeded random inputs",
    ),
    ("--input-shape", str | None, None, "the shape of a random input, such as 3,32,32; null: that of the Keras model"),
    (
        "--map",
        str | None,
        None,
        "a YAML file that says which layers belong together; the others are matched automatically",
    ),
    (
        "--copy-weights",
        Literal["left", "right", "none"],
        "none",
        "the side whose weights are copied into the other model",
    ),
    ("--steps", int, 0, "number of updates of the optimizer to compare"),
    ("--loss", Literal["cross_entropy", "mse"], "cross_entropy", "cross_entropy is that of the last axis, from logits"),
    ("--optimizer", Literal["sgd", "adam"], "sgd", "with the default settings of each framework"),
    (
        "--mode",
        Literal["free", "single-step"],
        "free",
        "free runs both models normally; single-step feeds each right layer with the left layer's input, so that"
        " differences do not accumulate",
    ),
    ("--left-layout", LAYOUTS, None, "the layout of the left model's images; null: inferred from its first layers"),
    ("--right-layout", LAYOUTS, None, "the same for the right model"),
    ("--seed", int, 0, "the seed of random inputs and targets"),
    (
        "--out",
        str | None,
        None,
        "a folder for diff.json, diff.html, map.yaml and the copied weights; null: nothing is written",
    ),
)


PRINTED_PAIRS = 30  # a longer map is only written to a file


def main(argv: Sequence[str]) -> None:
    """Compare two models, and print the report.

    Raises:
        UserError: an argument, a model, the map or the data cannot be used.
        Stopped: after Ctrl-C.
        SystemExit: status 1 if the models differ.
    """
    options = _parser().parse_args(list(argv))
    shape = None if options.input_shape is None else parse_shape(options.input_shape)
    from . import api

    console = Console(highlight=False)
    try:
        with console.status("starting") as status:
            result = api.diff(
                options.left,
                options.right,
                data=options.data,
                input_shape=shape,
                map=options.map,
                copy_weights=options.copy_weights,
                steps=options.steps,
                loss=options.loss,
                optimizer=options.optimizer,
                mode=options.mode,
                out=options.out,
                left_layout=options.left_layout,
                right_layout=options.right_layout,
                seed=options.seed,
                overwrite=options.overwrite,
                progress=status.update,
            )
    except KeyboardInterrupt:
        raise Stopped("the comparison is not finished, and no report was written") from None
    from .report import terminal

    console.print(terminal(result), markup=False, soft_wrap=True)
    pairs = len(result.layers)
    if pairs <= PRINTED_PAIRS:
        console.print(f"\nThe map, as --map accepts it:\n{result.map}", markup=False, soft_wrap=True, end="")
    elif options.out is None:
        console.print(f"\nThe map has {pairs} entries; --out writes it to a file.")
    if not result.equal:
        raise SystemExit(1)


def _parser() -> recipes.Parser:
    parser = recipes.Parser(
        prog=PROG,
        description="Compare two models of PyTorch or Keras: layers, weights, outputs, gradients and steps of the"
        " optimizer. The first difference is explained if a known mistake reproduces it. The Python files LEFT and RIGHT"
        " are executed: compare only files that you trust. The exit status is 0 if the models are equal, 1 if they differ,"
        " and 2 if the request is invalid.",
    )
    side = "torch:FILE.py:FUNCTION or keras:FILE.py:FUNCTION; the function has no arguments and returns the model"
    parser.add_argument("left", type=str, metavar="LEFT", help=f"{side}. The file is executed")
    parser.add_argument("right", type=str, metavar="RIGHT", help="the same for the model to compare with LEFT")
    for name, kind, default, text in OPTIONS:
        parser.add_argument(name, type=kind, default=default, help=text)
    parser.add_flag("--overwrite", "replace the files of an earlier comparison in the folder")
    return parser
