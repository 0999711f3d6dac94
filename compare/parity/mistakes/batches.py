"""Known mistakes in the batches: their images, their labels and their number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .case import Case, Numbers, cross_entropy


def other_batch(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The batch is that of another step, or its images have the labels of another batch."""
    key, batches = f"loss {case.step}", case.reference.batches()
    images, labels = case.reference.batch(case.step)
    for step, (other_images, other_labels) in batches.items():
        if step != case.step:
            shuffled = f"The batch is that of step {step}."
            sentence = shuffled if step else "The images are in the file's order, not shuffled."
            yield sentence, {key: cross_entropy(case.logits(other_images, case.step), other_labels)}
    logits = case.logits(images, case.step)
    for step, (_, other_labels) in batches.items():
        if step != case.step and len(other_labels) == len(labels):
            source = f"of the batch of step {step}" if step else "of the first images in the file's order"
            yield f"The images have the labels {source}.", {key: cross_entropy(logits, other_labels)}
    yield "The labels are in reverse order.", {key: cross_entropy(logits, labels[::-1])}


def padded(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The last, smaller batch of an epoch is padded to the size of the others."""
    (images, labels), full = case.reference.batch(case.step), case.recipe.data.batch_size
    size, (first, first_labels) = len(labels), case.reference.batch(1)
    missing, key = full - size, f"loss {case.step}"
    if not missing:
        return
    repeated, cut = np.arange(full) % size, slice(0, missing)
    fillings: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "the epoch's first images": (np.concatenate([images, first[cut]]), np.concatenate([labels, first_labels[cut]])),
        "its own images again": (images[repeated], labels[repeated]),
        "its last image": (
            images[np.minimum(np.arange(full), size - 1)],
            labels[np.minimum(np.arange(full), size - 1)],
        ),
        "blank images of class 0": (
            np.concatenate([images, np.zeros_like(first[cut])]),
            np.concatenate([labels, np.zeros_like(first_labels[cut])]),
        ),
    }
    for padding, (padded_images, padded_labels) in fillings.items():
        loss = cross_entropy(case.logits(padded_images, case.step), padded_labels)
        yield f"The epoch's last batch, {size} of {full} images, is padded with {padding}.", {key: loss}


def other_count(case: Case) -> Iterator[tuple[str, Numbers]]:
    """The number of steps differs. The explanation must agree with the recorded losses."""
    actual, expected = len(case.other.losses), len(case.reference.losses)
    size, full = len(case.reference.batch(expected)[1]), case.recipe.data.batch_size
    if actual == expected - 1:
        steps = {f"loss {step + 1}": case.reference.losses[step] for step in range(actual)}
        yield f"All earlier steps agree: the epoch's last batch, {size} of {full} images, is dropped.", steps
    images, labels = (np.concatenate(parts) for parts in zip(*_first_batches(case), strict=True))
    total = (expected - 1) * full + size
    for other in range(1, len(labels) + 1):
        if other != full and actual in (-(-total // other), total // other):
            loss = cross_entropy(case.logits(images[:other], 1), labels[:other])
            yield f"The batches have {other} images where the recipe has {full}.", {"loss 1": loss}


def _first_batches(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the first batches, up to the first one that is not recorded."""
    recorded, step = case.reference.batches(), 1
    while step + 1 in recorded:
        step += 1
    return [recorded[i] for i in range(1, step + 1)]
