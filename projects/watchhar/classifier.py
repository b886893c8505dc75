"""Stage 2: one second of motion and sound to an activity, from raw samples to logits."""

from __future__ import annotations

from torch import Tensor, nn

from common.errors import known
from projects.watchhar.audio_encoder import AudioEncoder
from projects.watchhar.frontend import FrontEnd
from projects.watchhar.fusion import GatedFusion, dense, head
from projects.watchhar.imu_encoder import IMUEncoder

MODALITIES = ("both", "imu", "audio")
IMU_SAMPLES, AUDIO_SAMPLES = 50, 950  # one second; 96 frames of 10 ms
FUSED = 256


class WatchHARClassifier(nn.Module):
    """The multimodal classifier with its front end: one graph from samples to logits.

    Parameters
    ----------
    num_classes : int
        26 activities and "Other" make 27.
    frontend : nn.Module, optional
        Audio (B, samples) to spectrogram (B, time, mels); ``FrontEnd()`` by default.
        ``nn.Identity()`` takes spectrograms that were computed elsewhere.
    width : float
        Of the audio encoder.
    imu_channels : int
        Axes of the motion sensor.
    modality : {"both", "imu", "audio"}
        With one modality alone its features go to the head without a gate.
    audio_dropout : float
        Part of the training samples whose audio is left out, so that ``forward(imu)`` without
        audio stays useful (modality ``both``).

    Examples
    --------
    >>> import torch
    >>> model = WatchHARClassifier().eval()
    >>> model(torch.zeros(1, 50, 6), torch.zeros(1, 950)).shape
    torch.Size([1, 27])
    >>> model(torch.zeros(1, 50, 6)).shape  # no microphone
    torch.Size([1, 27])
    """

    def __init__(
        self,
        num_classes: int = 27,
        frontend: nn.Module | None = None,
        width: float = 0.5,
        imu_channels: int = 6,
        modality: str = "both",
        *,
        audio_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modality = known(modality, MODALITIES, "modality")
        if modality != "audio":
            self.imu_encoder = IMUEncoder(imu_channels, IMU_SAMPLES)
        if modality != "imu":
            self.frontend = FrontEnd() if frontend is None else frontend
            self.audio_encoder = AudioEncoder(width)
        if modality == "both":
            self.fusion = GatedFusion(
                audio=self.audio_encoder.features, size=FUSED, audio_dropout=audio_dropout
            )
        else:
            own = 128 if modality == "imu" else self.audio_encoder.features
            self.projection = dense(own, FUSED, 0.25)
        self.head = head(FUSED, num_classes)

    def forward(self, imu: Tensor | None = None, audio: Tensor | None = None) -> Tensor:
        """Map motion (B, 50, axes) and audio (B, samples) to logits (B, num_classes)."""
        return self.head(self.features(imu, audio))

    def features(self, imu: Tensor | None = None, audio: Tensor | None = None) -> Tensor:
        """Fused features before the head, shape (B, 256).

        Raises
        ------
        ValueError
            If an input that the modality needs is None.
        """
        if self.modality != "audio" and imu is None:
            raise ValueError(f"a model of modality {self.modality!r} needs motion; imu is None")
        if self.modality == "imu":
            return self.projection(self.imu_encoder(imu))
        if self.modality == "audio":
            if audio is None:
                raise ValueError("a model of modality 'audio' cannot run without audio")
            return self.projection(self.audio_encoder(self.frontend(audio)))
        sound = None if audio is None else self.audio_encoder(self.frontend(audio))
        return self.fusion(self.imu_encoder(imu), sound)
