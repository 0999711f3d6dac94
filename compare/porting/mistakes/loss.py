"""Mistakes in the loss and in the gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minigrad import ops

from ..case import Case
from .candidate import Candidate, Mistake, is_left, left, ratio, right
from .words import choice

CLIPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
SMOOTHINGS = (0.1, 0.05, 0.2)
PENALTIES = (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 0.1, 4e-5, 5e-5, 1e-5)
REDUCTIONS = {
    "mean": ('reduction="mean"', 'reduction="sum_over_batch_size"'),
    "sum": ('reduction="sum"', 'reduction="sum"'),
}


def losses(case: Case) -> tuple[Mistake, ...]:
    """Return the mistakes of the loss."""
    return (other_loss, penalty)


def gradients(case: Case) -> tuple[Mistake, ...]:
    """Return the mistakes of a gradient."""
    return (kept_gradient, no_gradient, clipped_gradient, scaled_gradient, decayed_gradient)


def other_loss(case: Case) -> Iterator[Candidate]:
    """The losses of the left outputs are searched for both values: softmax twice, sum instead of mean, smoothing."""
    if case.training is None:
        return
    outputs = [array for key, array in case.reference.items() if key.startswith("output ")]
    for output in reversed(outputs):
        forms = list(_losses(case.training.loss, output, case.training.targets))
        for form, value in forms:
            if not is_left(case, value):
                continue
            by_distance = sorted(forms, key=lambda other: sum(a != b for a, b in zip(other[0], form, strict=True)))
            for other, other_value in by_distance:
                yield Candidate(
                    _name(form, other),
                    f"The right loss is {_words(other)} where the left one is {_words(form)}",
                    _change(case, form, other),
                    other_value,
                )


Form = tuple[int, str, float]  # the number of softmax operations in the model, the reduction, label smoothing


def _losses(name: str, output: np.ndarray, targets: np.ndarray) -> Iterator[tuple[Form, float]]:
    """Yield the losses of an output, by their form."""
    if name == "mse":
        if output.size != targets.size:
            return
        squares, n = (output.reshape(targets.shape) - targets) ** 2, len(targets)
        for reduction, value in {
            "mean": squares.mean(),
            "sum": squares.sum(),
            "sum per sample, averaged": squares.sum() / n,
            "mean, halved": squares.mean() / 2,
        }.items():
            yield (0, reduction, 0.0), float(value)
        return
    labels = targets.reshape(-1).astype(np.intp)
    if output.ndim < 2 or output.shape[:-1] != targets.shape or (labels >= output.shape[-1]).any():
        return
    logits, n = output.reshape(-1, output.shape[-1]), len(targets)
    for softmaxes in range(3):
        for smoothing in (0.0, *SMOOTHINGS):
            mean = float(ops.cross_entropy(logits, labels, label_smoothing=smoothing))
            yield (softmaxes, "mean", smoothing), mean
            yield (softmaxes, "sum", smoothing), mean * len(labels)
            if len(labels) != n:
                yield (softmaxes, "sum per sample, averaged", smoothing), mean * len(labels) / n
            yield (softmaxes, "mean, divided by the batch size again", smoothing), mean / n
        logits = np.asarray(ops.softmax(logits, 1))


def _name(form: Form, other: Form) -> str:
    if form[0] != other[0]:
        return "softmax twice"
    return "loss reduction" if form[1] != other[1] else "label smoothing"


def _words(form: Form) -> str:
    softmaxes, reduction, smoothing = form
    parts = [f"the {reduction} over the batch" if reduction in ("mean", "sum") else f"the {reduction}"]
    if softmaxes:
        parts.append(f"for outputs that went through softmax{' twice' if softmaxes == 2 else ''}")
    if smoothing:
        parts.append(f"with label smoothing {smoothing:g}")
    return " ".join(parts)


def _change(case: Case, form: Form, other: Form) -> str:
    on_left = form[0] > other[0]
    framework = case.left_framework if on_left else case.right_framework
    if form[0] != other[0]:
        side, remedy = "left" if on_left else "right", "remove the softmax from the model"
        keras = remedy + ", or use `SparseCategoricalCrossentropy(from_logits=False)`"
        text = choice(framework, (remedy + ", because `F.cross_entropy` applies it", keras))
        return f"On the {side}, {text}."
    if form[1] != other[1]:
        return f"Use `{choice(framework, REDUCTIONS.get(form[1], (form[1], form[1])))}` on the right."
    return f"Use `label_smoothing={form[2]:g}` on the right."


def penalty(case: Case) -> Iterator[Candidate]:
    """One side adds the squares of the weights to the loss."""
    names = [key.split()[1] for key in case.reference if key.startswith("gradient ")]
    trained = {name: case.reference[f"weight {name} {case.step - 1}"] for name in names}
    kernels = {name: w for name, w in trained.items() if w.ndim > 1}
    for weights, words in ((trained, "all weights"), (kernels, "the kernels")):
        squares = sum(float((w * w).sum()) for w in weights.values())
        for factor in dict.fromkeys(f * half for f in PENALTIES for half in (1.0, 0.5)):
            for on_left in (False, True):
                start = case.actual if on_left else case.expected
                side = "left" if on_left else "right"
                yield Candidate(
                    "penalty in the loss",
                    f"The {side} loss contains {factor:g} times the squares of {words}",
                    f"Remove the penalty, such as `kernel_regularizer`, on the {side}, or add it on the other side.",
                    start + factor * squares,
                    on_left=on_left,
                )


def _at_step(case: Case, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Return all gradients of the step after a change, by their keys."""
    suffix = f" {case.step}"
    keys = [key for key in case.reference if key.startswith("gradient ") and key.endswith(suffix)]
    return {key: change(case.reference[key]) for key in keys}


def scaled_gradient(case: Case) -> Iterator[Candidate]:
    """All gradients are multiplied by a factor."""
    factor, n = ratio(case.actual, case.expected), len(case.training.targets) if case.training else 1
    known = {
        float(n): f"the loss is summed over the batch of {n} instead of averaged",
        1 / n: f"the mean is divided by the batch size of {n} again",
    }
    cause = next((text for value, text in known.items() if math.isclose(factor, value, rel_tol=1e-6)), "")
    if case.expected.size == case.actual.size:
        yield Candidate(
            "loss reduction" if cause else "scaled gradient",
            f"All gradients of the right side are {factor:.6g} times those of the left side{f': {cause}' if cause else ''}",
            f"Use `{choice(case.right_framework, REDUCTIONS['mean'])}` on the right."
            if cause
            else "Remove the factor from the loss.",
            case.expected * factor,
            partial(_at_step, case, partial(np.multiply, factor)),
        )


def clipped_gradient(case: Case) -> Iterator[Candidate]:
    """The gradients are clipped by their norm, or by their value."""
    all_gradients = _at_step(case, np.asarray)
    norm = math.sqrt(sum(float((g * g).sum()) for g in all_gradients.values()))
    for clip in CLIPS:
        if norm > clip:
            factor = clip / norm
            for scale, digits in ((factor, "clipnorm"), (clip / (norm + 1e-6), "clip_grad_norm_")):
                yield Candidate(
                    "gradient clipping",
                    f"The right gradients are clipped to a norm of {clip:g}",
                    f"Remove the clipping (`{digits}`) or use it on both sides.",
                    case.expected * scale,
                    partial(_at_step, case, partial(np.multiply, scale)),
                )
        yield Candidate(
            "gradient clipping",
            f"The right gradients are clipped to ±{clip:g}",
            "Remove the clipping or use it on both sides.",
            np.clip(case.expected, -clip, clip),
            partial(_at_step, case, partial(np.clip, a_min=-clip, a_max=clip)),
        )


def kept_gradient(case: Case) -> Iterator[Candidate]:
    """The gradients of the step before are not set to zero."""
    key = f"gradient {case.names[case.tensor.split()[2]]} {case.step - 1}"
    yield Candidate(
        "gradient not zeroed",
        f"The gradient of {right(case)} contains that of step {case.step - 1}",
        "Call `optimizer.zero_grad()` in each step.",
        case.expected + case.reference[key],
    )


def no_gradient(case: Case) -> Iterator[Candidate]:
    """One side has no gradient, because the weight is frozen."""
    for on_left in (False, True):
        owner = left(case) if on_left else right(case)
        framework = case.left_framework if on_left else case.right_framework
        yield Candidate(
            "no gradient",
            f"The {case.tensor} of {owner} is 0 and the other one is not",
            f"Set `{choice(framework, ('requires_grad = True', 'trainable = True'))}`"
            f" and remove `{choice(framework, ('detach()', 'stop_gradient'))}` for {owner}.",
            np.zeros_like(case.expected),
            on_left=on_left,
        )


def decayed_gradient(case: Case) -> Iterator[Candidate]:
    """The gradient contains a multiple of the weight: a penalty in the loss, or weight decay."""
    name = case.names[case.tensor.split()[2]]
    weight = case.reference[f"weight {name} {case.step - 1}"]
    factor = ratio(case.actual - case.expected, weight)
    if weight.size >= 4:
        side = "right" if factor > 0 else "left"
        yield Candidate(
            "penalty in the loss",
            f"The gradient of {(right if factor > 0 else left)(case)} contains {abs(factor):.4g} times its weight",
            f"Remove the penalty, such as `kernel_regularizer`, or the weight decay on the {side}.",
            case.expected + factor * weight,
        )
