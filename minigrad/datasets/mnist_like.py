"""Decides whether images are prepared as those of MNIST: light on dark, and centered by mass."""

from __future__ import annotations

import numpy as np

SAMPLE = 2_000  # images are enough to decide
SHARE = 0.8  # of the images must be prepared so
MIN_SIDE = 12  # in smaller images, a margin and a center cannot be told apart
MAX_FRAME = 0.05  # the mean of the outermost pixels, as a share of the brightest pixel; in MNIST at most 0.03
MAX_MEAN = 0.5  # of all pixels, as a share of the brightest pixel; in MNIST about 0.13
MIN_LENGTH = 0.5  # of the object's longer side, as a share of the image's; in MNIST at least 14/28
MAX_OFFSET = 1.5 / 28  # of the center of mass, as a share of the side; in MNIST at most 1/28
MAX_OFFSET_OF_BOX = 3 / 28  # if the bounding box is centered instead, as in EMNIST


def is_mnist_like(images: np.ndarray) -> bool:
    """Return whether most images are light on dark and centered by mass.

    Only for a network that was trained on such images, pictures are inverted,
    scaled and centered. The answer is True for MNIST and for EMNIST. It is
    False for Fashion-MNIST, whose objects touch the borders; for scikit-learn's
    digits of 8x8 pixels, which fill the frame; for images in color; and for vectors.

    Args:
        images: (n, *input_shape), uint8 or float32. Floats must range from 0 to 1, because otherwise the brightness
            that the network expects is not known.
    """
    is_gray = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 1)
    if not is_gray or not len(images):
        return False
    images = images[:: max(1, len(images) // SAMPLE)]
    if images.dtype != np.uint8 and (images.min() != 0 or images.max() != 1):
        return False
    return float(are_centered(images, MAX_OFFSET_OF_BOX).mean()) >= SHARE


def are_centered(images: np.ndarray, max_offset: float = MAX_OFFSET) -> np.ndarray:
    """Return for each image whether it shows one light object on a dark ground, with its center of mass at the center.

    Args:
        images: (n, height, width) or (n, height, width, 1), uint8 or nonnegative float32.
        max_offset: the largest distance between the two centers in each direction, as a share of the side.

    Returns:
        (n,) bool; False for an image without an object.
    """
    images = images.reshape(images.shape[:3]).astype(np.float32)
    size = np.array(images.shape[1:])
    brightest, mean = images.max(axis=(1, 2)), images.mean(axis=(1, 2))
    frame = np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1).mean(axis=1)
    is_light_on_dark = (mean > 0) & (frame <= MAX_FRAME * brightest) & (mean <= MAX_MEAN * brightest)
    is_object = images > brightest[:, None, None] / 4
    length, is_at_center = np.zeros(len(images)), np.ones(len(images), bool)
    for axis in (1, 2):
        side, other = size[axis - 1], 3 - axis
        occupied, mass = is_object.any(axis=other), images.sum(axis=other)
        center = mass @ np.arange(side) / np.maximum(mass.sum(axis=1), 1e-9)
        is_at_center &= abs(center - (side - 1) / 2) <= max_offset * side
        length = np.maximum(length, (side - occupied.argmax(axis=1) - occupied[:, ::-1].argmax(axis=1)) / side)
    return is_light_on_dark & is_at_center & (length >= MIN_LENGTH) & (size.min() >= MIN_SIDE)
