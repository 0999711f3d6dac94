"""A multi-layer perceptron for vectors of 20 features. Both hidden layers have 32 units: one weight is square."""

from __future__ import annotations

import seeded
import torch
from torch import nn

SHAPES = ((32, 20), (32,), (32, 32), (32,), (10, 32), (10,))


def model(*after: nn.Module, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """The network with random weights.

    Args:
        after: more layers at the end.
        activation: of the hidden layers.
    """
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(20, 32), activation(), nn.Linear(32, 32), activation(), nn.Dropout(0.5), nn.Linear(32, 10), *after
    )


def model_seeded() -> nn.Module:
    """The network with the weights of `seeded`."""
    net = model()
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), seeded.weights(SHAPES), strict=True):
            parameter.copy_(torch.from_numpy(weight))
    return net


def model_wrong_activation() -> nn.Module:
    return model(activation=nn.SiLU)


def model_softmax() -> nn.Module:
    return model(nn.Softmax(-1))


def model_missing_bias() -> nn.Module:
    net = model()
    net[2] = nn.Linear(32, 32, bias=False)
    return net


class ActiveDropout(nn.Module):
    """Forgets to pass `training` to the function, whose default is True."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5)


def model_active_dropout() -> nn.Module:
    net = model()
    net[4] = ActiveDropout()
    return net
