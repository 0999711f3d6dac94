"""python -m minigrad export: a trained network as ONNX and as a weights file, each checked in a fresh process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from . import nn, recipes
from .classifier import Classifier
from .restore import restore, weights_option, weights_path
from .runs import expand, exports, folder, formats, onnx_runtime, run_command, weights
from .runs.overview import description_of
from .runs.weights import NetworkSpec

PROG = "python -m minigrad export"
ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}
OPSET, IR = 17, 8  # of 2022, so that older runtimes can read the file


def _parameter_names(name: str, layer: Any) -> list[str]:
    return [f"{name}.weight", f"{name}.bias"][: 1 if layer.bias is None else 2]


def to_onnx(net: Classifier, spec: NetworkSpec) -> Any:
    """Convert a network to ONNX.

    The graph is `Classifier.forward` in evaluation mode, line by line, so it
    has no dropout. Weights and metadata are named as in weights.safetensors.

    Args:
        net: the network, in evaluation mode.
        spec: its specification.

    Returns:
        An `onnx.ModelProto` from `images`, uint8 pixels or float32, (n, *input_shape), to `logits`, (n, classes).
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = [numpy_helper.from_array(np.asarray(t.data, order="C"), name) for name, t in net.named_tensors()]

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{kind}.{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def normalized(x: str, name: str, norm: Any) -> str:
        if norm is None:
            return x
        names = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return add("BatchNormalization", x, *names, epsilon=norm.eps)

    activation = ACTIVATIONS[type(net.activation)]
    x = add("Cast", "images", to=TensorProto.FLOAT)
    x = add("Mul", x, constant("scale", np.float32(net.scale)))
    if net.conv:
        channels, height, width = net.image
        x = add("Reshape", x, constant("shape", [-1, height, width, channels]))
        x = add("Transpose", x, perm=[0, 3, 1, 2])
        for i, (layer, norm) in enumerate(zip_longest(net.conv, net.conv_norm)):
            x = add("Conv", x, *_parameter_names(f"conv.{i}", layer), pads=[layer.padding] * 4)
            x = normalized(x, f"conv_norm.{i}", norm)
            x = add(activation, add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = add("Flatten", x)
    for i, (linear, norm) in enumerate(zip_longest(net.hidden, net.hidden_norm)):
        x = add("Gemm", x, *_parameter_names(f"hidden.{i}", linear), transB=1)
        x = add(activation, normalized(x, f"hidden_norm.{i}", norm))
    add("Gemm", x, *_parameter_names("output", net.output), transB=1, output="logits")

    kind = TensorProto.FLOAT if spec.input_scale == 1 else TensorProto.UINT8
    images = helper.make_tensor_value_info("images", kind, ["n", *spec.input_shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", spec.classes])
    graph = helper.make_graph(nodes, "classifier", [images], [logits], constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="minigrad"
    )
    helper.set_model_props(model, spec.metadata())
    return model


def writers(net: Classifier, spec: NetworkSpec) -> dict[formats.Kind, Callable[[Path], None]]:
    """Return a function per kind that writes a network to a file, in float32."""

    def write_onnx(path: Path) -> None:
        import onnx

        model = to_onnx(net, spec)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)

    return {
        "onnx": write_onnx,
        "safetensors": lambda path: weights.write(path, net.state_dict(), spec.metadata()),
    }


def destination(out: str | None, source: Path, kinds: Sequence[str] | None) -> tuple[Path, str, Sequence[str] | None]:
    """Return the folder, the beginning of the file names, and the kinds.

    Args:
        out: the value of --out: a folder, a file whose suffix is that of a kind, or None.
        source: the weights file.
        kinds: the value of --kinds.
    """
    folder.refuse_empty(out, "--out", "a folder or a file")
    path = source if out is None else expand(out)
    for kind in formats.OF_MINIGRAD if out is not None else ():
        if path.suffix == formats.SUFFIXES[kind]:
            return path.parent, path.stem, [kind] if kinds is None else kinds
    return (path.parent if out is None else path), source.stem, kinds


def main(argv: Sequence[str]) -> None:
    """Write an .onnx file and others."""
    parser = recipes.Parser(prog=PROG, description=description_of("export"))
    weights_option(parser)
    formats.add_options(parser, formats.OF_MINIGRAD)
    where = "the folder, or a file such as net.onnx; null writes the files beside the weights"
    parser.add_argument("--out", type=str | None, default=None, metavar="FOLDER", help=where)
    parser.add_flag("--overwrite", recipes.HELP["overwrite files"])
    parser.add_argument(
        "--data.path",
        type=str | None,
        default=None,
        help=f"images for the check, which uses the first {exports.IMAGES:,} test images; null takes the data that the"
        " network was trained on",
    )
    options = parser.parse_args(argv)
    source = weights_path(options)
    out, stem, kinds = destination(options.out, source, options.kinds)
    cells = formats.choose(kinds, options.precision, formats.OF_MINIGRAD, formats.only(formats.OF_MINIGRAD, "minigrad"))
    if kinds is None:
        cells = [cell for cell in cells if (out / cell.file(stem)).resolve() != source.resolve()]
    if any(cell.kind == "onnx" for cell in cells):  # if it is missing, the command ends before it reads anything
        import onnx  # noqa: F401

        onnx_runtime.load()

    net, spec = restore(source)
    write = writers(net, spec)
    exports.write(
        out,
        stem,
        cells,
        exports.examples_for(options.data.path or spec.recipe.data.path, spec, cells, source),
        package="minigrad",
        predict=net.predict,
        writer=lambda cell, path: write[cell.kind](path),
        outputs=partial(exports.outputs_in_fresh_process, "minigrad.restore"),
        overwrite=options.overwrite,
    )


if __name__ == "__main__":
    sys.exit(run_command(PROG, main, extra="onnx"))
