"""python -m minigrad export: a trained network as ONNX, compared with minigrad before the file is written."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from . import datasets, nn, recipes
from .classifier import Classifier
from .restore import restore, weights_option, weights_path
from .runs import exports, folder, onnx_runtime, run_command, whole_file
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


def export(path: Path, net: Classifier, spec: NetworkSpec, images: np.ndarray) -> float:
    """Write a network as ONNX if ONNX Runtime computes the same outputs as minigrad.

    Args:
        path: the file to write.
        net: the network, in evaluation mode.
        spec: its specification.
        images: (n, *input_shape), for the comparison.

    Returns:
        The largest difference between the logits, as `exports.difference` defines it.

    Raises:
        UserError: the outputs differ by more than `exports.LIMIT`; no file is written.
    """
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        model = to_onnx(net, spec)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, draft)
        outputs = exports.predict_all_and_first(onnx_runtime.predictor(draft), images)
        return exports.check_outputs(path, outputs, net.predict(images))


def main(argv: Sequence[str]) -> None:
    """Write an .onnx file."""
    parser = recipes.Parser(prog=PROG, description="Write a trained network as ONNX, and check it with ONNX Runtime.")
    weights_option(parser)
    where = "the file to write; null writes it beside the weights"
    parser.add_argument("--out", type=str | None, default=None, metavar="FILE", help=where)
    parser.add_flag("--overwrite", "replace an existing file")
    parser.add_argument(
        "--data.path",
        type=str | None,
        default=None,
        help=f"images for the check, which uses the first {exports.IMAGES:,}; null takes the test images of the data that"
        " the network was trained on",
    )
    options = parser.parse_args(argv)
    import onnx  # noqa: F401 (if it is missing, the command ends before it reads anything)

    onnx_runtime.load()

    weights = weights_path(options)
    net, spec = restore(weights)
    with folder.claim_file(options.out, weights.with_suffix(".onnx"), overwrite=options.overwrite) as out:
        path = options.data.path or spec.recipe.data.path
        _, images = datasets.load_images(path, spec.input_shape, spec.input_scale, mnist_like=spec.mnist_like)
        images = images[: exports.IMAGES]
        measured = export(out, net, spec, images)
    print(f"{out}: outputs differ from minigrad's by at most {measured:.1e} over {len(images):,} images")


if __name__ == "__main__":
    sys.exit(run_command(PROG, main, extra="onnx"))
