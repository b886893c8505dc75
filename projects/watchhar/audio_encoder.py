"""MobileNetV3-large of a given width over a log-mel spectrogram (section 2.4)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from common.errors import require


class Block(NamedTuple):
    """One inverted residual block before its widths are scaled."""

    kernel: int
    expansion: int
    out: int
    excite: bool
    hard_swish: bool
    stride: int


BLOCKS = (
    Block(3, 16, 16, False, False, 1),
    Block(3, 64, 24, False, False, 2),
    Block(3, 72, 24, False, False, 1),
    Block(5, 72, 40, True, False, 2),
    Block(5, 120, 40, True, False, 1),
    Block(5, 120, 40, True, False, 1),
    Block(3, 240, 80, False, True, 2),
    Block(3, 200, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 480, 112, True, True, 1),
    Block(3, 672, 112, True, True, 1),
    Block(5, 672, 160, True, True, 2),
    Block(5, 960, 160, True, True, 1),
    Block(5, 960, 160, True, True, 1),
)
STEM, LAST, FEATURES, EXCITE_RATIO = 16, 6, 1280, 4


class AudioEncoder(nn.Module):
    """MobileNetV3-large; weights are random until some are loaded.

    The paper starts from weights trained on AudioSet; see :func:`load_weights`.

    Parameters
    ----------
    width : float
        Multiplier of all channel counts, which are then rounded to multiples of 8.
    dropout : float

    Attributes
    ----------
    features : int
        Length of the result: 640 at width 0.5.

    Examples
    --------
    >>> import torch
    >>> AudioEncoder()(torch.zeros(2, 96, 64)).shape
    torch.Size([2, 640])
    """

    def __init__(self, width: float = 0.5, *, dropout: float = 0.2) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"width is {width}; it multiplies channel counts and must be positive")
        channels = scaled(STEM, width)
        layers: list[nn.Module] = [convolution(1, channels, 3, stride=2, activation=nn.Hardswish)]
        for block in BLOCKS:
            layers.append(InvertedResidual(channels, block, width))
            channels = scaled(block.out, width)
        last, self.features = LAST * channels, scaled(FEATURES, width)
        self.convolutions = nn.Sequential(
            *layers, convolution(channels, last, 1, activation=nn.Hardswish)
        )
        self.projection = nn.Sequential(
            nn.Linear(last, self.features), nn.Hardswish(), nn.Dropout(dropout)
        )

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms of shape (B, time, mels) to features of shape (B, features)."""
        maps = self.convolutions(spectrogram[:, None])
        return self.projection(maps.mean(dim=(2, 3)))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, weigh the channels, project; add the input where it fits."""

    def __init__(self, inputs: int, block: Block, width: float) -> None:
        super().__init__()
        expanded, outputs = scaled(block.expansion, width), scaled(block.out, width)
        activation = nn.Hardswish if block.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(convolution(inputs, expanded, 1, activation=activation))
        layers.append(
            convolution(
                expanded,
                expanded,
                block.kernel,
                stride=block.stride,
                groups=expanded,
                activation=activation,
            )
        )
        if block.excite:
            layers.append(SqueezeExcite(expanded))
        layers.append(convolution(expanded, outputs, 1, activation=nn.Identity))
        self.layers = nn.Sequential(*layers)
        self.residual = block.stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        return maps + self.layers(maps) if self.residual else self.layers(maps)


class SqueezeExcite(nn.Module):
    """Weigh each channel by a small network of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels / EXCITE_RATIO)
        self.gate = nn.Sequential(
            nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels), nn.Sigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Scale (B, C, H, W) by (B, C, 1, 1)."""
        return maps * self.gate(maps.mean(dim=(2, 3)))[:, :, None, None]


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    activation: type[nn.Module],
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution, batch normalisation as in the release, activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        activation(),
    )


def scaled(channels: int, width: float) -> int:
    """Channel count at a width.

    Examples
    --------
    >>> scaled(24, 0.5), scaled(200, 0.5)
    (16, 104)
    """
    return rounded(channels * width)


def rounded(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of 8 that does not lose more than a tenth."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Load weights from a safetensors file whose names are those of the module.

    Raises
    ------
    ValueError
        If names or shapes differ; the message lists the first ones.
    """
    stored = require("safetensors.torch", "llm").load_file(str(path))
    own = module.state_dict()
    problems = [f"{name} is missing" for name in own if name not in stored]
    problems += [f"{name} is unknown" for name in stored if name not in own]
    problems += [
        f"{name} has shape {tuple(stored[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{path} does not fit this model: {'; '.join(problems[:3])}{more}")
    module.load_state_dict(stored)
