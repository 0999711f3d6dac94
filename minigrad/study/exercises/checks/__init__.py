"""The check of each exercise: a function of the learner's module that raises `Wrong`, or returns what was reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from .adam import ADAM
from .broadcasting import BROADCASTING
from .core import Part, check_parts
from .cross_entropy import CROSS_ENTROPY
from .digits import check_digits
from .graph import BACKWARD
from .mnist import check_mnist
from .predict import PREDICT
from .products import MATMUL, SQUARE
from .sgd import SGD
from .slope import SLOPE
from .softmax import SOFTMAX
from .xor import check_xor

PARTS: dict[str, tuple[Part, ...]] = {
    "01_slope": SLOPE,
    "02_predict": PREDICT,
    "03_square": SQUARE,
    "04_backward": BACKWARD,
    "05_broadcasting": BROADCASTING,
    "06_matmul": MATMUL,
    "07_softmax": SOFTMAX,
    "08_cross_entropy": CROSS_ENTROPY,
    "09_sgd": SGD,
    "10_adam": ADAM,
}


def _of_parts(parts: tuple[Part, ...]) -> Callable[[Any], str]:
    def check(module: Any) -> str:
        check_parts(module, parts)
        return ""

    return check


CHECKS: Mapping[str, Callable[[ModuleType], str]] = {
    **{name: _of_parts(parts) for name, parts in PARTS.items()},
    "11_xor": check_xor,
    "12_digits": check_digits,
    "13_mnist": check_mnist,
}
