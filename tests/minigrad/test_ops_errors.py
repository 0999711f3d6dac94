"""What an operation refuses, and in which words: its name first, then the shapes and what was expected."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, ops


def ones(*shape: int) -> Tensor:
    return Tensor(np.ones(shape))


def leaf(*shape: int) -> Tensor:
    return Tensor(np.ones(shape), requires_grad=True)


IMAGE = ones(1, 4, 5, 5)
LABELS = np.array([0, 2])
AXES = [
    *("sum", "mean", "var", "std", "prod", "max", "min"),
    *("norm", "logsumexp", "softmax", "log_softmax", "cumsum"),
]
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]

# (operation, the call, words that must stand in the error in this order)
REFUSED: list[tuple[str, Any, list[str]]] = [
    *((name, lambda name=name: getattr(ops, name)(ones(2, 3), ones(2, 4)), ["(2, 3)", "(2, 4)"]) for name in BINARY),
    ("where", lambda: ops.where(np.ones(3, bool), ones(2, 3), ones(2, 4)), ["(2, 3)", "(2, 4)"]),
    ("clip", lambda: ops.clip(ones(2, 3), np.zeros(4)), ["(2, 3)"]),
    # Products.
    ("matmul", lambda: ones(32, 784) @ ones(10, 784), ["(32, 784) @ (10, 784): inner sizes 784 and 10 differ"]),
    ("matmul", lambda: ones(3) @ ones(2), ["(3,) @ (2,): inner sizes 3 and 2 differ"]),
    ("matmul", lambda: ones(3) @ ones(2, 3), ["(3,) @ (2, 3): inner sizes 3 and 2 differ"]),
    ("matmul", lambda: ones(2, 4, 3) @ ones(3, 3, 1), ["(2, 4, 3)", "(3, 3, 1)"]),
    ("matmul", lambda: ones() @ ones(2), ["() @ (2,)", "no axis"]),
    ("matmul", lambda: ones(2) @ 2.0, ["(2,) @ ()", "no axis"]),
    ("matmul", lambda: 2.0 @ ones(2), ["() @ (2,)", "no axis"]),
    (
        "linear",
        lambda: ops.linear(ones(2, 3), ones(4, 5)),
        ["(2, 3)", "(4, 5)", "expected (..., in) and (out, in) with equal in"],
    ),
    ("linear", lambda: ops.linear(ones(2, 3), ones(3)), ["(2, 3)", "(3,)"]),
    ("linear", lambda: ops.linear(ones(), ones(1, 1)), ["()", "(1, 1)"]),
    ("linear", lambda: ops.linear(ones(2, 3), ones(4, 3), ones(3)), ["bias (3,)", "expected (4,)"]),
    ("linear", lambda: ops.linear(ones(2, 3), ones(4, 3), ones(1)), ["bias (1,)", "expected (4,)"]),
    ("einsum", lambda: ops.einsum("ij,jk", ones(2, 3)), ["'ij,jk' has 2 terms", "1 operands"]),
    ("einsum", lambda: ops.einsum("ij,jk->ik", ones(2, 3), ones(4, 2)), ["(2, 3)", "(4, 2)"]),
    ("einsum", lambda: ops.einsum("ijk->i", ones(2, 3)), ["(2, 3)"]),
    ("einsum", lambda: ops.einsum("ij->k", ones(2, 3)), ["(2, 3)"]),
    # Along axes.
    *(
        (name, lambda name=name: getattr(ops, name)(ones(2, 3), axis=2), ["(2, 3)", "2", "out of bounds"])
        for name in AXES
    ),
    ("sum", lambda: ops.sum(ones(2, 3), (0, -2)), ["(2, 3)", "duplicate"]),
    ("max", lambda: ops.max(ones(0, 3)), ["(0, 3)"]),
    ("min", lambda: ops.min(ones(2, 0), 1), ["(2, 0)"]),
    ("norm", lambda: ops.norm(ones(3), ord=0), ["ord = 0", "expected a positive number"]),
    ("norm", lambda: ops.norm(ones(3), ord=-1), ["ord = -1", "expected a positive number"]),
    ("norm", lambda: ops.norm(ones(3), ord=np.nan), ["ord = nan", "expected a positive number"]),
    # Shapes.
    ("reshape", lambda: ops.reshape(ones(2, 3), (4, 2)), ["(2, 3)", "(4,2)"]),
    ("flatten", lambda: ops.flatten(ones(2, 3), 1, 0), ["(2, 3)", "start_dim 1", "end_dim 0"]),
    ("flatten", lambda: ops.flatten(ones(2, 3), 2), ["(2, 3)", "out of bounds"]),
    ("squeeze", lambda: ops.squeeze(ones(2, 1), 0), ["(2, 1)"]),
    ("expand_dims", lambda: ops.expand_dims(ones(2), 3), ["(2,)", "out of bounds"]),
    ("transpose", lambda: ops.transpose(ones(2, 3), (0, 0)), ["(2, 3)"]),
    ("transpose", lambda: ops.transpose(ones(2, 3), (0, 1, 2)), ["(2, 3)"]),
    ("transpose", lambda: ops.transpose(ones(), (0,)), ["()"]),
    ("swapaxes", lambda: ops.swapaxes(ones(2, 3), 0, 2), ["(2, 3)", "out of bounds"]),
    ("broadcast_to", lambda: ops.broadcast_to(ones(2, 3), (2, 4)), ["(2, 3)", "(2, 4)"]),
    ("flip", lambda: ops.flip(ones(2, 3), 2), ["(2, 3)", "out of bounds"]),
    ("roll", lambda: ops.roll(ones(2, 3), 1, 2), ["(2, 3)", "out of bounds"]),
    ("pad", lambda: ops.pad(ones(2, 3), ((1, 1), (1, 1), (1, 1))), ["(2, 3)"]),
    ("pad", lambda: ops.pad(ones(2, 3), -1), ["(2, 3)", "negative"]),
    ("tile", lambda: ops.tile(ones(2, 3), (-1, 2)), ["(2, 3)", "negative"]),
    ("concatenate", lambda: ops.concatenate([ones(2, 3), ones(2, 4)]), ["(2, 3)", "(2, 4)"]),
    ("concatenate", lambda: ops.concatenate([ones(2, 3), ones(3)]), ["(2, 3)", "(3,)"]),
    ("concatenate", lambda: ops.concatenate([ones(2, 3), ones(2, 3)], 2), ["(2, 3)", "out of bounds"]),
    ("concatenate", lambda: ops.concatenate([]), ["at least one array"]),
    ("concatenate", lambda: ops.concatenate([ones(2), 1.0]), ["(2,)", "()"]),
    ("stack", lambda: ops.stack([ones(2, 3), ones(2, 4)]), ["(2, 3)", "(2, 4)"]),
    ("stack", lambda: ops.stack([ones(2, 3), ones(2, 3)], 3), ["(2, 3)", "out of bounds"]),
    ("stack", lambda: ops.stack([ones(2), ones(1, 2)], -1), ["(2,)", "(1, 2)"]),
    ("stack", lambda: ops.stack([]), ["at least one array"]),
    ("split", lambda: ops.split(ones(5, 2), 2), ["axis 0 of (5, 2) has size 5; expected a multiple of 2"]),
    ("split", lambda: ops.split(ones(4, 2), 0), ["(4, 2)", "expected a multiple of 0"]),
    ("split", lambda: ops.split(ones(4, 2), 2, 2), ["out of bounds"]),
    ("take", lambda: ops.take(ones(4, 2), [0], axis=2), ["out of bounds"]),
    ("embedding", lambda: ops.embedding([0, 4], ones(4, 2)), ["indices from 0 to 4; expected 0 to 3"]),
    ("embedding", lambda: ops.embedding([-1, 2], ones(4, 2)), ["indices from -1 to 2; expected 0 to 3"]),
    ("embedding", lambda: ops.embedding([0.5], ones(4, 2)), ["dtype float64; expected integers"]),
    # Activations.
    ("gelu", lambda: ops.gelu(ones(2), "erf"), ["approximate = 'erf'; expected 'none' or 'tanh'"]),
    *(
        ("dropout", lambda p=p: ops.dropout(ones(2), p), [f"p = {p}; expected 0 <= p < 1"])
        for p in (-0.1, 1, 1.5, np.nan)
    ),
    # Images.
    (
        "conv2d",
        lambda: ops.conv2d(ones(4, 5, 5), ones(2, 4, 3, 3)),
        ["(4, 5, 5) and (2, 4, 3, 3)", "expected (n, c, height, width)"],
    ),
    (
        "conv2d",
        lambda: ops.conv2d(IMAGE, ones(4, 3, 3)),
        ["(4, 3, 3)", "(o, c / groups, height, width)"],
    ),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 3, 3, 3)), ["(1, 4, 5, 5) and (2, 3, 3, 3)", "groups = 1"]),
    (
        "conv2d",
        lambda: ops.conv2d(IMAGE, ones(3, 2, 3, 3), groups=2),
        ["(1, 4, 5, 5) and (3, 2, 3, 3)", "groups = 2"],
    ),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), groups=0), ["groups = 0"]),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), ones(3)), ["and (3,)", "expected a bias of (2,)"]),
    (
        "conv2d",
        lambda: ops.conv2d(IMAGE, ones(2, 4, 6, 3)),
        ["window (6, 3)", "padding (0, 0); expected a window that fits into (5, 5)"],
    ),
    (
        "conv2d",
        lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), dilation=3),
        ["window (3, 3)", "dilation (3, 3)", "fits into (5, 5)"],
    ),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), stride=0), ["stride (0, 0)", "expected 1 or more"]),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), padding=-1), ["padding (-1, -1)", "padding 0 or more"]),
    ("conv2d", lambda: ops.conv2d(IMAGE, ones(2, 4, 3, 3), dilation=0), ["dilation (0, 0)", "expected 1 or more"]),
    *(
        (name, call, words)
        for name in ("max_pool2d", "avg_pool2d")
        for call, words in [
            (
                lambda f=name: getattr(ops, f)(ones(5, 5), 2),
                ["(5, 5)", "expected an input (n, channels, height, width)"],
            ),
            (
                lambda f=name: getattr(ops, f)(IMAGE, 6),
                ["window (6, 6)", "padding (0, 0); expected a window that fits into (5, 5)"],
            ),
            (lambda f=name: getattr(ops, f)(IMAGE, 0), ["window (0, 0)", "expected 1 or more"]),
            (lambda f=name: getattr(ops, f)(IMAGE, 2, 0), ["stride (0, 0)", "expected 1 or more"]),
            (lambda f=name: getattr(ops, f)(IMAGE, 2, 1, -1), ["padding (-1, -1)", "padding 0 or more"]),
        ]
    ),
    # A window wholly within the padding would have no largest element.
    ("max_pool2d", lambda: ops.max_pool2d(IMAGE, 2, padding=2), ["padding (2, 2)"]),
    # Normalisation.
    ("batch_norm", lambda: ops.batch_norm(ones(3), None, None), ["(3,)", "expected an input (n, channels, ...)"]),
    ("batch_norm", lambda: ops.batch_norm(ones(2, 3), None, None, ones(2)), ["weight (2,); expected (3,)"]),
    ("batch_norm", lambda: ops.batch_norm(ones(2, 3), None, None, None, ones(1)), ["bias (1,); expected (3,)"]),
    ("batch_norm", lambda: ops.batch_norm(ones(2, 3), np.ones(2), np.ones(3)), ["running_mean (2,); expected (3,)"]),
    ("batch_norm", lambda: ops.batch_norm(ones(2, 3), np.ones(3), np.ones(2)), ["running_var (2,); expected (3,)"]),
    (
        "batch_norm",
        lambda: ops.batch_norm(ones(1, 3), None, None, training=True),
        ["(1, 3)", "expected more than one value per channel"],
    ),
    ("layer_norm", lambda: ops.layer_norm(ones(2, 3), 4), ["last axes (3,); expected (4,)"]),
    ("layer_norm", lambda: ops.layer_norm(ones(3), (2, 3)), ["(3,); expected (2, 3)"]),
    ("layer_norm", lambda: ops.layer_norm(ones(2, 3), 3, ones(2)), ["weight (2,); expected (3,)"]),
    ("layer_norm", lambda: ops.layer_norm(ones(2, 3), 3, None, ones(2)), ["bias (2,); expected (3,)"]),
    # Losses.
    *(
        (name, call, words)
        for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
        for call, words in [
            (lambda f=name: getattr(ops, f)(ones(2, 3), ones(3)), ["(2, 3)", "(3,)", "expected the same shape"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), 0.0), ["(2, 3)", "()", "expected the same shape"]),
            (
                lambda f=name: getattr(ops, f)(ones(2), ones(2), reduction="average"),
                ["reduction = 'average'; expected 'mean', 'sum' or 'none'"],
            ),
        ]
    ),
    *(("huber_loss", lambda d=d: ops.huber_loss(ones(2), ones(2), delta=d), [f"delta = {d}"]) for d in (0, -1.0)),
    (
        "binary_cross_entropy_with_logits",
        lambda: ops.binary_cross_entropy_with_logits(ones(2, 3), ones(2, 3), np.ones(2)),
        ["(2, 3)"],
    ),
    *(
        (name, call, words)
        for name in ("nll_loss", "cross_entropy")
        for call, words in [
            (
                lambda f=name: getattr(ops, f)(ones(3), 0),
                ["(3,): target ()", "expected (n, classes) and a target (n,)"],
            ),
            (
                lambda f=name: getattr(ops, f)(ones(2, 3), [0]),
                ["(2, 3)", "target (1,)", "expected (n, classes) and a target (n,)"],
            ),
            (lambda f=name: getattr(ops, f)(ones(2, 3), [[0, 1]]), ["(2, 3)", "(1, 2)"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), [0, 3]), ["labels from 0 to 3; expected 0 to 2"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), [-1, 1]), ["labels from -1 to 1; expected 0 to 2"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), np.array([255, 1], np.uint8)), ["labels from 1 to 255"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), [0.0, 1.0]), ["dtype float64; expected integers"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), np.array([True, False])), ["dtype bool; expected integers"]),
            (
                lambda f=name: getattr(ops, f)(ones(2, 3), LABELS, reduction="avg"),
                ["reduction = 'avg'; expected 'mean', 'sum' or 'none'"],
            ),
            # Too few would fail as an index, or not at all; too many would be used without a word.
            (lambda f=name: getattr(ops, f)(ones(2, 3), LABELS, np.ones(2)), ["weight (2,)", "(3,)"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), LABELS, np.ones(4)), ["weight (4,)", "(3,)"]),
            (lambda f=name: getattr(ops, f)(ones(2, 3), LABELS, np.ones((3, 1))), ["weight (3, 1)", "(3,)"]),
        ]
    ),
    *(
        (
            "cross_entropy",
            lambda e=e: ops.cross_entropy(ones(2, 3), LABELS, label_smoothing=e),
            [f"label_smoothing = {e}"],
        )
        for e in (-0.1, 1.5)
    ),
]


@pytest.mark.parametrize(
    ("name", "call", "words"), [pytest.param(*row, id=f"{row[0]}-{i}") for i, row in enumerate(REFUSED)]
)
def test_a_wrong_call_is_a_value_error_that_names_the_operation_and_the_shapes(
    name: str, call: Any, words: list[str]
) -> None:
    with pytest.raises(ValueError, match=rf"\A{name}: ") as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    # NumPy writes (2,3) where Python writes (2, 3).
    pattern = ".*".join(re.escape(word.replace(" ", "")) for word in words)
    assert re.search(pattern, text.replace(" ", "")), text


@pytest.mark.parametrize("name", BINARY)
def test_plain_arrays_are_refused_in_the_same_words(name: str) -> None:
    texts = []
    for kind in (np.asarray, Tensor):
        with pytest.raises(ValueError, match=rf"\A{name}: ") as caught:
            getattr(ops, name)(kind(np.ones((2, 3))), kind(np.ones((2, 4))))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_an_index_out_of_range_is_an_index_error_so_that_a_loop_over_a_tensor_ends() -> None:
    x = leaf(2, 3)
    with pytest.raises(IndexError):
        x[2]
    assert len(list(x)) == 2


# A tensor where its gradient would be lost.

LOST: dict[str, Any] = {
    "in a list beside a tensor": lambda: ops.add(leaf(2), [leaf(), 1.0]),
    "in a tuple beside a tensor": lambda: ops.multiply(leaf(2), (1.0, leaf())),
    "in a list beside an array": lambda: ops.add(np.ones(2), [leaf(), 1.0]),
    "deep in a list": lambda: ops.add(leaf(1, 2), [[leaf(), 1.0]]),
    "as an axis": lambda: ops.sum(leaf(2), leaf()),
    "as a named axis": lambda: ops.sum(leaf(2), axis=leaf()),
    "as a bound of clip": lambda: ops.clip(leaf(2), min=leaf(2)),
    "as a bound of clip in place": lambda: ops.clip(leaf(2), leaf(2)),
    "as a condition": lambda: ops.where(leaf(2), leaf(2), 0.0),
    "as class weights": lambda: ops.cross_entropy(leaf(2, 3), LABELS, leaf(3)),
    "as labels": lambda: ops.cross_entropy(leaf(2, 3), leaf(2)),
    "as weights of bits": lambda: ops.binary_cross_entropy_with_logits(leaf(2), leaf(2), pos_weight=leaf(2)),
    "as running values": lambda: ops.batch_norm(leaf(2, 3), leaf(3), leaf(3)),
    "as an index": lambda: leaf(2)[leaf(2)],
    "in an index": lambda: leaf(2, 2)[leaf(2), 0],
    "as the slope": lambda: ops.leaky_relu(leaf(2), leaf()),
    "as the border": lambda: ops.pad(leaf(2), 1, leaf()),
    "as a shape": lambda: ops.reshape(leaf(2), (leaf(), 1)),
    "in a list of plain numbers": lambda: ops.exp([leaf(), 1.0]),
    "in a nested sequence to concatenate": lambda: ops.concatenate([[leaf(), leaf()], leaf(2)]),
    "in a nested sequence to stack": lambda: ops.stack([[leaf(), 1.0], leaf(2)]),
    "in what is taken from": lambda: ops.take([leaf(), leaf()], [0]),
    "in an array of objects": lambda: ops.add(np.array([leaf(1), None], object)[:1], 1.0),
}


@pytest.mark.parametrize("where", LOST)
def test_a_tensor_whose_gradient_would_be_lost_is_refused(where: str) -> None:
    with pytest.raises(TypeError, match=r"gradient|lose"):
        LOST[where]()
