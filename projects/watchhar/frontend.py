"""Log-mel spectrogram as network layers: frozen or trainable, exported with the network (sec. 2.2).

A short-time Fourier transform is a convolution with windowed cosines and sines, the mel scale a
matrix, so the whole front end exports as ordinary operators and can be trained with what follows.

As released (``mode="compat"``) the transform has 32 points at 1 kHz, 17 bins for 64 mel filters:
34 filters fall between two bins and stay empty, so their rows are a constant -100 dB. ``"padded"``
(the default) zero-pads the same frames to 256 points, ``"narrow"`` keeps 32 points and asks for 16
filters; neither has an empty row.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional

from common.errors import known, require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MODES = ("padded", "compat", "narrow")
FLOOR = 1e-10  # power below which a decibel value is clamped: -100 dB
PADDED_POINTS = 256  # at 1 kHz no filter is empty from 128 points on
WINDOW, HOP = 0.025, 0.010  # seconds


class FrontEnd(nn.Module):
    """Log-mel spectrogram in decibels of audio in [-1, 1].

    Parameters
    ----------
    sample_rate : int
        Of the audio, in hertz.
    mode : {"padded", "compat", "narrow"}
        How many points the transform has and, for ``narrow``, that there are 16 filters.
    trainable : bool
        Whether the Fourier kernels and the mel weights are parameters. Untrained, both give the
        same numbers.
    n_mels : int, optional
        Number of mel filters; 64, or 16 for ``narrow``.
    fmin, fmax : float
        Range of the filters in hertz; up to half the sample rate by default.

    Attributes
    ----------
    n_fft, window, hop : int
        Points of the transform, samples of a frame and between frames.
    n_mels : int
        Filters.

    Raises
    ------
    ConfigError
        If the mode is unknown.
    ValueError
        If the range is empty or goes beyond half the sample rate.

    Examples
    --------
    >>> FrontEnd()(torch.zeros(2, 950)).shape
    torch.Size([2, 96, 64])
    """

    def __init__(
        self,
        sample_rate: int = 1000,
        *,
        mode: str = "padded",
        trainable: bool = False,
        n_mels: int | None = None,
        fmin: float = 10.0,
        fmax: float | None = None,
    ) -> None:
        super().__init__()
        self.mode = known(mode, MODES, "front-end mode")
        self.sample_rate, self.trainable = sample_rate, trainable
        self.window, self.hop = int(WINDOW * sample_rate), int(HOP * sample_rate)
        shortest = 1 << (self.window - 1).bit_length()
        self.n_fft = max(PADDED_POINTS, shortest) if mode == "padded" else shortest
        self.n_mels = n_mels or (16 if mode == "narrow" else 64)
        self.fmin, self.fmax = fmin, sample_rate / 2 if fmax is None else fmax
        mel = mel_filters(sample_rate, self.n_fft, self.n_mels, self.fmin, self.fmax)
        warn_of_empty(mel)
        # The release convolves with n_fft taps, most of which are zero when n_fft is padded.
        taps = self.window if mode == "padded" else self.n_fft
        kernels = fourier_kernels(self.n_fft, self.window, taps)
        self.padding = _padding(self.n_fft, taps)
        self.fourier = nn.Parameter(_tensor(kernels), requires_grad=trainable)
        self.mel = nn.Parameter(_tensor(mel)[:, :, None], requires_grad=trainable)

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio of shape (B, samples) to decibels of shape (B, 1 + samples // hop, n_mels)."""
        if audio.ndim != 2 or audio.shape[1] <= max(self.padding):
            raise ValueError(
                f"audio has shape {tuple(audio.shape)}; the front end takes (batch, samples) with "
                f"more than {max(self.padding)} samples"
            )
        padded = functional.pad(audio[:, None], self.padding, mode="reflect")
        spectrum = functional.conv1d(padded, self.fourier, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = functional.conv1d(real.square() + imaginary.square(), self.mel)
        return (10.0 * torch.log10(power.clamp(min=FLOOR))).transpose(1, 2)

    def extra_repr(self) -> str:
        """Say what the layer computes."""
        return (
            f"{self.sample_rate} Hz, mode={self.mode!r}, n_fft={self.n_fft}, "
            f"n_mels={self.n_mels}, trainable={self.trainable}"
        )


def mel_filters(sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangles of equal area with corners equally spaced on Slaney's mel scale.

    Returns
    -------
    ndarray, shape (n_mels, n_fft // 2 + 1)

    Raises
    ------
    ValueError
        If the range is empty or goes beyond half the sample rate.

    Examples
    --------
    >>> mel_filters(1000, 32, 64, 10, 500).any(axis=1).sum()
    np.int64(30)
    """
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise ValueError(
            f"mel range {fmin:g} to {fmax:g} Hz; allowed is 0 <= fmin < fmax <= {sample_rate / 2:g}"
        )
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    corners = _hertz(np.linspace(_mel(fmin), _mel(fmax), n_mels + 2))
    left, centre, right = (corners[k : k + n_mels, None] for k in range(3))
    rise, fall = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (right - left)


def warn_of_empty(mel: np.ndarray) -> None:
    """Warn when some filters lie between two bins: their rows are constant."""
    empty = int((~mel.any(axis=1)).sum())
    if empty:
        warnings.warn(
            f"{empty} of {len(mel)} mel filters are empty: {mel.shape[1]} frequency bins are too "
            f"few for them; use mode='padded' or n_mels <= {mel.shape[1] - 1}",
            stacklevel=3,
        )


def fourier_kernels(n_fft: int, window: int, taps: int) -> np.ndarray:
    """Windowed cosines, then sines, of a transform whose Hann window is centred in its frame.

    Returns
    -------
    ndarray, shape (2 * (n_fft // 2 + 1), 1, taps)
        The middle ``taps`` of the ``n_fft`` samples; the rest are zero for ``taps >= window``.
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    left = (n_fft - window) // 2
    frame = np.pad(hann, (left, n_fft - window - left))
    angle = 2 * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft
    kernels = np.concatenate([np.cos(angle), -np.sin(angle)]) * frame
    first = (n_fft - taps) // 2
    return kernels[:, None, first : first + taps]


def host_log_mel(audio: ArrayLike, like: FrontEnd) -> np.ndarray:
    """Compute the same spectrogram outside the network, with librosa: the "separate" pipeline.

    Parameters
    ----------
    audio : array_like, shape (samples,) or (B, samples)
    like : FrontEnd
        Whose settings to use.

    Returns
    -------
    ndarray of float32, shape (..., 1 + samples // hop, n_mels)
    """
    librosa = require("librosa", "watchhar")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters", UserWarning)
        power = librosa.feature.melspectrogram(
            y=np.asarray(audio, np.float32),
            sr=like.sample_rate,
            n_fft=like.n_fft,
            win_length=like.window,
            hop_length=like.hop,
            n_mels=like.n_mels,
            fmin=like.fmin,
            fmax=like.fmax,
            pad_mode="reflect",
        )
    return librosa.power_to_db(power, amin=FLOOR, top_db=None).swapaxes(-1, -2)


class LeanLogMel:
    """The same spectrogram outside the network with nothing but numpy's FFT.

    What a careful engineer would write on the host: window and filters are made once, all frames
    are transformed together.

    Parameters
    ----------
    like : FrontEnd
        Whose settings to use.

    Examples
    --------
    >>> LeanLogMel(FrontEnd())(np.zeros(950)).shape
    (96, 64)
    """

    def __init__(self, like: FrontEnd) -> None:
        self.n_fft, self.hop = like.n_fft, like.hop
        left = (like.n_fft - like.window) // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(like.window) / like.window)
        self.frame = np.pad(hann, (left, like.n_fft - like.window - left))
        settings = like.sample_rate, like.n_fft, like.n_mels, like.fmin, like.fmax
        self.mel = np.ascontiguousarray(mel_filters(*settings).T)

    def __call__(self, audio: ArrayLike) -> np.ndarray:
        """Map audio of shape (samples,) to decibels of shape (1 + samples // hop, n_mels)."""
        padded = np.pad(np.asarray(audio, float), self.n_fft // 2, mode="reflect")
        frames = sliding_window_view(padded, self.n_fft)[:: self.hop]
        spectrum = np.fft.rfft(frames * self.frame)
        power = (spectrum.real**2 + spectrum.imag**2) @ self.mel
        return (10 * np.log10(np.maximum(power, FLOOR))).astype(np.float32)


def _padding(n_fft: int, taps: int) -> tuple[int, int]:
    """Samples reflected on either side, so that frame t is centred at sample t * hop."""
    left = n_fft // 2 - (n_fft - taps) // 2
    return left, taps - left


def _mel(hertz: float) -> float:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    if hertz < 1000:
        return 3 * hertz / 200
    return 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
