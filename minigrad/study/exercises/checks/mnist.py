"""The check of 13 mnist."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import datasets
from ..outcome import Wrong
from .core import Case, Mistake, Outputs, Part, check_parts
from .digits import accuracy, too_low, trained_weights
from .network import module


def call_scaled(target: Any, images: np.ndarray) -> Outputs:
    return {"scaled(images)": target.scaled(images)}


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


SCALED = [
    (lambda images: flat(images), "The values are still from 0 to 255: divide by 255."),
    (lambda images: flat(images) // 255, "// divides integers and drops the rest. Use / for floats."),
    (lambda images: (flat(images) / 255).astype(np.uint8), "uint8 has only integers: the values must stay floats."),
    (lambda images: flat(images) / 256, "The largest value is 255: divide by 255, so that it becomes 1."),
    (lambda images: images / 255, "Give each image one row: reshape(len(images), -1)."),
    (lambda images: images.reshape(784, -1) / 255, "Give each image one row: reshape(len(images), -1)."),
    (lambda images: images.reshape(784, -1).T / 255, "This mixes the pixels of all images: reshape(len(images), -1) keeps them together."),
    (lambda images: flat(images.transpose(0, 2, 1)) / 255, "The images are transposed: keep the order of the axes."),
]  # fmt: skip
MNIST = (
    Part(
        ("scaled",),
        call_scaled,
        module(scaled=lambda images: flat(images) / 255),
        lambda rng: [Case({"images": rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)}) for n in (3, 1)],
        [Mistake(module(scaled=wrong), hint) for wrong, hint in SCALED],
        rtol=1e-6,
    ),
)


def check_mnist(target: Any) -> str:
    """Check the scaling, and the accuracy on the test images."""
    check_parts(target, MNIST)
    data = datasets.load("mnist")
    probe = target.scaled(data.test.images[:2])
    if probe.dtype != np.float32:
        raise Wrong(f"scaled(images) has the dtype {probe.dtype}; expected float32.", hint="Divide by np.float32(255).")
    weights = trained_weights(target, data.train.images, data.train.labels)
    reached = accuracy(target, target.scaled(data.test.images), data.test.labels, weights)
    if reached < 0.92:
        raise too_low(reached, 0.92)
    return f"{reached:.1%} of the test images are right"
