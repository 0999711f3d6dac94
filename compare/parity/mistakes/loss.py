"""Known mistakes of the loss and of its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minigrad import ops

from .case import FLOAT32, SOFTMAX, Case, Numbers, cross_entropy, ratio, softmax, times


def softmax_twice(case: Case) -> Iterator[tuple[str, Numbers]]:
    images, labels = case.reference.batch(case.step)
    logits = case.logits(images, case.step)
    yield SOFTMAX, {f"loss {case.step}": cross_entropy(softmax(logits), labels)}


def scaled_loss(case: Case) -> Iterator[tuple[str, Numbers]]:
    step, right = case.step, case.reference.losses[case.step - 1]
    factor = case.other.losses[step - 1] / right
    gradients = {f"gradient {name} {step}": factor * g for name, g in case.reference.at("gradient", step).items()}
    yield f"The loss is {times(case, factor)}", gradients
    size, full = len(case.reference.batch(step)[1]), case.recipe.data.batch_size
    for n, sentence in ((size, times(case, size)), (1 / size, times(case, 1 / size))):
        yield f"The loss is {sentence}", {f"loss {step}": right * n}
    if size != full:
        yield (
            f"The loss of this batch of {size} is divided by {full}, as if it were a full one.",
            {f"loss {step}": right * size / full},
        )


def smoothed(case: Case) -> Iterator[tuple[str, Numbers]]:
    """loss = (1 - a) CE + a mean over the classes of -ln p, so that a follows from one loss and must fit the gradient."""
    step, (images, labels) = case.step, case.reference.batch(case.step)
    logits = case.logits(images, step)
    even = float(-np.asarray(ops.log_softmax(logits, 1)).mean())
    a = (case.other.losses[step - 1] - case.reference.losses[step - 1]) / (even - case.reference.losses[step - 1])
    targets = (1 - a) * np.eye(logits.shape[1])[labels] + a / logits.shape[1]
    slope = (softmax(logits) - targets).mean(axis=0)
    yield f"The labels are smoothed by {a:.3g}.", {f"gradient output.bias {step}": slope}


def penalty(case: Case) -> Iterator[tuple[str, Numbers]]:
    step, decay = case.step, case.recipe.model.weight_decay
    squares = {n: float((w * w).sum()) for n, w in case.weights(step - 1).items() if "running" not in n}
    for named in (squares, {n: s for n, s in squares.items() if n.endswith("weight")}):
        for share in (decay / 2, decay):
            loss = case.reference.losses[step - 1] + share * sum(named.values())
            yield "The weight decay stands in the loss, as a penalty.", {f"loss {step}": loss}


def unscaled(case: Case) -> Iterator[tuple[str, Numbers]]:
    images, labels = case.reference.batch(case.step)
    if images.dtype == np.uint8:
        loss = cross_entropy(case.logits(images, case.step, 1.0), labels)
        yield "The pixels are not scaled by 1/255.", {f"loss {case.step}": loss}


def rounded_loss(case: Case) -> Iterator[tuple[str, Numbers]]:
    yield FLOAT32, {f"loss {case.step}": float(np.float32(case.reference.losses[case.step - 1]))}


def scaled_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    right, found = case.reference.at("gradient", case.step), case.other.at("gradient", case.step)
    factor = ratio(found[case.name], right[case.name])
    norm = np.sqrt(sum(float((g * g).sum()) for g in found.values()))
    for clip in (0.1, 0.25, 0.5, 1.0, 5.0, 10.0):
        if factor < 1 and abs(norm - clip) < 2e-5 * clip:
            yield f"The gradients are clipped to a norm of {clip:g}.", _all(case, lambda g: g * factor)
    yield f"The gradient of the loss is {times(case, factor)}", _all(case, lambda g: g * factor)
    largest = max(float(np.abs(g).max()) for g in found.values())
    yield f"The gradients are clipped to {largest:.3g}.", _all(case, lambda g: np.clip(g, -largest, largest))


def kept_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    old = case.reference.at("gradient", case.step - 1)
    keys = {f"gradient {n} {case.step}": g + old[n] for n, g in case.reference.at("gradient", case.step).items()}
    yield f"The gradient of step {case.step - 1} is still in it: it was not zeroed.", keys


def decayed_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    decay, weights = case.recipe.model.weight_decay, case.weights(case.step - 1)
    keys = {
        f"gradient {n} {case.step}": g + decay * weights[n] for n, g in case.reference.at("gradient", case.step).items()
    }
    yield "The weight decay is in the gradient before the optimiser adds it.", keys


def _all(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Numbers:
    return {f"gradient {n} {case.step}": change(g) for n, g in case.reference.at("gradient", case.step).items()}
