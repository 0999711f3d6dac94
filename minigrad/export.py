"""python -m minigrad.export: a trained network as ONNX, held against minigrad before the file is there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from . import datasets, nn, recipes
from .classifier import Classifier
from .runs import UserError, expand, folder, metrics, onnx_runtime, run_command, weights, whole_file
from .runs.metrics import CHECKED, LIMIT
from .trained import overwrite_option, restore, weights_option

PROG = "python -m minigrad.export"
ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}
OPSET, IR = 17, 8  # of 2022, so that other runtimes read it too


def to_onnx(net: Classifier, network: weights.NetworkSpec) -> Any:
    """The network as an `onnx.ModelProto`: `images`, raw uint8 pixels or float32, to `logits`, (n, classes); n is free.

    It is `Classifier.forward` in evaluation, line by line, so dropout is not
    there. Weights keep their names in weights.safetensors, and the metadata
    are the same.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = [numpy_helper.from_array(np.asarray(t.data, order="C"), name) for name, t in net.named_tensors()]

    def keep(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{kind}.{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def weighted(name: str, layer: Any) -> list[str]:
        return [f"{name}.weight", f"{name}.bias"][: 1 if layer.bias is None else 2]

    def normalised(x: str, name: str, norm: Any) -> str:
        if norm is None:
            return x
        names = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return add("BatchNormalization", x, *names, epsilon=norm.eps)

    activation = ACTIVATIONS[type(net.activation)]
    x = add("Cast", "images", to=TensorProto.FLOAT)
    x = add("Mul", x, keep("scale", np.float32(net.scale)))
    if net.conv:
        channels, height, width = net.image
        x = add("Reshape", x, keep("shape", [-1, height, width, channels]))
        x = add("Transpose", x, perm=[0, 3, 1, 2])
        for i, (layer, norm) in enumerate(zip_longest(net.conv, net.conv_norm)):
            x = add("Conv", x, *weighted(f"conv.{i}", layer), pads=[layer.padding] * 4)
            x = normalised(x, f"conv_norm.{i}", norm)
            x = add(activation, add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = add("Flatten", x)
    for i, (linear, norm) in enumerate(zip_longest(net.hidden, net.hidden_norm)):
        x = add("Gemm", x, *weighted(f"hidden.{i}", linear), transB=1)
        x = add(activation, normalised(x, f"hidden_norm.{i}", norm))
    add("Gemm", x, *weighted("output", net.output), transB=1, output="logits")

    kind = TensorProto.FLOAT if network.input_scale == 1 else TensorProto.UINT8
    images = helper.make_tensor_value_info("images", kind, ["n", *network.input_shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", network.classes])
    graph = helper.make_graph(nodes, "classifier", [images], [logits], constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="minigrad"
    )
    helper.set_model_props(
        model, weights.describe(network.recipe, network.input_shape, network.classes, network.input_scale)
    )
    return model


def difference(path: Path, net: Classifier, images: np.ndarray) -> float:
    """How far ONNX Runtime's logits are from minigrad's: of the images together, and of the first one alone."""
    answer = onnx_runtime.answering(path)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = net.predict(images)
        return metrics.difference(
            np.concatenate([answer(images), answer(images[:1])]), np.concatenate([expected, expected[:1]])
        )


def export(path: Path, net: Classifier, network: weights.NetworkSpec, images: np.ndarray) -> float:
    """Write the network to `path`, once ONNX Runtime has answered `images` as minigrad does; returns the difference.

    Raises:
        UserError: the answers differ by more than `LIMIT`; no file is written.
    """
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        onnx.save(to_onnx(net, network), draft)
        onnx.checker.check_model(draft, full_check=True)
        found = difference(draft, net, images)
        if not found <= LIMIT:
            raise UserError(
                f"--out {path}: ONNX Runtime's answers differ from minigrad's by {found:.1e}; expected at most {LIMIT:.0e},"
                " so no file was written"
            )
    return found


def main(argv: Sequence[str]) -> None:
    """Write an .onnx file."""
    parser = recipes.Parser(prog=PROG, description="Write a trained network as ONNX, and check it with ONNX Runtime.")
    weights_option(parser)
    words = "the file to write; null writes it beside the weights"
    parser.add_argument("--out", type=str | None, default=None, metavar="FILE", help=words)
    overwrite_option(parser)
    parser.add_argument(
        "--data.path",
        type=str | None,
        default=None,
        help=f"images for the check, of which {CHECKED:,} are taken; null takes the test images of the network's own data",
    )
    options = parser.parse_args(argv)
    import onnx  # noqa: F401 (what is missing is said before anything is read)

    onnx_runtime.load()

    weights_path = expand(options.model.weights)
    net, network, recipe = restore(weights_path)
    with folder.claim_file(options.out, weights_path.with_suffix(".onnx"), overwrite=options.overwrite) as out:
        path = options.data.path or recipe.data.path
        _, images = datasets.load_images(path, network.input_shape, network.input_scale)
        images = images[:CHECKED]
        found = export(out, net, network, images)
    print(f"{out}: differs from minigrad by at most {found:.1e} over {len(images):,} images")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main, extra="onnx"))
