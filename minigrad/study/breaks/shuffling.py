"""The mistake of the order: training images that are sorted by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .definition import Break, Statement, accuracies, learns, percent, stays
from .experiment import CORRECT, Run


def _sorted_by_class(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.argsort(labels, kind="stable")


def _no_shuffling_statements(correct: Run, broken: Run) -> list[Statement]:
    nines = [float((epoch.predictions == 9).mean()) for epoch in (broken.epochs[0], broken.last)]
    share = float((broken.labels == 9).mean())
    peaks = [max(step.loss for step in run.last.steps) for run in (correct, broken)]
    return [
        (
            nines[0] > 0.5,
            f"After the first epoch, the network predicts class 9, the last one in the epoch, for {percent(nines[0])} of the test"
            f" images; {percent(share)} have this label. After the last epoch it is {percent(nines[1])}.",
        ),
        (
            peaks[1] > 3 * peaks[0],
            f"In the last epoch, the mean loss of the steps is {broken.last.loss:.3f}, but each new class makes it jump: the"
            f" largest loss of a step is {peaks[1]:.2f}, instead of {peaks[0]:.2f}.",
        ),
        accuracies(correct, broken),
    ]


def no_shuffling() -> Break:
    return Break(
        summary="training images in the order of their classes",
        question="Each epoch visits all images of class 0 first, then those of class 1, and so on. What will happen?",
        choices=(
            (
                "The training loss falls, but the accuracy on the test images stays low.",
                lambda c, b: b.last.loss < b.loss_before,
            ),
            ("There is no difference: each epoch visits the same images.", learns),
            ("The loss does not fall at all.", stays),
        ),
        correct=CORRECT,
        broken=replace(CORRECT, order=_sorted_by_class),
        statements=_no_shuffling_statements,
        why="The gradient of a batch is an estimate of the gradient for all images. A batch of one class makes this class more"
        " probable for every image, mainly through the output bias. In the middle of a class the loss is near 0, since the"
        " network predicts this class; at the next class the predictions are wrong, and the steps that correct them undo"
        " what was learned before.",
        recognize="The loss jumps at the same steps of each epoch. The training loss is much lower than"
        " that of the same images after the epoch, and the network predicts the last class too often.",
        fix="Shuffle the training images anew in each epoch.",
    )
