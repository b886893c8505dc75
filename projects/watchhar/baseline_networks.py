"""Networks that the paper compares with, small and after their published shape (section 4)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


class MotionCNN(nn.Module):
    """Three convolutions along time and a mean: what one writes first.

    Maps motion (B, samples, axes) to logits (B, classes), or (B,) for one class.

    Examples
    --------
    >>> MotionCNN(1)(torch.zeros(2, 150, 6)).shape
    torch.Size([2])
    """

    def __init__(self, num_classes: int, *, axes: int = 6, channels: int = 32) -> None:
        super().__init__()
        sizes = [axes, channels, 2 * channels, 2 * channels]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, (1, 5), padding=(0, 2)), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(), nn.MaxPool2d((1, 2))]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Linear(2 * channels, num_classes)

    def forward(self, imu: Tensor) -> Tensor:
        """Map motion to logits."""
        # Rows of one image each: PyTorch's kernels for them are up to three times as fast on a CPU
        # as those for one dimension, or for columns.
        maps = self.convolutions(imu.transpose(1, 2)[:, :, None])
        logits = self.head(maps.mean(dim=(2, 3)))
        return logits[:, 0] if logits.shape[1] == 1 else logits


class DeepConvLSTM(nn.Module):
    """Four convolutions per axis, two LSTM layers, the last state (Ordonez and Roggen, 2016).

    Examples
    --------
    >>> DeepConvLSTM(27)(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 27])
    """

    def __init__(
        self, num_classes: int, *, axes: int = 6, channels: int = 64, hidden: int = 128
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place in range(4):
            layers += [nn.Conv2d(channels if place else 1, channels, (5, 1)), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.lstm = nn.LSTM(channels * axes, hidden, num_layers=2, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(hidden, num_classes))

    def forward(self, imu: Tensor) -> Tensor:
        """Map motion (B, samples, axes) to logits (B, classes)."""
        maps = self.convolutions(imu[:, None]).permute(0, 2, 1, 3)
        states, _ = self.lstm(torch.flatten(maps, 2))
        return self.head(states[:, -1])


class TinyHAR(nn.Module):
    """Convolutions per axis, attention across axes, fusion, LSTM, attention over time.

    After Zhou et al., 2022: parts and their order; sizes here are for windows of one second.

    Examples
    --------
    >>> TinyHAR(27)(torch.zeros(2, 50, 6)).shape
    torch.Size([2, 27])
    """

    def __init__(self, num_classes: int, *, axes: int = 6, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, stride in enumerate((1, 2, 1, 2)):
            inputs = channels if place else 1
            layers += [nn.Conv2d(inputs, channels, (5, 1), (stride, 1), (2, 0))]
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.across = nn.MultiheadAttention(channels, 1, batch_first=True)
        self.fuse = nn.Linear(axes * channels, 2 * channels)
        self.lstm = nn.LSTM(2 * channels, 2 * channels, batch_first=True)
        self.weigh = nn.Linear(2 * channels, 1)
        self.head = nn.Linear(2 * channels, num_classes)

    def forward(self, imu: Tensor) -> Tensor:
        """Map motion (B, samples, axes) to logits (B, classes)."""
        maps = self.convolutions(imu[:, None])  # B, channels, time, axes
        batch, channels, time, axes = maps.shape
        tokens = maps.permute(0, 2, 3, 1).reshape(batch * time, axes, channels)
        tokens = tokens + self.across(tokens, tokens, tokens, need_weights=False)[0]
        fused = torch.relu(self.fuse(tokens.reshape(batch, time, axes * channels)))
        states, _ = self.lstm(fused)
        share = torch.softmax(self.weigh(states), dim=1)
        return self.head((share * states).sum(dim=1) + states[:, -1])


class LateFusion(nn.Module):
    """VGG-like network on the log-mel image, CNN on motion, features joined at the end (SAMoSA).

    Parameters
    ----------
    num_classes : int
    frontend : nn.Module
        Sound (B, samples) to spectrogram (B, time, mels).
    channels : int
        Of the first convolution of both.

    Examples
    --------
    >>> from projects.watchhar.frontend import FrontEnd
    >>> LateFusion(27, FrontEnd())(torch.zeros(2, 50, 6), torch.zeros(2, 950)).shape
    torch.Size([2, 27])
    """

    def __init__(self, num_classes: int, frontend: nn.Module, *, channels: int = 16) -> None:
        super().__init__()
        self.motion = MotionCNN(4 * channels, channels=channels)
        self.sound = SpectrogramCNN(4 * channels, frontend, channels=channels)
        self.head = nn.Linear(8 * channels, num_classes)

    def forward(self, imu: Tensor, audio: Tensor) -> Tensor:
        """Map both to logits (B, classes)."""
        joined = torch.cat([self.motion(imu), self.sound(audio)], dim=1)
        return self.head(torch.relu(joined))


class SpectrogramCNN(nn.Module):
    """Small VGG-like network behind a front end: three convolutions of 3 x 3, pooled.

    Examples
    --------
    >>> from projects.watchhar.frontend import FrontEnd
    >>> SpectrogramCNN(10, FrontEnd())(torch.zeros(2, 950)).shape
    torch.Size([2, 10])
    """

    def __init__(self, num_classes: int, frontend: nn.Module, *, channels: int = 16) -> None:
        super().__init__()
        self.frontend = frontend
        sizes = [1, channels, 2 * channels, 4 * channels]
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]  # decibels have any mean
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(4 * channels, num_classes))

    def forward(self, audio: Tensor) -> Tensor:
        """Map sound (B, samples), or what the front end takes, to logits (B, classes)."""
        maps = self.convolutions(self.frontend(audio)[:, None])
        # Mean over frequency, largest over time: words stand anywhere in the second.
        return self.head(maps.mean(dim=3).amax(dim=2))


class VGGish(nn.Module):
    """The network of Hershey et al., 2017, on a log-mel image, then one layer (Ubicoustics, 2018).

    Ubicoustics takes a network trained on YouTube sounds; this one begins at random.

    Parameters
    ----------
    num_classes : int
    frontend : nn.Module
        Sound (B, samples) to spectrogram (B, frames, mels).
    width : float
        Multiplier of all layer sizes: 72 million weights at 1, too many to train on a CPU.
    frames, mels : int
        Size of the image; four times halved.

    Raises
    ------
    ValueError
        If an image is smaller than 16 by 16, or the width leaves no channel.

    Examples
    --------
    >>> from projects.watchhar.frontend import FrontEnd
    >>> VGGish(27, FrontEnd(), width=0.1)(torch.zeros(2, 950)).shape
    torch.Size([2, 27])
    """

    def __init__(
        self,
        num_classes: int,
        frontend: nn.Module,
        *,
        width: float = 1.0,
        frames: int = 96,
        mels: int = 64,
    ) -> None:
        super().__init__()
        if min(frames, mels) < 16 or int(64 * width) < 1:
            raise ValueError(
                f"image of {frames} by {mels}, width {width}; allowed are at least 16 by 16 and "
                "1/64"
            )
        self.frontend = frontend
        layers: list[nn.Module] = [nn.BatchNorm2d(1)]  # decibels have any mean
        inputs = 1
        for block in ((64,), (128,), (256, 256), (512, 512)):
            for size in block:
                layers += [nn.Conv2d(inputs, int(size * width), 3, padding=1), nn.ReLU()]
                inputs = int(size * width)
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        sizes = [inputs * (frames // 16) * (mels // 16), *(int(4096 * width),) * 2]
        sizes.append(max(int(128 * width), 1))
        dense = [[nn.Linear(*pair), nn.ReLU()] for pair in itertools.pairwise(sizes)]
        self.embedding = nn.Sequential(*itertools.chain.from_iterable(dense))
        self.head = nn.Linear(sizes[-1], num_classes)

    def forward(self, audio: Tensor) -> Tensor:
        """Map sound (B, samples), or what the front end takes, to logits (B, classes)."""
        maps = self.convolutions(self.frontend(audio)[:, None])
        return self.head(self.embedding(maps.flatten(1)))


class FrameCNN(nn.Module):
    """Front end, then :class:`MotionCNN` over its frames: frequencies are channels.

    Examples
    --------
    >>> from projects.watchhar.frontend import FrontEnd
    >>> FrameCNN(10, FrontEnd(), n_mels=64)(torch.zeros(2, 950)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self, num_classes: int, frontend: nn.Module, *, n_mels: int, channels: int = 32
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.scale = nn.BatchNorm2d(n_mels)  # decibels have any mean
        self.network = MotionCNN(num_classes, axes=n_mels, channels=channels)

    def forward(self, audio: Tensor) -> Tensor:
        """Map sound (B, samples), or what the front end takes, to logits (B, classes)."""
        scaled = self.scale(self.frontend(audio).transpose(1, 2)[:, :, None])
        return self.network(scaled[:, :, 0].transpose(1, 2))


class LearnedFilters(nn.Module):
    """One-dimensional filterbank learned from nothing: filters, power, log (LEAF's idea, bare).

    Maps sound (B, samples) to (B, time, filters), like the front end it stands for.

    Examples
    --------
    >>> LearnedFilters(1000)(torch.zeros(2, 950)).shape
    torch.Size([2, 96, 64])
    """

    def __init__(self, sample_rate: int, *, filters: int = 64) -> None:
        super().__init__()
        taps, hop = int(0.025 * sample_rate), int(0.01 * sample_rate)
        self.filters = nn.Conv1d(1, filters, taps, padding=taps // 2, bias=False)
        self.pool = nn.AvgPool1d(hop, hop, ceil_mode=True)

    def forward(self, audio: Tensor) -> Tensor:
        """Map sound to decibels of the filters' power."""
        samples = audio.shape[1]
        power = self.filters(audio[:, None])[:, :, :samples].square()
        # One more frame than whole hops, as a centred transform has.
        padded = nn.functional.pad(power, (0, self.pool.kernel_size[0]), mode="replicate")
        return 10 * torch.log10(self.pool(padded).clamp(min=1e-10)).transpose(1, 2)


class WaveCNN(nn.Module):
    """Convolutions on the samples themselves, without any spectrum.

    Examples
    --------
    >>> WaveCNN(10, 1000)(torch.zeros(2, 950)).shape
    torch.Size([2, 10])
    """

    def __init__(self, num_classes: int, sample_rate: int, *, channels: int = 32) -> None:
        super().__init__()
        first = max(2, sample_rate // 500)  # to about 500 values a second
        sizes = [(1, channels, first), (channels, 2 * channels, 4), (2 * channels, 4 * channels, 4)]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in sizes:
            layers += [nn.Conv1d(inputs, outputs, 4 * stride + 1, stride, 2 * stride)]
            layers += [nn.BatchNorm1d(outputs), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(4 * channels, num_classes))

    def forward(self, audio: Tensor) -> Tensor:
        """Map sound (B, samples) to logits (B, classes)."""
        return self.head(self.convolutions(audio[:, None]).amax(dim=2))
