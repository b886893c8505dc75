"""Random changes of training windows (section 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What training may do to a batch.

    Attributes
    ----------
    roll : int
        Largest circular shift of the motion in samples ("R-frame"; released: 24).
    drop_channel : float
        Probability that a channel of the motion is zero throughout (released: 0.2).
    gain_db : float
        Sound gets louder or softer by up to this many decibels.
    noise : float
        Largest standard deviation of white noise added to the sound.
    drop_motion : float
        Probability that a window loses its motion; sound is left out by the classifier itself
        (``audio_dropout``), which knows what "no microphone" means to its fusion.
    """

    roll: int = 24
    drop_channel: float = 0.2
    gain_db: float = 0.0
    noise: float = 0.0
    drop_motion: float = 0.0

    def __post_init__(self) -> None:
        for name in ("drop_channel", "drop_motion"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 0 <= p < 1")
        if self.roll < 0 or self.gain_db < 0 or self.noise < 0:
            raise ValueError(f"roll, gain_db and noise may not be negative: {self}")

    def __call__(
        self, inputs: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Change whatever inputs there are: motion has three axes, sound has two."""
        change = {3: self.motion, 2: self.sound}
        return tuple(change[x.ndim](x, generator) for x in inputs)

    def motion(self, imu: Tensor, generator: torch.Generator) -> Tensor:
        """Change motion of shape (B, samples, channels), scaled to mean 0."""
        batch, samples, channels = imu.shape
        if self.roll:
            by = torch.randint(0, self.roll + 1, (batch, 1), generator=generator)
            places = (torch.arange(samples) - by) % samples
            imu = imu.gather(1, places[:, :, None].expand(-1, -1, channels))
        if self.drop_channel:
            kept = torch.rand(batch, 1, channels, generator=generator) >= self.drop_channel
            imu = imu * kept
        if self.drop_motion:
            imu = imu * (torch.rand(batch, 1, 1, generator=generator) >= self.drop_motion)
        return imu

    def sound(self, audio: Tensor, generator: torch.Generator) -> Tensor:
        """Change sound of shape (B, samples)."""
        batch = len(audio)
        if self.gain_db:
            gain = (2 * torch.rand(batch, 1, generator=generator) - 1) * self.gain_db
            audio = audio * 10 ** (gain / 20)
        if self.noise:
            level = torch.rand(batch, 1, generator=generator) * self.noise
            audio = audio + level * torch.randn(audio.shape, generator=generator)
        return audio


NONE = Augmentation(roll=0, drop_channel=0.0)
