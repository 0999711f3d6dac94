"""Known mistakes of Adam, AdamW and RMSprop, which divide a gradient by its magnitude."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minigrad import Tensor, optim
from minigrad.recipes import Model
from minigrad.training import learning_rates

from .case import Case, Numbers
from .updates import replay


def adams(case: Case) -> Iterator[tuple[str, Numbers]]:
    """Adam with another denominator: w <- w - lr / c1 m / root(v, c2, eps), where c1 and c2 correct the bias."""
    model = case.recipe.model
    if model.optimizer not in ("adam", "adamw"):
        return
    adam = partial(AdamOf, model.learning_rate, model.weight_decay, model.optimizer == "adamw")
    forms: dict[str, tuple[bool, Callable[[Any, float, float], Any]]] = {
        "The bias of the moments is not corrected.": (False, lambda v, c, eps: np.sqrt(v) + eps),
        "The bias of the second moment is not corrected.": (True, lambda v, c, eps: np.sqrt(v) + eps),
        "The bias of the first moment is not corrected.": (False, lambda v, c, eps: np.sqrt(v / c) + eps),
        "Epsilon is inside the square root.": (True, lambda v, c, eps: np.sqrt(v / c + eps)),
        "Epsilon is added before the bias correction, as in Keras's Adam.": (
            True,
            lambda v, c, eps: (np.sqrt(v) + eps) / math.sqrt(c),
        ),
    }
    for sentence, (corrected, root) in forms.items():
        for eps in (1e-8, 1e-7):
            suffix = "" if eps == 1e-8 else f" Epsilon is {eps:g} where minigrad has 1e-08."
            yield sentence + suffix, replay(case, partial(adam, corrected, root, eps))
    for eps in epsilons(case):
        yield (
            f"Epsilon is {eps:.3g} where minigrad has 1e-08.",
            replay(case, partial(adam, True, lambda v, c, e: np.sqrt(v / c) + e, eps)),
        )


class AdamOf(optim.Adam):
    """Adam with `root(v, 1 - b2^t, eps)` as its denominator; without bias correction of m unless `corrected`."""

    def __init__(
        self,
        lr: float,
        weight_decay: float,
        decoupled: bool,
        corrected: bool,
        root: Any,
        eps: float,
        parameters: list[Tensor],
    ) -> None:
        super().__init__(parameters, lr, weight_decay=weight_decay)
        self.decoupled, self.corrected, self.root, self.epsilon = decoupled, corrected, root, eps

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        (b1, b2), m, v = self.betas, self.first[i], self.second[i]
        m += (1 - b1) * (g - m)
        v += (1 - b2) * (g * g - v)
        first = 1 - b1**self.steps if self.corrected else 1.0
        w -= self.lr / first * m / self.root(v, 1 - b2**self.steps, self.epsilon)


def rmsprops(case: Case) -> Iterator[tuple[str, Numbers]]:
    """RMSprop with another decay or epsilon."""
    model = case.recipe.model
    if model.optimizer != "rmsprop":
        return
    for alpha in (0.99, 0.9, 0.95, 0.999):
        differences = [] if alpha == 0.99 else [f"Alpha is {alpha:g} where minigrad has 0.99."]
        for inside in (False, True):
            for eps in dict.fromkeys((1e-8, 1e-7, *(epsilons(case) if not inside else ()))):
                sentences = differences + (["Epsilon is inside the square root."] if inside else [])
                sentences += [] if eps == 1e-8 else [f"Epsilon is {eps:.3g} where minigrad has 1e-08."]
                if sentences:
                    yield " ".join(sentences), replay(case, partial(RMSpropOf, model, alpha, eps, inside))


class RMSpropOf(optim.RMSprop):
    """RMSprop with epsilon inside the square root if `inside`."""

    def __init__(self, model: Model, alpha: float, eps: float, inside: bool, parameters: list[Tensor]) -> None:
        super().__init__(parameters, model.learning_rate, alpha, weight_decay=model.weight_decay)
        self.inside, self.epsilon = inside, eps

    def update(self, i: int, w: np.ndarray, g: np.ndarray) -> None:
        v = self.second[i]
        v += (1 - self.alpha) * (g * g - v)
        w -= self.lr * g / (np.sqrt(v + self.epsilon) if self.inside else np.sqrt(v) + self.epsilon)


def epsilons(case: Case) -> Iterator[float]:
    """Yield candidates for epsilon.

    These are powers of ten, 0, and the value that explains the first step
    where epsilon matters most: it solves lr g / (r |g| + eps) = step.
    """
    yield from (10.0**-k for k in range(1, 17))
    yield 0.0
    model = case.recipe.model
    if model.weight_decay:
        return
    g = case.other.at("gradient", 1)[case.name]
    step = np.abs(case.other.at("weight", 0)[case.name] - case.other.at("weight", 1)[case.name])
    share = 0.1 if model.optimizer == "rmsprop" else 1.0
    lr = learning_rates(model, len(case.reference.losses))[0]
    effect = np.where(step > 0, lr - share * step, 0)  # 0 where epsilon makes no difference
    index = np.unravel_index(int(np.argmax(np.abs(effect))), effect.shape)
    if step[index]:
        eps = float(np.abs(g[index]) * (lr / step[index] - share))
        yield from (float(f"{eps:.{digits}g}") for digits in (2, 4))
