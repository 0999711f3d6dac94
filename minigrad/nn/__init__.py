"""Modules, layers and weight initialization, with the names of torch.nn."""

from . import init
from .layers import BatchNorm1d, BatchNorm2d, Conv2d, Embedding, LayerNorm, Linear
from .module import Module
from .plain import (
    ELU,
    GELU,
    AvgPool2d,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .sequential import Sequential

__all__ = [
    "ELU", "GELU", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "Dropout", "Embedding", "Flatten", "LayerNorm",
    "LeakyReLU", "Linear", "MaxPool2d", "Module", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softplus", "Tanh", "init",
]  # fmt: skip
