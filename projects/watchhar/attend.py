"""Attend & Discriminate: attention across the sensor's axes, then across time.

A. Abedin, M. Ehsanpour, Q. Shi, H. Rezatofighi, D. Ranasinghe, Attend and Discriminate: Beyond the
State-of-the-Art for Human Activity Recognition Using Wearable Sensors, IMWUT 5(1), 2021. Mixed
windows and the pull to class centres, which are part of it, are in :mod:`discrimination`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERNEL, LAYERS = 5, 4


class AttendDiscriminate(nn.Module):
    """Convolutions per axis, attention across axes, GRU, attention over time.

    Parameters
    ----------
    num_classes : int
    axes : int
        Channels of the sensor.
    channels : int
        Maps of each of the four convolutions.
    hidden : int
        States of both layers of the GRU.

    Examples
    --------
    >>> AttendDiscriminate(27)(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 27])
    """

    def __init__(
        self, num_classes: int, *, axes: int = 6, channels: int = 64, hidden: int = 128
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place in range(LAYERS):
            layers += [nn.Conv2d(channels if place else 1, channels, (KERNEL, 1)), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.across = CrossAxes(channels)
        self.gru = nn.GRU(channels * axes, hidden, num_layers=2, dropout=0.25, batch_first=True)
        self.weigh = nn.Linear(hidden, 1)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(hidden, num_classes))

    def forward(self, imu: Tensor) -> Tensor:
        """Map motion (B, samples, axes) to logits (B, classes)."""
        return self.head(self.features(imu))

    def features(self, imu: Tensor) -> Tensor:
        """Mean of the GRU's states by their attention, shape (B, hidden)."""
        if imu.shape[1] <= LAYERS * (KERNEL - 1):
            raise ValueError(
                f"motion has {imu.shape[1]} samples; {LAYERS} convolutions of {KERNEL} need at "
                f"least {LAYERS * (KERNEL - 1) + 1}"
            )
        maps = self.convolutions(imu[:, None])  # B, channels, time, axes
        tokens = self.across(maps.permute(0, 2, 3, 1))
        states, _ = self.gru(tokens.flatten(2))
        return (self.moments(states) * states).sum(dim=1)

    def moments(self, states: Tensor) -> Tensor:
        """Share of every moment, shape (B, time, 1), from states (B, time, hidden)."""
        return torch.softmax(self.weigh(states), dim=1)


class CrossAxes(nn.Module):
    """Self-attention between the axes of one moment, added with a learned weight that begins at 0.

    Parameters
    ----------
    channels : int
        Features of each axis.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(channels, channels, bias=False) for _ in range(3)
        )
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., axes, channels) to the same shape."""
        return tokens + self.weight * (self.shares(tokens) @ self.value(tokens))

    def shares(self, tokens: Tensor) -> Tensor:
        """How much each axis takes from each, shape (..., axes, axes); rows sum to 1."""
        return torch.softmax(self.query(tokens) @ self.key(tokens).transpose(-1, -2), dim=-1)
