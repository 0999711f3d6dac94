"""The mistakes of the update: its length, its sign, and gradients that are never reset."""

from __future__ import annotations

import math
from dataclasses import replace

from ...tensor import Tensor
from .definition import GUESSING, Break, Statement, accuracies, all_dead, diverges, learns, percent, stays
from .experiment import CORRECT, Run


def _learning_rate_statements(correct: Run, broken: Run) -> list[Statement]:
    ratios = [max(step.ratios["hidden"] for step in run.steps[:10]) for run in (correct, broken)]
    loss, largest = broken.last.loss, broken.largest_loss
    return [
        (
            ratios[1] > 0.1 > ratios[0],
            f"In the first 10 steps, one step changes the hidden weight by up to {percent(ratios[1])} of its norm, instead of"
            f" {percent(ratios[0], 1)}.",
        ),
        (
            largest > broken.loss_before,
            f"The loss rises from {broken.loss_before:.3f} before the training to {largest:.4g} at its worst step.",
        ),
        (
            loss > GUESSING,
            f"In the last epoch it is {loss:.3f}, above ln 10 = {GUESSING:.3f}, the loss of equal probabilities for all"
            " classes.",
        ),
        all_dead(broken),
        accuracies(correct, broken),
    ]


def learning_rate() -> Break:
    return Break(
        summary="a learning rate that is much too large",
        question="The learning rate is 5.0 instead of 0.2. What will happen?",
        choices=(
            (
                "The loss rises first, and never becomes better than guessing.",
                lambda c, b: b.last.loss > 0.95 * GUESSING,
            ),
            ("The loss falls faster.", learns),
            ("The loss oscillates, but falls on average.", lambda c, b: b.last.loss < b.loss_before),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, lr=5.0),
        statements=_learning_rate_statements,
        why="The gradient describes the loss only near the present weights. A step that is too long leaves this region, and"
        " the loss at its end may be higher. Such a step may also move a hidden unit so far below 0 that no image"
        " activates it any more; its gradient is then 0.",
        recognize="The loss rises in the first steps, or stays above ln(classes). One step changes a weight by more than about"
        " 10 % of its norm; 0.1 % to 1 % is usual.",
        fix="Divide the learning rate by 10 until the loss falls from the beginning. Then try factors of 2 or 3 upwards.",
    )


def _ascent(parameters: list[Tensor], loss: Tensor, lr: float) -> None:
    for p in parameters:
        p.grad = None
    loss.backward()
    for p in parameters:
        p.data += lr * p.grad  # type: ignore[operator]


def _sign_error_statements(correct: Run, broken: Run) -> list[Statement]:
    losses = [step.loss for step in broken.steps]
    gradients = [step.gradients["hidden"] for step in broken.steps]
    bad, last = next((i for i, loss in enumerate(losses, 1) if not math.isfinite(loss)), 0), len(broken.epochs[0].steps)
    return [
        (
            losses[last - 1] > 2 * losses[0],
            f"In the first epoch, the loss rises from {losses[0]:.3f} in step 1 to {losses[last - 1]:.4g} in step {last}.",
        ),
        (
            gradients[last - 1] > 2 * gradients[0],
            f"The norm of the hidden gradient grows from {gradients[0]:.3f} to {gradients[last - 1]:.4g}.",
        ),
        (bad > 0, f"In step {bad} the loss is {losses[bad - 1]}: a number is too large for float32."),
        accuracies(correct, broken),
    ]


def sign_error() -> Break:
    return Break(
        summary="the update adds the gradient instead of subtracting it",
        question="The update adds lr times the gradient instead of subtracting it. What will happen?",
        choices=(
            ("There is no difference: the sign of the weights is arbitrary.", learns),
            ("The loss stays where it is.", stays),
            ("The loss rises faster and faster.", lambda c, b: not math.isfinite(b.largest_loss) or diverges(c, b)),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, update=_ascent),
        statements=_sign_error_statements,
        why="The gradient points to where the loss rises fastest. Adding it is gradient ascent: each step makes the"
        " correct classes less probable. Cross-entropy has no upper limit, so the weights and the gradients grow until float32 overflows.",
        recognize="The loss rises from the first step, steadily, and with a smaller learning rate too, only more slowly. With"
        " a learning rate that is too large, a smaller one helps.",
        fix="Subtract. To check a step: with a small learning rate, the loss of the same batch must be lower after it.",
    )


def _accumulating(parameters: list[Tensor], loss: Tensor, lr: float) -> None:
    loss.backward()
    for p in parameters:
        p.data -= lr * p.grad  # type: ignore[operator]


def _no_zero_grad_statements(correct: Run, broken: Run) -> list[Statement]:
    sizes = [[run.steps[i].gradients["output"] for i in (0, 19)] for run in (correct, broken)]
    best = min(range(len(broken.epochs)), key=lambda i: broken.epochs[i].loss)
    return [
        (
            math.isclose(sizes[0][0], sizes[1][0]) and sizes[1][1] > 2 * sizes[0][1],
            f"The first step is the same. In step 20, `grad` of the output weight has a norm of {sizes[1][1]:.3f}, instead of"
            f" {sizes[0][1]:.3f}: it is the sum of 20 gradients.",
        ),
        (
            best < len(broken.epochs) - 1 and broken.last.loss > broken.epochs[best].loss,
            f"The loss is lowest in epoch {best + 1}, {broken.epochs[best].loss:.3f}, and rises to"
            f" {broken.last.loss:.3f}; the largest loss of a step is {broken.largest_loss:.4g}.",
        ),
        (
            broken.last.dead > broken.units / 2,
            f"The long steps leave {broken.last.dead} of {broken.units} hidden units dead.",
        ),
        accuracies(correct, broken),
    ]


def no_zero_grad() -> Break:
    return Break(
        summary="gradients are never reset",
        question="`backward` adds to `grad`. Here, nothing resets `grad` before a step. What will happen?",
        choices=(
            ("The network learns faster to the end, because the steps are longer.", learns),
            ("It learns at first, then gets worse.", lambda c, b: min(e.loss for e in b.epochs[:-1]) < b.last.loss),
            ("The loss rises from the first step.", diverges),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, update=_accumulating),
        statements=_no_zero_grad_statements,
        why="Each step uses the sum of all gradients since the beginning. Old gradients keep their full influence"
        " even when the weights have passed the minimum, so that the steps go past it, further each time.",
        recognize="The norm of `grad` grows with the number of steps while the loss falls; then the loss rises and oscillates.",
        fix="Reset the gradients before `backward`: `optimizer.zero_grad()`, or set each `p.grad` to None.",
    )
