"""Hints during `python -m minigrad train`: the symptoms of a training that goes wrong.

Two steps per epoch are measured, the first after a third of the epoch and the
second the last one with a full batch, and after the epoch the hidden units. The
first is only used for small updates, since a schedule may end with a learning
rate of about 0. The thresholds below are outside the range of all trainings
that reached a good accuracy: the three built-in recipes on MNIST and on the
digits, and other networks, optimizers, schedules and batch sizes.
`docs/minigrad.md` lists these ranges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from . import nn, symptoms
from .classifier import Classifier

# Steps at the beginning of a training whose loss and updates are not judged: RMSprop's first update is 10 times larger
# than later ones, and random weights may start above the loss of guessing.
WARM_UP = 30
ABOVE_GUESSING = 1.1  # times ln(classes)
DIVERGING = 10.0  # times ln(classes)
LARGE_UPDATE = 0.2  # |change| / |weight| of one step
SMALL_UPDATE = 1e-4
# Updates are small while a schedule's learning rate is: they are a symptom only from this share of the recipe's rate.
FULL_RATE = 0.5
UNLEARNED = 0.95  # times ln(classes): small updates are a symptom only while the loss is above it
DEAD = 0.9  # of the units of a layer
FITTED = 1e-3  # below this loss, gradients may be 0 because every image is classified with certainty
TINY = 0.1  # times the norm of nn.Linear's random initial weights
MIN_BATCH = 16  # images; a smaller batch may activate no unit of a layer, whose gradient is then 0
SAMPLE = 256  # training images, or all if there are fewer, on which hidden units are measured


@dataclass(frozen=True)
class Hint:
    """A symptom with its number, its usual cause and what to try; `example` is a NAME of `study break NAME`, if there is one."""

    text: str
    example: str = ""

    @property
    def command(self) -> str:
        return f"python -m minigrad.study break {self.example}" if self.example else ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is known after an epoch.

    Attributes:
        epoch: its number, from 1.
        rate: the recipe's learning rate.
        guessing: ln(classes), the loss of equal probabilities for all classes.
        first_loss: the loss of the first step of the training.
        loss: the mean loss of the epoch, without steps in the warm-up.
        whole: whether no step of the epoch was in the warm-up.
        step_loss: the loss of the measured step.
        gradients: the norm of each layer's gradient in that step.
        ratios: |change| / |weight| of each layer in that step.
        largest_ratio: the largest ratio so far in a step with nearly the recipe's learning rate; None without such a step.
        dead: the numbers of dead and of all units of each hidden layer with relu.
        images: the number of training images on which they were measured.
        zero: the layers whose weight is 0 everywhere.
        tiny: the layers whose weight was much smaller than random initial weights before that step.
    """

    epoch: int
    rate: float
    guessing: float
    first_loss: float
    loss: float
    whole: bool
    step_loss: float
    gradients: dict[str, float]
    ratios: dict[str, float]
    largest_ratio: float | None
    dead: dict[str, tuple[int, int]]
    images: int
    zero: list[str]
    tiny: list[str]

    @property
    def loss_text(self) -> str:
        """The beginning of a sentence about the loss."""
        part = "" if self.whole else f" after the first {WARM_UP} steps"
        return f"The loss of epoch {self.epoch}{part} is {self.loss:,.4g}"


def diverging(m: Measurement) -> Hint | None:
    """The loss is many times that of guessing."""
    if not m.loss > DIVERGING * m.guessing:
        return None
    return Hint(
        f"{m.loss_text}, more than {DIVERGING:g} times the loss of guessing,"
        f" {m.guessing:.4g}. The training diverges, and the loss may become NaN. The usual cause is a learning rate that is"
        f" too large; try --model.learning_rate {m.rate / 10:.3g}.",
        "learning_rate",
    )


def above_guessing(m: Measurement) -> Hint | None:
    """The loss is above ln(classes), which equal probabilities for all classes have."""
    # A loss that is still falling from its first value is no symptom, unless it is far above that of guessing.
    if not m.loss > max(ABOVE_GUESSING * m.guessing, min(m.first_loss, 2 * m.guessing)):
        return None
    return Hint(
        f"{m.loss_text}, above {m.guessing:.4g}, the loss of equal probabilities for all classes. The usual cause is a"
        f" learning rate that is too large; try --model.learning_rate {m.rate / 10:.3g}.",
        "learning_rate",
    )


def large_updates(m: Measurement) -> Hint | None:
    """One step changes a large share of a weight."""
    # A weight that started at 0 changes by a large share of its norm while it grows.
    ratios = {layer: ratio for layer, ratio in m.ratios.items() if layer not in m.tiny}
    layer = max(ratios, key=ratios.__getitem__, default="")
    if not ratios.get(layer, 0) > LARGE_UPDATE:
        return None
    return Hint(
        f"One step changed the weight of {layer} by {100 * ratios[layer]:.0f} % of its norm at the end of epoch {m.epoch};"
        f" 0.1 % to 1 % is usual. The usual cause is a learning rate that is too large; try --model.learning_rate"
        f" {m.rate / 10:.3g}.",
        "learning_rate",
    )


def zero_weights(m: Measurement) -> Hint | None:
    """A weight is 0 everywhere, and a layer has no gradient."""
    if not (m.zero and (layers := _without_gradient(m))):
        return None
    return Hint(
        f"The gradient of {_names(layers)} is 0 everywhere at the end of epoch {m.epoch}, and so is the weight of"
        f" {_names(m.zero)}. Layers whose weights start at 0 do not learn; start from random weights.",
        "zero_init",
    )


def dead_units(m: Measurement) -> Hint | None:
    """Nearly all units of a hidden layer are 0 for every image."""
    for layer, (dead, units) in m.dead.items():
        if dead >= DEAD * units:
            return Hint(
                f"{dead} of the {units} units of {layer} are 0 for each of {m.images} training images after epoch {m.epoch}:"
                " they are dead, and get no gradient. The usual cause is a learning rate that is too large, or input that"
                f" is not scaled to about 0 to 1; try --model.learning_rate {m.rate / 10:.3g}.",
                "dead_units",
            )
    return None


def no_gradient(m: Measurement) -> Hint | None:
    """The gradient of a layer is exactly 0."""
    if not (layers := _without_gradient(m)):
        return None
    return Hint(
        f"The gradient of {_names(layers)} is 0 everywhere at the end of epoch {m.epoch}, so that it does not learn. The"
        f" usual cause is activations that are saturated or dead; try --model.learning_rate {m.rate / 10:.3g} and new"
        " initial weights.",
        "dead_units",
    )


def small_updates(m: Measurement) -> Hint | None:
    """No step has changed the weights noticeably, and nothing is learned."""
    if m.largest_ratio is None or m.largest_ratio >= SMALL_UPDATE or m.loss <= UNLEARNED * m.guessing:
        return None
    return Hint(
        f"The measured steps changed the weights by at most {100 * m.largest_ratio:.1g} % of their norm; 0.1 % to 1 % is"
        " usual."
        f" {m.loss_text}, about that of guessing. The usual cause is a learning rate that is too small; try"
        f" --model.learning_rate {m.rate * 10 or 0.1:.3g}."
    )


# Hints with related causes, the most serious first. An epoch gets only the first hint of a group that applies, and a
# later epoch only a more serious one.
GROUPS: tuple[tuple[Callable[[Measurement], Hint | None], ...], ...] = (
    (diverging, above_guessing, large_updates),
    (zero_weights, dead_units, no_gradient, small_updates),
)


def _without_gradient(m: Measurement) -> list[str]:
    return [layer for layer, size in m.gradients.items() if size == 0 and m.step_loss > FITTED]


def _names(layers: list[str]) -> str:
    return " and ".join(layers)


class Watcher:
    """Measures a training and returns the hints after each epoch. It changes no number of the training.

    Args:
        net: the network that is trained.
        images: the training images.
        classes: the number of classes.
        batch_size: the number of images per step.
        learning_rate: the recipe's learning rate, for the advice.
    """

    def __init__(
        self, net: Classifier, images: np.ndarray, classes: int, batch_size: int, learning_rate: float
    ) -> None:
        self.learning_rate = learning_rate
        self.net, self.weights = net, symptoms.layers(net.named_parameters())
        # Evenly spaced, since the images may be sorted by class.
        self.sample = images[np.linspace(0, len(images) - 1, min(SAMPLE, len(images)), dtype=np.int64)]
        self.guessing, self.batch_size = math.log(max(classes, 2)), batch_size
        self.measured_step = len(images) // batch_size
        self.early_step = max(self.measured_step // 3, 1)
        self.limits = [len(group) for group in GROUPS]  # the number of hints of each group that may still be given
        self.before: dict[str, np.ndarray] = {}
        self.gradients: dict[str, float] = {}
        self.ratios: dict[str, float] = {}
        self.tiny: list[str] = []
        self.step_loss = self.total = 0.0
        self.largest_ratio: float | None = None
        self.first_loss: float | None = None
        self.steps = self.judged = 0

    def batches(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the batches of an epoch; the weights are copied before a step that is measured."""
        self.total, self.steps, self.judged = 0.0, 0, 0
        for indices in batches:
            self.steps += 1
            if self.steps in (self.early_step, self.measured_step):
                self.before = symptoms.copy_of(self.weights)
            yield indices

    def step(self, step: int, loss: float, rate: float) -> None:
        """Record a step, numbered from 1 over all epochs, after the weights were updated.

        Args:
            step: its number.
            loss: its loss.
            rate: the learning rate after it.
        """
        if self.first_loss is None:
            self.first_loss = loss
        if step > WARM_UP:
            self.total += loss
            self.judged += 1
        if self.steps in (self.early_step, self.measured_step):
            self.gradients = symptoms.gradient_norms(self.weights) if self.batch_size >= MIN_BATCH else {}
            self.ratios = symptoms.update_ratios(self.before, self.weights)
            if rate >= FULL_RATE * self.learning_rate:
                self.largest_ratio = max([self.largest_ratio or 0.0, *self.ratios.values()])
            self.tiny = [name for name, w in self.before.items() if symptoms.norm(w) < TINY * math.sqrt(len(w) / 3)]
            self.step_loss, self.before = loss, {}

    def hints(self, epoch: int) -> list[Hint]:
        """Return the new hints after an epoch, which is numbered from 1."""
        if not self.judged or not math.isfinite(self.total) or not self.ratios:
            return []
        m, hints = self.measurement(epoch), []
        for i, group in enumerate(GROUPS):
            for position, symptom in enumerate(group[: self.limits[i]]):
                if hint := symptom(m):
                    hints.append(hint)
                    self.limits[i] = position
                    break
        return hints

    def measurement(self, epoch: int) -> Measurement:
        """Return what is known after an epoch, which is numbered from 1."""
        return Measurement(
            epoch=epoch,
            rate=self.learning_rate,
            guessing=self.guessing,
            first_loss=self.first_loss or 0.0,
            loss=self.total / max(self.judged, 1),
            whole=self.judged == self.steps,
            step_loss=self.step_loss,
            gradients=self.gradients,
            ratios=self.ratios,
            largest_ratio=self.largest_ratio,
            dead=self._dead(),
            images=len(self.sample),
            zero=[name for name, p in self.weights.items() if not p.data.any()],
            tiny=self.tiny,
        )

    def _dead(self) -> dict[str, tuple[int, int]]:
        if not isinstance(self.net.activation, nn.ReLU):
            return {}
        names = [f"{kind}.{i}" for kind in ("conv", "hidden") for i in range(len(getattr(self.net, kind)))]
        units = symptoms.dead_units(lambda: self.net.predict(self.sample))
        return {name: (int(dead.sum()), len(dead)) for name, dead in zip(names, units, strict=True)}
