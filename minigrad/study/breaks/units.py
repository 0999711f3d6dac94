"""The mistakes that leave hidden units without a gradient: weights of 0, and input that is not scaled."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .definition import GUESSING, Break, Statement, accuracies, all_dead, diverges, learns, stays
from .experiment import CORRECT, Network, Run


def _zeros(rng: np.random.Generator) -> Network:
    net = Network(64, 32, 10, rng)
    for p in net.parameters():
        p.data[...] = 0
    return net


def _zero_init_statements(correct: Run, broken: Run) -> list[Statement]:
    silent = all(size == 0 for step in broken.steps for size in step.gradients.values())
    start, loss = broken.loss_before, broken.last.loss
    return [
        (abs(start - GUESSING) < 1e-5, f"The loss starts at exactly ln 10 = {GUESSING:.3f}: all logits are 0."),
        (silent, "The gradient of both weights is exactly 0 in every step, so that they stay 0."),
        (abs(loss - GUESSING) < 0.01, f"In the last epoch the loss is {loss:.3f}: only the output bias has changed."),
        accuracies(correct, broken),
    ]


def zero_init() -> Break:
    return Break(
        summary="all weights start at 0",
        question="All weights and biases start at 0 instead of at random numbers. What will happen?",
        choices=(
            ("The network learns as usual, because the gradients are not 0.", learns),
            ("The loss rises.", diverges),
            ("The weights stay at 0, and the loss stays at ln 10 = 2.303.", stays),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, network=_zeros),
        statements=_zero_init_statements,
        why="The gradient of the output weight is a product with the hidden values, which are relu(0) = 0. The gradient of the"
        " hidden weight is a product with the output weight, which is 0 too. Equal weights that are not 0 would not help"
        " much: all hidden units would get the same gradient, and stay equal.",
        recognize="The loss is exactly ln(classes) at the start and hardly moves; the gradient of every weight is exactly 0,"
        " and only the output bias has one.",
        fix="Start from random weights, for example uniform in ±1/sqrt(inputs), which `nn.Linear` does. Only biases may start"
        " at 0.",
    )


def _unscaled(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, 64).astype(np.float32)


def _dead_units_statements(correct: Run, broken: Run) -> list[Statement]:
    sizes = [run.steps[0].gradients["hidden"] for run in (correct, broken)]
    first = broken.epochs[0]
    return [
        (
            sizes[1] > 10 * sizes[0],
            f"In the first step, the gradient of the hidden weight has a norm of {sizes[1]:,.0f}, instead of {sizes[0]:.2f}.",
        ),
        (
            first.dead > broken.units / 2,
            f"After one epoch, {first.dead} of {broken.units} hidden units are 0 for every training image; in the correct"
            f" training {correct.epochs[0].dead}.",
        ),
        all_dead(broken),
        (
            abs(broken.last.loss - GUESSING) < 0.01,
            f"The loss stays at {broken.last.loss:.3f}, about ln 10 = {GUESSING:.3f}: only the output bias still"
            " changes, which is the same for every image.",
        ),
        accuracies(correct, broken),
    ]


def dead_units() -> Break:
    return Break(
        summary="pixels that are not scaled; the hidden units become 0",
        question="The pixels are 0 to 255 instead of 0 to 1; all else is the same. What will happen to the hidden units?",
        choices=(
            ("Nothing: the weights adapt to the larger input.", learns),
            ("They become so large that the loss is NaN.", lambda c, b: not math.isfinite(b.largest_loss)),
            (
                "After a few steps, they are 0 for every image, and nothing is learned.",
                lambda c, b: b.last.dead > b.units / 2,
            ),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, prepare=_unscaled),
        statements=_dead_units_statements,
        why="The gradient of the hidden weight is a product with the input, so that large inputs make the first steps much too"
        " long. They move the hidden units far below 0 for all images. There, the derivative of relu is 0: these units get"
        " no gradient, and stay as they are.",
        recognize="Count the units that are 0 for all images of a large batch. A few are normal; most or all of a layer is a"
        " symptom. The gradients of the layer are then 0, and the loss stays near ln(classes).",
        fix="Scale the input to about 0 to 1, or use a smaller learning rate. Dead units do not recover: start from new"
        " weights. Leaky ReLU or batch normalization make it less likely.",
    )
