"""Optimizers, learning rate schedules and gradient clipping, with the names and formulas of torch."""

from .clipping import clip_grad_norm_, clip_grad_value_
from .optimizer import Optimizer
from .optimizers import SGD, Adam, AdamW, RMSprop
from .schedules import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR

__all__ = [
    "SGD", "Adam", "AdamW", "CosineAnnealingLR", "OneCycleLR", "Optimizer", "RMSprop", "ReduceLROnPlateau", "StepLR",
    "clip_grad_norm_", "clip_grad_value_",
]  # fmt: skip
