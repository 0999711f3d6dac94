"""LeNet for images of 3 x 32 x 32. Activations and the flattening are functions, which no module announces."""

from __future__ import annotations

import seeded
import torch
from torch import nn
from torch.nn import functional

SHAPES = ((6, 3, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,))


class LeNet(nn.Module):
    """The network.

    Args:
        pool: the second pooling layer.
        flat: the number of values behind it.
    """

    def __init__(self, pool: nn.Module | None = None, flat: int = 400) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.AvgPool2d(2) if pool is None else pool
        self.fc1 = nn.Linear(flat, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool1(functional.relu(self.conv1(x)))
        x = self.pool2(functional.relu(self.conv2(x)))
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(functional.relu(self.fc2(x)))


def model() -> nn.Module:
    """The network with random weights."""
    torch.manual_seed(1)
    return LeNet()


def model_seeded() -> nn.Module:
    """The network with the weights of `seeded`."""
    net = model()
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), seeded.weights(SHAPES), strict=True):
            parameter.copy_(torch.from_numpy(weight))
    return net


def model_padded_pooling() -> nn.Module:
    """The second pooling layer pads, and averages only pixels of the image. Correct with the same function of Keras."""
    torch.manual_seed(1)
    return LeNet(nn.AvgPool2d(3, 3, padding=1, count_include_pad=False), 256)


def model_padding_counted() -> nn.Module:
    """The second pooling layer pads, and the padding counts, as it does by default."""
    torch.manual_seed(1)
    return LeNet(nn.AvgPool2d(3, 3, padding=1), 256)
