"""The recording of the right side without the effects of conventions that differ by design."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..parity.recording import Recording
from . import conventions
from .model import Dtype, Layer
from .numbers import Arrays, input_name
from .translation import Translation

Forced = Callable[[], Iterable[tuple[int, Arrays]]]


class Settled:
    """Subtracts from the right recording what the conventions predict. What remains is compared with the left one.

    Args:
        translation: the map.
        left, right: the recordings of a training, with the weights before the first step.
        learning_rate: the learning rate.
        dtype: the data type of both sides.
    """

    def __init__(
        self, translation: Translation, left: Recording, right: Recording, learning_rate: float, dtype: Dtype
    ) -> None:
        self.translation, self.left, self.learning_rate, self.dtype = translation, left, learning_rate, dtype
        self.actual = right
        self.arrays = dict(right.arrays)
        self.steps = len(left.losses)
        self.is_forced = False  # whether the right steps start at the left weights

    @property
    def recording(self) -> Recording:
        """The right recording without the effects."""
        return Recording(self.arrays)

    @property
    def adam_differs(self) -> bool:
        """Whether the two frameworks have different conventions for Adam."""
        left, right = (self.translation.models[side].framework for side in ("left", "right"))
        return conventions.adam_differs(left, right)

    def settle_adam(self, forced: Forced) -> None:
        """Subtract the effects of Adam's epsilon and of its corrections of the bias.

        After the first step the weights differ, and so do the losses and gradients. They are replaced by those of the right
        model at the left weights.

        Args:
            forced: returns, for each step from the second, the arrays of one right step that starts at the left weights.
        """
        for name, subject in self.translation.subjects.items():
            if f"gradient {name} 1" in self.left.arrays and subject.mine.trainable:
                self._settle_weight(name)
        losses = self.arrays["loss"].copy()
        for step, arrays in forced():
            losses[step - 1] = arrays["loss"][0]
            for key, array in arrays.items():
                kind, name = key.split(" ")[0], " ".join(key.split(" ")[1:-1])
                is_buffer = kind == "weight" and f"gradient {name} 1" not in self.left.arrays
                if kind == "gradient" or is_buffer:
                    self.arrays[f"{kind} {name} {step}"] = array
        self.arrays["loss"] = losses
        self.is_forced = True

    def _settle_weight(self, name: str) -> None:
        frameworks = [self.translation.models[side].framework for side in ("left", "right")]
        for step in range(1, self.steps + 1):
            errors = []
            for framework, recording in zip(frameworks, (self.left, self.actual), strict=True):
                gradients = {k: recording.arrays[f"gradient {name} {k}"] for k in range(1, step + 1)}
                update = conventions.adam_update(framework, gradients, step, self.learning_rate, self.dtype)
                before, after = (recording.arrays[f"weight {name} {k}"] for k in (step - 1, step))
                errors.append(after - before - update)
            # The left weight, and what neither convention explains.
            key = f"weight {name} {step}"
            self.arrays[key] = self.left.arrays[key] + errors[1] - errors[0]

    def settle_batch_norms(self) -> list[str]:
        """Subtract the effects of the momentum and of the running variance, and describe them."""
        pairs = [pair for pair in self.translation.layers if conventions.batch_norm_differs(*pair)]
        for left, right in pairs:
            for name, subject in self.translation.subjects.items():
                if subject.left is left and subject.mine.role in ("running_mean", "running_var"):
                    self._settle_buffer(name, left, right)
        return conventions.describe_batch_norms(pairs)

    def _settle_buffer(self, name: str, left: Layer, right: Layer) -> None:
        role = self.translation.subjects[name].mine.role
        x = self.left.at("trace", 1)[input_name(left.name, 0)]
        for step in range(1, self.steps + 1):
            key, earlier = f"weight {name} {step}", f"weight {name} {step - 1}"
            own = self.left if self.is_forced else self.actual
            before = self.left.arrays[earlier], own.arrays[earlier]
            after = self.left.arrays[key]
            predicted = conventions.running_buffer(role, left, right, x.size // x.shape[1], before, after)
            self.arrays[key] = self.arrays[key] - predicted + after
