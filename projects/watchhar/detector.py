"""Stage 1: does the wrist do anything? Motion alone decides when the microphone runs (sec. 2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from projects.watchhar.imu_encoder import IMUEncoder

SAMPLES = 150  # three seconds at 50 Hz


class EventDetector(nn.Module):
    """Probability, as a logit, that three seconds of motion belong to an activity.

    The paper's architecture is not known; this one has the blocks of the classifier's motion
    encoder with ``channels, channels, channels / 2`` maps and fewer than 0.6 million parameters.

    Parameters
    ----------
    channels : int
    axes, samples : int
        Shape of a window.
    dropout : float

    Examples
    --------
    >>> import torch
    >>> EventDetector()(torch.zeros(3, 150, 6)).shape
    torch.Size([3])
    """

    def __init__(
        self, channels: int = 128, *, axes: int = 6, samples: int = SAMPLES, dropout: float = 0.5
    ) -> None:
        super().__init__()
        widths = (channels, channels, channels // 2)
        self.encoder = IMUEncoder(axes, samples, channels=widths, dropout=dropout)
        self.head = nn.Linear(128, 1)

    def forward(self, imu: Tensor) -> Tensor:
        """Map windows of shape (B, samples, axes) to logits of shape (B,)."""
        return self.head(self.encoder(imu))[:, 0]


@dataclass
class Hysteresis:
    """Switch that goes on at ``on`` and off after ``patience`` windows in a row below ``off``.

    Examples
    --------
    >>> switch = Hysteresis()
    >>> [switch.update(p) for p in (0.4, 0.5, 0.2, 0.4, 0.2, 0.2)]
    [False, True, True, True, True, False]
    """

    on: float = 0.5
    off: float = 0.3
    patience: int = 2
    active: bool = field(default=False, init=False)
    _below: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.off <= self.on <= 1 or self.patience < 1:
            raise ValueError(
                f"on={self.on}, off={self.off}, patience={self.patience}; allowed is "
                "0 <= off <= on <= 1 and patience >= 1"
            )

    def update(self, probability: float) -> bool:
        """Take the next window's probability and say whether there is an event."""
        if self.active:
            self._below = self._below + 1 if probability < self.off else 0
            self.active = self._below < self.patience
        else:
            self.active = probability >= self.on
        if not self.active:
            self._below = 0
        return self.active

    def reset(self) -> None:
        """Forget everything, as after a gap in the stream."""
        self.active, self._below = False, 0
