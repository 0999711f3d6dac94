"""A block of a transformer encoder, norm first, with a classifier on the mean over the positions. Inputs: (12, 32)."""

from __future__ import annotations

import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(32)
        self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
        self.dropout1 = nn.Dropout(0.1)
        self.norm2 = nn.LayerNorm(32)
        self.linear1 = nn.Linear(32, 64)
        self.gelu = nn.GELU()
        self.linear2 = nn.Linear(64, 32)
        self.dropout2 = nn.Dropout(0.1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(x)
        x = x + self.dropout1(self.attention(normed, normed, normed, need_weights=False)[0])
        x = x + self.dropout2(self.linear2(self.gelu(self.linear1(self.norm2(x)))))
        return self.head(x.mean(1))


def model() -> nn.Module:
    """The network with random weights, also of the biases and of layer norm."""
    torch.manual_seed(1)
    net = Encoder()
    with torch.no_grad():
        for norm in (net.norm1, net.norm2):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.1)
        net.attention.in_proj_bias.normal_(0, 0.1)
        net.attention.out_proj.bias.normal_(0, 0.1)
    return net
