"""Gated fusion of two modalities and the classification head (section 2.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GatedFusion(nn.Module):
    """Sum of both modalities, each weighed by a gate of its own, through a linear layer.

    fused = W (g_imu * f_imu + g_audio * f_audio), g_m = sigmoid(W_m f_m)

    A modality that is missing contributes nothing to the sum. ``audio_dropout`` trains for that:
    it leaves out the audio of a random part of each training batch.

    Parameters
    ----------
    imu, audio : int
        Features of the two encoders.
    size : int
        Features after projection and fusion.
    dropout, audio_dropout : float

    Examples
    --------
    >>> GatedFusion()(torch.ones(2, 128), None).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        imu: int = 128,
        audio: int = 640,
        size: int = 256,
        *,
        dropout: float = 0.25,
        audio_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= audio_dropout < 1:
            raise ValueError(f"audio_dropout is {audio_dropout}; allowed is 0 <= p < 1")
        self.audio_dropout = audio_dropout
        self.project_imu = dense(imu, size, dropout)
        self.project_audio = dense(audio, size, dropout)
        self.gate_imu = nn.Linear(size, size)
        self.gate_audio = nn.Linear(size, size)
        self.mix = nn.Linear(size, size)

    def forward(self, imu: Tensor, audio: Tensor | None) -> Tensor:
        """Fuse features of shapes (B, imu) and (B, audio) or None to shape (B, size)."""
        motion = self.project_imu(imu)
        total = torch.sigmoid(self.gate_imu(motion)) * motion
        if audio is not None:
            sound = self.project_audio(audio)
            gated = torch.sigmoid(self.gate_audio(sound)) * sound
            total = total + self._drop(gated)
        return self.mix(total)

    def _drop(self, sound: Tensor) -> Tensor:
        """Leave out the audio of some samples; unlike dropout, what stays is not scaled up."""
        if not self.training or self.audio_dropout == 0:
            return sound
        return sound * (torch.rand(len(sound), 1, device=sound.device) >= self.audio_dropout)


def dense(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Linear layer, ReLU, batch normalisation, dropout."""
    return nn.Sequential(
        nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs), nn.Dropout(dropout)
    )


def head(inputs: int, num_classes: int, dropout: float = 0.25) -> nn.Sequential:
    """Layers of 128 and 64 features, then one logit per class."""
    return nn.Sequential(
        dense(inputs, 128, dropout), dense(128, 64, dropout), nn.Linear(64, num_classes)
    )
