"""MobileNetV2 of keras.applications in PyTorch, with the names of torchvision.

Unlike torchvision's, its convolutions with stride 2 pad as TensorFlow does, at the end only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

SCALE = 1.5  # of the variance of the kernels
# Expansion, output channels, number of blocks, stride of the first one.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@dataclass
class Settings:
    """What a port can get wrong.

    Attributes:
        eps: of batch norm; the default of PyTorch is 1e-5.
        momentum: of batch norm, of the new value; the default of PyTorch is 0.1.
        symmetric: whether convolutions with stride 2 pad by 1 on all sides.
        activation: the class of the activation.
    """

    eps: float = 1e-3
    momentum: float = 1e-3
    symmetric: bool = False
    activation: type[nn.Module] = nn.ReLU6


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int, groups: int, settings: Settings) -> list[nn.Module]:
    """Return a convolution with batch norm, and the padding before it if it is asymmetric."""
    asymmetric = stride == 2 and not settings.symmetric
    pad = [nn.ZeroPad2d((0, 1, 0, 1))] if asymmetric else []
    padding = 0 if asymmetric else kernel // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [*pad, conv, nn.BatchNorm2d(outputs, settings.eps, settings.momentum)]


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, settings: Settings) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*conv_bn(inputs, hidden, 1, 1, 1, settings), settings.activation()]
        layers += [*conv_bn(hidden, hidden, 3, stride, hidden, settings), settings.activation()]
        self.conv = nn.Sequential(*layers, *conv_bn(hidden, outputs, 1, 1, 1, settings))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        features: list[nn.Module] = [nn.Sequential(*conv_bn(3, 32, 3, 2, 1, settings), settings.activation())]
        channels = 32
        for expansion, outputs, number, stride in BLOCKS:
            for i in range(number):
                block = InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion, settings)
                features.append(block)
                channels = outputs
        features.append(nn.Sequential(*conv_bn(channels, 1280, 1, 1, 1, settings), settings.activation()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(1280, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def model() -> nn.Module:
    """The network with random weights of a scale that no layer shrinks, so that every layer affects the output."""
    return _build(Settings())


def _build(settings: Settings) -> nn.Module:
    torch.manual_seed(1)
    net = MobileNetV2(settings)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.normal_(0, (SCALE / module.weight[0].numel()) ** 0.5)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.1, 0.1)
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2.0)
    return net


def model_wrong_epsilon() -> nn.Module:
    """Batch norm has the default epsilon of PyTorch."""
    return _build(Settings(eps=1e-5))


def model_wrong_momentum() -> nn.Module:
    """Batch norm has the default momentum of PyTorch."""
    return _build(Settings(momentum=0.1))


def model_symmetric_padding() -> nn.Module:
    """Convolutions with stride 2 pad by 1 on all sides, as in torchvision."""
    return _build(Settings(symmetric=True))


def model_wrong_activation() -> nn.Module:
    """ReLU instead of ReLU6."""
    return _build(Settings(activation=nn.ReLU))
