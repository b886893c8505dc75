"""The few layers that the convolutional architectures are built from."""

from __future__ import annotations

from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution that keeps the size at stride 1, then batch normalisation."""
    padding = kernel // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def branch_unit(inputs: int, outputs: int, *, silent: bool) -> nn.Sequential:
    """ReLU, 3 x 3 convolution, batch normalisation: what is added to a state.

    With ``silent`` the last scale starts at 0, so that the branch adds nothing at first.
    """
    unit = nn.Sequential(nn.ReLU(), *conv_norm(inputs, outputs))
    if silent:
        nn.init.zeros_(unit[-1].weight)
    return unit


class Head(nn.Module):
    """ReLU, global average and a linear layer: the answer of one stage."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) of activations (batch, channels, height, width)."""
        return self.linear(x.relu().mean((2, 3)))
