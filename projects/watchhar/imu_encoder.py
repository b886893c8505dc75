"""Convolutions over a window of motion (section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

KERNEL, GROUPS = 5, 4


class IMUEncoder(nn.Module):
    """Three convolutions along time, then a linear layer.

    Parameters
    ----------
    axes : int
        Channels of the sensor: accelerometer and gyroscope make 6.
    samples : int
        Length of a window; 50 is one second.
    channels : sequence of int
        Of the three convolutions.
    features : int
        Length of the result.
    dropout : float

    Raises
    ------
    ValueError
        If a window is too short for three convolutions.

    Examples
    --------
    >>> IMUEncoder()(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self,
        axes: int = 6,
        samples: int = 50,
        *,
        channels: Sequence[int] = (256, 256, 256),
        features: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.axes, self.samples = axes, samples
        left = ((samples - KERNEL + 1) // 2 - KERNEL + 1) // 2 - KERNEL + 1
        if left < 1:
            raise ValueError(f"a window of {samples} samples is too short; at least 32 are needed")
        first, second, third = channels
        self.convolutions = nn.Sequential(
            *_convolution(axes, first, pool=True),
            *_convolution(first, second, pool=True),
            *_convolution(second, third, pool=False),
        )
        self.projection = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(third * left, features), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, imu: Tensor) -> Tensor:
        """Map windows of shape (B, samples, axes) to features of shape (B, features)."""
        if imu.shape[1:] != (self.samples, self.axes):
            raise ValueError(
                f"motion has shape {tuple(imu.shape)}; this model takes (batch, {self.samples}, "
                f"{self.axes}): {self.axes} axes, accelerometer first, at 50 Hz"
            )
        # Not squeeze(): it would drop the batch dimension of a single window as well.
        # Time lies along rows: on a CPU those are faster than the released columns, and the same.
        maps = self.convolutions(imu.transpose(1, 2)[:, :, None])
        return self.projection(torch.flatten(maps, 1))


class Normalised(nn.Module):
    """A stage with the affine map of its motion in front, so that the map is exported with it.

    Parameters
    ----------
    stage : nn.Module
        Its first input is motion (B, samples, axes).
    scale, shift : array_like, shape (axes,)
        ``imu * scale + shift``, as :class:`projects.watchhar.normalisation.Normaliser` has them.

    Examples
    --------
    >>> stage = Normalised(nn.Identity(), [2.0, 1.0], [0.0, 1.0])
    >>> stage(torch.ones(1, 1, 2)).tolist()
    [[[2.0, 2.0]]]
    """

    def __init__(self, stage: nn.Module, scale: ArrayLike, shift: ArrayLike) -> None:
        super().__init__()
        self.stage = stage
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32))

    def forward(self, imu: Tensor, *others: Tensor) -> Tensor:
        """Run the stage on scaled motion."""
        return self.stage(imu * self.scale + self.shift, *others)


def _convolution(inputs: int, outputs: int, *, pool: bool) -> list[nn.Module]:
    layers = [nn.Conv2d(inputs, outputs, (1, KERNEL)), nn.GroupNorm(GROUPS, outputs)]
    return [*layers, *([nn.MaxPool2d((1, 2))] if pool else []), nn.ReLU()]
