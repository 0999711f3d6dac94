"""Known mistakes in the loss and in its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minigrad import ops

from .case import FLOAT32, SOFTMAX, Case, Numbers, cross_entropy, ratio, softmax, times


def softmax_twice(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The logits pass through softmax before the loss."""
    images, labels = case.reference.batch(case.step)
    logits = case.logits(images, case.step)
    yield SOFTMAX, {f"loss {case.step}": cross_entropy(softmax(logits), labels)}


def scaled_loss(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The loss is multiplied by a factor."""
    step, expected = case.step, case.reference.losses[case.step - 1]
    factor = case.other.losses[step - 1] / expected
    gradients = {f"gradient {name} {step}": factor * g for name, g in case.reference.at("gradient", step).items()}
    yield f"The loss is {times(case, factor)}", gradients
    size, full = len(case.reference.batch(step)[1]), case.recipe.data.batch_size
    for n, sentence in ((size, times(case, size)), (1 / size, times(case, 1 / size))):
        yield f"The loss is {sentence}", {f"loss {step}": expected * n}
    if size != full:
        yield (
            f"The loss of this batch of {size} images is divided by {full}, the size of a full batch.",
            {f"loss {step}": expected * size / full},
        )


def smoothed(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Label smoothing: loss = (1 - a) CE + a mean(-ln p). The loss or the gradient determines a, and both must agree."""
    step, (images, labels) = case.step, case.reference.batch(case.step)
    logits, loss, key = case.logits(images, step), case.reference.losses[step - 1], f"gradient output.bias {step}"
    uniform = float(-np.asarray(ops.log_softmax(logits, 1)).mean())
    one_hot = np.eye(logits.shape[1])[labels]
    gradient, change = (softmax(logits) - one_hot).mean(axis=0), (one_hot - 1 / logits.shape[1]).mean(axis=0)
    by_loss = (case.other.losses[step - 1] - loss) / (uniform - loss)
    for a in (by_loss, ratio(case.other.arrays[key] - gradient, change)):
        numbers = {f"loss {step}": (1 - a) * loss + a * uniform, key: gradient + a * change}
        yield f"The labels are smoothed by {a:.3g}.", numbers


def penalty(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The weight decay is added to the loss."""
    step, decay = case.step, case.recipe.model.weight_decay
    squares = {n: float((w * w).sum()) for n, w in case.weights(step - 1).items() if "running" not in n}
    for named in (squares, {n: s for n, s in squares.items() if n.endswith("weight")}):
        for share in (decay / 2, decay):
            loss = case.reference.losses[step - 1] + share * sum(named.values())
            yield "The weight decay is part of the loss, as a penalty.", {f"loss {step}": loss}


def unscaled(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The pixels are not scaled."""
    images, labels = case.reference.batch(case.step)
    if images.dtype == np.uint8:
        loss = cross_entropy(case.logits(images, case.step, 1.0), labels)
        yield "The pixels are not scaled by 1/255.", {f"loss {case.step}": loss}


def rounded_loss(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The loss is rounded to float32."""
    yield FLOAT32, {f"loss {case.step}": float(np.float32(case.reference.losses[case.step - 1]))}


def scaled_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The gradient is multiplied by a factor, or clipped."""
    expected, actual = case.reference.at("gradient", case.step), case.other.at("gradient", case.step)
    factor = ratio(actual[case.name], expected[case.name])
    norm = np.sqrt(sum(float((g * g).sum()) for g in actual.values()))
    for clip in (0.1, 0.25, 0.5, 1.0, 5.0, 10.0):
        if factor < 1 and abs(norm - clip) < 2e-5 * clip:
            yield f"The gradients are clipped to a norm of {clip:g}.", _all(case, lambda g: g * factor)
    yield f"The gradient of the loss is {times(case, factor)}", _all(case, lambda g: g * factor)
    largest = max(float(np.abs(g).max()) for g in actual.values())
    yield f"The gradients are clipped to ±{largest:.3g}.", _all(case, lambda g: np.clip(g, -largest, largest))


def kept_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The gradient is not zeroed after the step before."""
    previous = case.reference.at("gradient", case.step - 1)
    keys = {f"gradient {n} {case.step}": g + previous[n] for n, g in case.reference.at("gradient", case.step).items()}
    yield f"It includes the gradient of step {case.step - 1}, which was not zeroed.", keys


def decayed_gradient(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The weight decay is added to the gradient too early."""
    decay, weights = case.recipe.model.weight_decay, case.weights(case.step - 1)
    keys = {
        f"gradient {n} {case.step}": g + decay * weights[n] for n, g in case.reference.at("gradient", case.step).items()
    }
    yield "The gradient already includes the weight decay, which the optimizer then adds again.", keys


def _all(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Numbers:
    """Apply `change` to all gradients of the step."""
    return {f"gradient {n} {case.step}": change(g) for n, g in case.reference.at("gradient", case.step).items()}
