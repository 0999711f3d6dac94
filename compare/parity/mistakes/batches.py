"""Known mistakes of the batches: which images a step sees, with which labels, and how many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .case import Case, Numbers, cross_entropy


def other_batch(case: Case) -> Iterator[tuple[str, Numbers]]:
    """This step's loss is that of another batch, or of this one's images with another's labels."""
    key, batches = f"loss {case.step}", case.reference.batches()
    images, labels = case.reference.batch(case.step)
    for step, (others, theirs) in batches.items():
        if step != case.step:
            which = (
                f"The batch is that of step {step}."
                if step
                else "The images are taken in the file's order, unshuffled."
            )
            yield which, {key: cross_entropy(case.logits(others, case.step), theirs)}
    logits = case.logits(images, case.step)
    for step, (_, theirs) in batches.items():
        if step != case.step and len(theirs) == len(labels):
            whose = f"those of step {step}'s" if step else "those of the first in the file's order"
            yield f"The images have other images' labels, {whose}.", {key: cross_entropy(logits, theirs)}
    yield "The labels stand in reverse order.", {key: cross_entropy(logits, labels[::-1])}


def padded(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The last, smaller batch of an epoch made as large as the others."""
    (images, labels), full = case.reference.batch(case.step), case.recipe.data.batch_size
    size, (first, theirs) = len(labels), case.reference.batch(1)
    lacking, key = full - size, f"loss {case.step}"
    if not lacking:
        return
    own, cut = np.arange(full) % size, slice(0, lacking)
    fillings: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "the epoch's first images": (np.concatenate([images, first[cut]]), np.concatenate([labels, theirs[cut]])),
        "its own images again": (images[own], labels[own]),
        "its last image": (
            images[np.minimum(np.arange(full), size - 1)],
            labels[np.minimum(np.arange(full), size - 1)],
        ),
        "blank images of class 0": (
            np.concatenate([images, np.zeros_like(first[cut])]),
            np.concatenate([labels, np.zeros_like(theirs[cut])]),
        ),
    }
    for what, (more, known) in fillings.items():
        loss = cross_entropy(case.logits(more, case.step), known)
        yield f"The epoch's last batch, {size} of {full} images, was filled up with {what}.", {key: loss}


def other_count(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Another number of steps: what of the losses is there must say why."""
    found, expected = len(case.other.losses), len(case.reference.losses)
    size, full = len(case.reference.batch(expected)[1]), case.recipe.data.batch_size
    if found == expected - 1:
        steps = {f"loss {step + 1}": case.reference.losses[step] for step in range(found)}
        yield f"Every step before agrees: the epoch's last batch, {size} of {full} images, was dropped.", steps
    images, labels = (np.concatenate(parts) for parts in zip(*_in_a_row(case), strict=True))
    total = (expected - 1) * full + size
    for other in range(1, len(labels) + 1):
        if other != full and found in (-(-total // other), total // other):
            loss = cross_entropy(case.logits(images[:other], 1), labels[:other])
            yield f"The batches are of {other} images where the recipe has {full}.", {"loss 1": loss}


def _in_a_row(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first batches, as far as they were kept without a gap."""
    kept, step = case.reference.batches(), 1
    while step + 1 in kept:
        step += 1
    return [kept[i] for i in range(1, step + 1)]
