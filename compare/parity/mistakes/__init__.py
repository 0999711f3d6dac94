"""Known mistakes, by the phase of a step in which they first have an effect. The most specific ones come first."""

from __future__ import annotations

from .adaptive import adams, rmsprops
from .batches import other_batch, other_count, padded
from .case import Case, Mistake
from .layers import badly_scaled, misread, wrong_layer
from .loss import (
    decayed_gradient,
    kept_gradient,
    penalty,
    rounded_loss,
    scaled_gradient,
    scaled_loss,
    smoothed,
    softmax_twice,
    unscaled,
)
from .updates import decays, moments, not_updated, rate

__all__ = ["KNOWN", "Case", "Mistake"]

KNOWN: dict[str, tuple[Mistake, ...]] = {
    "loading": (misread,),
    "forward": (badly_scaled, wrong_layer),
    "loss": (rounded_loss, softmax_twice, unscaled, padded, scaled_loss, other_batch, penalty, smoothed),
    "gradient": (kept_gradient, scaled_gradient, decayed_gradient),
    "update": (not_updated, moments, adams, rmsprops, decays, rate),
    "batches": (other_count,),
}
