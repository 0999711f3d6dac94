"""The order of the classes when a training starts from the weights of an earlier one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from . import weights
from .errors import UserError

if TYPE_CHECKING:
    from ..datasets import Dataset


def in_order_of(data: Dataset, path: str | None) -> Dataset:
    """Return a data set with its classes in the order of a weights file, if that has the same classes.

    Args:
        data: the data to train on. Other classes are allowed, since the training changes the weights.
        path: the recipe's `model.weights`, or None. An invalid file is not reported here, but when its weights are loaded.
    """
    from ..datasets import align_classes  # here, since it imports this package

    names: tuple[str, ...] = ()
    if path is not None and data.class_names:
        with contextlib.suppress(UserError):
            names = weights.read_spec(path).class_names
    return align_classes(data, names, path) if sorted(names) == sorted(data.class_names) else data
