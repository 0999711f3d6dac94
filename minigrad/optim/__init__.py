"""Optimisers, schedules and clipping, in torch's formulas and under its names."""

from .clipping import clip_grad_norm_, clip_grad_value_
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from .schedules import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

__all__ = [
    "SGD", "Adam", "AdamW", "CosineAnnealingLR", "OneCycleLR", "Optimizer", "RMSprop", "ReduceLROnPlateau", "StepLR",
    "clip_grad_norm_", "clip_grad_value_",
]  # fmt: skip
