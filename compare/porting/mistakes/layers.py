"""Mistakes of one layer beyond its settings: a missing bias, active dropout, other statistics, a further activation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import numpy as np

from ..case import Case
from ..result import Explanation
from .candidate import Candidate, first_explanation, is_left, left, ratio, right
from .flatten import flatten_layer
from .forward import FUNCTIONS, forward
from .settings import as_left, other_kind, settings, usual_settings
from .weights import weight_of_layer
from .words import activation, choice, class_of

# The arguments that give a layer a weight, by kind and role, in PyTorch and in Keras.
WEIGHTS = {
    ("", "bias"): ("bias", "use_bias"),
    ("batch_norm", "bias"): ("affine", "center"),
    ("batch_norm", "weight"): ("affine", "scale"),
    ("layer_norm", "bias"): ("bias", "center"),
    ("layer_norm", "weight"): ("elementwise_affine", "scale"),
}
INACTIVE = (
    "Call `model.eval()`, and write `F.dropout(x, p, training=self.training)`",
    "Call the model with `training=False`, and its `Dropout` without `training=True`",
)


def output(case: Case) -> Explanation | None:
    """Explain the output of a right layer that was fed the left layer's inputs."""
    if _settings_are_equal(case):
        mistakes = (active_dropout, flatten_layer, missing_weight, other_statistics, applied_function)
        return first_explanation(case, mistakes) or weight_of_layer(case)
    return first_explanation(
        case,
        (
            active_dropout,
            flatten_layer,
            settings,
            other_statistics,
            usual_settings,
            other_kind,
            deviation_epsilon,
            applied_function,
        ),
    )


def _settings_are_equal(case: Case) -> bool:
    """Return whether the left settings with the right weights reproduce the right output."""
    with suppress(KeyError, ValueError, IndexError), np.errstate(all="ignore"):
        return case.matches(as_left(case))
    return False


def missing_weight(case: Case) -> Iterator[Candidate]:
    """One side has no bias, or no scale, and the other one has it."""
    roles, others = case.left_weights.keys(), case.right_weights.keys()
    remedied = {role: case.right_weights.get(role, array) for role, array in case.left_weights.items()}
    for role in sorted(roles ^ others):
        on_left = role in others
        owner, other = (left(case), right(case)) if on_left else (right(case), left(case))
        name = "scale" if role == "weight" else role
        yield Candidate(
            f"missing {name}",
            f"{owner} has no {name} and {other} has one",
            f"Write {_with_weight(case, role, on_left)} for {owner}.",
            partial(as_left, case),
            holds=is_left(case, as_left(case, remedied)),
        )


def _with_weight(case: Case, role: str, on_left: bool) -> str:
    """Return how to create a layer that has this weight."""
    layer = case.left if on_left else case.right
    framework = case.left_framework if on_left else case.right_framework
    assert layer is not None
    names = WEIGHTS.get((layer.kind, role)) or WEIGHTS.get(("", role), (role, role))
    return f"`{class_of(framework, layer.kind, layer)}(..., {choice(framework, names)}=True)`"


def active_dropout(case: Case) -> Iterator[Candidate]:
    """Dropout is active in evaluation mode, on one side."""
    is_dropout = case.left is not None and case.left.kind == "dropout"
    if (is_dropout or case.tensor == "input") and case.expected.shape == case.actual.shape:
        yield _dropout(case, on_left=False)
        yield _dropout(case, on_left=True)


def _dropout(case: Case, on_left: bool) -> Candidate:
    """Return the candidate that one side is the other one times mask / (1 - rate). The rate follows from the numbers."""
    x, y = (case.actual, case.expected) if on_left else (case.expected, case.actual)
    framework = case.left_framework if on_left else case.right_framework
    kept, is_used = y != 0, x != 0
    dropped = float(np.mean(~kept[is_used])) if is_used.any() else 0.0
    scale = ratio(y[kept], x[kept])
    rate = 1 - 1 / scale if scale > 1 else 0.0
    is_plausible = 0 < rate < 1 and abs(dropped - rate) < 0.05 + 4 * np.sqrt(rate / max(x.size, 1))
    return Candidate(
        "dropout active",
        f"{'Dropout before ' if case.tensor == 'input' else ''}{(left if on_left else right)(case)} sets {dropped:.0%} of the"
        f" values to 0 in {case.mode} mode and multiplies the others by {scale:.4g}, as with rate {rate:.3g}",
        f"{choice(framework, INACTIVE)}.",
        x * kept * scale,
        holds=bool(is_plausible),
        on_left=on_left,
    )


def other_statistics(case: Case) -> Iterator[Candidate]:
    """Batch norm uses the statistics of the batch in evaluation, or the running ones in training."""
    if case.left is None or case.right is None or case.left.kind != "batch_norm":
        return
    used = {"eval": "the statistics of the batch", "train": "the running statistics"}
    other = "train" if case.mode == "eval" else "eval"
    for on_left, layer, weights in ((False, case.right, case.right_weights), (True, case.left, case.left_weights)):
        owner, partner = (left(case), right(case)) if on_left else (right(case), left(case))
        framework = case.left_framework if on_left else case.right_framework
        change = choice(framework, ("Create it with `track_running_stats=True`", "Set `trainable=True`"))
        yield Candidate(
            "batch norm statistics",
            f"{owner} uses {used[case.mode]} in {case.mode} mode and {partner} {used[other]}",
            f"{change} and do not fix its mode, so that {owner} follows the mode of the model.",
            partial(forward, layer, weights, case.inputs, other),
            on_left=on_left,
        )


def deviation_epsilon(case: Case) -> Iterator[Candidate]:
    """Layer norm adds epsilon to the standard deviation, or uses the unbiased one."""
    if case.left is None or case.left.kind != "layer_norm":
        return
    x, w, eps = case.inputs[0], case.right_weights, case.left.config["eps"]
    shape = next((w[role].shape for role in ("weight", "bias") if role in w), x.shape[-1:])
    axes = tuple(range(-len(shape), 0))
    for value in dict.fromkeys((eps, 1e-6, 1e-5)):
        for ddof, words in ((0, "the standard deviation"), (1, "the unbiased standard deviation")):
            unit = (x - x.mean(axes, keepdims=True)) / (x.std(axes, ddof=ddof, keepdims=True) + value)
            yield Candidate(
                "layer norm epsilon",
                f"{right(case)} adds {value:g} to {words} where {left(case)} adds {eps:g} to the variance",
                "Divide by the square root of the variance plus epsilon.",
                unit * w.get("weight", 1.0) + w.get("bias", 0.0),
            )


def applied_function(case: Case) -> Iterator[Candidate]:
    """One side applies a further activation function to the output."""
    for name in FUNCTIONS:
        for on_left in (False, True):
            x = case.actual if on_left else case.expected
            owner, framework = (left(case), case.left_framework) if on_left else (right(case), case.right_framework)
            is_softmax = name.endswith("softmax")
            yield Candidate(
                "softmax in the model" if is_softmax else "activation",
                f"The output of {owner} went through {name}, the other one did not",
                f"Remove `{activation(framework, {'function': name})}` there, or add it on the other side"
                + (", because a loss from logits applies softmax itself." if is_softmax else "."),
                FUNCTIONS[name](x, {}),
                on_left=on_left,
            )
